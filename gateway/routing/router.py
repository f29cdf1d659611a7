"""Who serves a call: candidates in order, and the first that is willing.

1. A call asks the deployments of its model by priority and lot. Left out are those whose circuit is
   open and those whose provider has no place free within a quarter of a second.
2. A failure before the answer has begun goes to the next: two more at most, and only as far as the
   process's budget of retries goes. No provider is asked twice: callers retry by themselves, and
   both together would multiply.
3. Where nobody was willing, the caller's next model may be asked, from the same budget and in the
   same time.
4. ``Opened.end`` gives the place back and tells the circuit how the answer ended.
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gateway.catalog import CatalogModel, Deployment
from gateway.chat import ChatRequest
from gateway.providers.base import Provider, Upstream
from gateway.providers.faults import OverloadedError, OwnKeyRefusedError
from gateway.routing.candidates import order_candidates
from gateway.routing.circuits import Circuit, Tell, Turn
from gateway.routing.places import Places
from gateway.routing.retries import RetryBudget
from kernel import clock
from kernel.deadlines import Deadline
from kernel.errors import (
    BadRequestError,
    NotCarriedError,
    TollgateError,
    UnavailableError,
    UpstreamError,
    UpstreamTimeoutError,
)

MOST_ATTEMPTS = 3
# Who failed together should not arrive together.
PAUSE_S = (0.005, 0.025)


@dataclass(slots=True)
class Visit:
    """A call let in to a provider: its place there, and its turn in the circuit."""

    deployment: Deployment
    places: Places
    turn: Turn
    asked_at: float
    is_over: bool = False

    def end(self, *, well: bool | None) -> None:
        """Give the place back, once; None where the provider is not to blame and not to praise."""
        if not self.is_over:
            self.is_over = True
            self.places.give()
            self.turn.end(well=well)


@dataclass(slots=True)
class Tries:
    """What one call has asked so far, of all the models it may be answered by.

    ``ends_at`` is when it has to be answered, in monotonic seconds. ``failure`` is how the last one
    failed. ``is_over`` is true once nobody else may be asked: the time is over, or the budget of
    retries is spent.
    """

    ends_at: float
    failure: TollgateError | None = None
    is_over: bool = False

    def may_ask_next_model(self, failure: TollgateError) -> bool:
        """Tell whether a failure of a whole model is to be followed by the caller's next one."""
        is_to_be_followed = is_providers_fault(failure) or isinstance(failure, NotCarriedError)
        return is_to_be_followed and not self.is_over


class Opened(NamedTuple):
    """An upstream that has begun to answer. Who closes it ends the visit."""

    upstream: Upstream
    visit: Visit


class Router:
    """One process's knowledge of its providers. ``failures`` in a row open a circuit."""

    def __init__(self, providers: Mapping[str, Provider], *, failures: int, tell: Tell) -> None:
        self.retries = RetryBudget()
        self._providers = providers
        self._failures = failures
        self._tell = tell
        self._circuits: dict[tuple[str, str, int | None], Circuit] = {}
        self._places: dict[int, Places] = {}

    @property
    def open_circuits(self) -> int:
        return sum(circuit.state != "closed" for circuit in self._circuits.values())

    def circuit(self, provider: str, upstream_model: str, key_owner: int | None = None) -> Circuit:
        """Return the circuit of a provider's model under an owner's key, made at its first use."""
        name = (provider, upstream_model, key_owner)
        found = self._circuits.get(name)
        if found is None:
            found = Circuit(*name, failures=self._failures, tell=self._tell)
            self._circuits[name] = found
        return found

    def begin_tries(self, ends_at: float) -> Tries:
        """Count a call, which may be answered until ``ends_at``."""
        self.retries.count_call()
        return Tries(ends_at)

    async def open_first_willing(
        self, model: CatalogModel, request: ChatRequest, request_id: str, tries: Tries
    ) -> Opened:
        """Open the model's deployments in their order; the first good answer wins.

        Trying the next one is safe: nothing has been relayed, and the hold covers any of them.

        Raises:
            BadRequestError: at once, since the next provider would refuse it too, unless the fault
                is only that the request cannot be said in a provider's dialect.
            OwnKeyRefusedError: at once, since another's key must not serve in its place unasked.
            TollgateError: the last failure, when nobody was willing, or the time is over.

        """
        failure, attempts = tries.failure, 0
        try:
            with Deadline(tries.ends_at - clock.monotonic()):
                for deployment in self._in_order(model, request_id):
                    visit = await self._enter(deployment)
                    if visit is None:
                        continue
                    if not self._may_ask(tries, attempts):
                        visit.end(well=None)
                        break
                    try:
                        return await self._open(visit, request, model.max_output_tokens)
                    except NotCarriedError as error:
                        failure = error
                    except (BadRequestError, OwnKeyRefusedError):
                        raise
                    except TollgateError as error:
                        tries.failure = failure = error
                        attempts += 1
                        await asyncio.sleep(random.uniform(*PAUSE_S))  # noqa: S311 # no secret
        except TimeoutError as error:
            tries.is_over = True
            raise UpstreamTimeoutError(
                "No provider answered in the time a call may take."
            ) from error
        raise failure or UnavailableError(
            "No provider serves this model at the moment; try again shortly.",
            headers={"retry-after": "5"},
        )

    def _in_order(self, model: CatalogModel, request_id: str) -> list[Deployment]:
        found = order_candidates(model.deployments, request_id)
        return sorted(found, key=lambda each: self._circuit_of(each).goes_last)

    def _circuit_of(self, deployment: Deployment) -> Circuit:
        return self.circuit(deployment.provider, deployment.upstream_model, deployment.key_owner)

    def _may_ask(self, tries: Tries, attempts: int) -> bool:
        """Take a retry for a provider, unless it is the first; three of a model are asked."""
        if attempts == MOST_ATTEMPTS:
            return False
        tries.is_over = tries.failure is not None and not self.retries.spend()
        return not tries.is_over

    async def _enter(self, deployment: Deployment) -> Visit | None:
        turn = self._circuit_of(deployment).enter()
        if turn is None:
            return None
        places = self._places.setdefault(deployment.provider_id, Places())
        is_in = False
        try:
            is_in = await places.take(deployment.concurrency)
        finally:
            if not is_in:
                turn.end(well=None)
        return Visit(deployment, places, turn, clock.monotonic()) if is_in else None

    async def _open(self, visit: Visit, request: ChatRequest, max_output_tokens: int) -> Opened:
        """Ask a provider; where it does not answer well, the visit has ended."""
        deployment = visit.deployment
        try:
            upstream = await self._providers[deployment.kind].open(
                request, deployment, max_output_tokens=max_output_tokens
            )
        except OverloadedError as error:
            circuit = self._circuit_of(deployment)
            if error.come_back_s is None:
                circuit.go_last()
            else:
                circuit.rest(error.come_back_s)
            visit.end(well=False)
            raise
        except BaseException as error:
            visit.end(well=False if is_providers_fault(error) else None)
            raise
        visit.turn.answered()
        return Opened(upstream, visit)


def is_providers_fault(error: BaseException) -> bool:
    """Tell whether a failure speaks against the provider; a request that is refused does not."""
    return isinstance(error, UpstreamError | UpstreamTimeoutError | UnavailableError)
