"""Admission: what must be true before a call runs, and before its first byte."""

from accounts.principal import Principal
from billing.holds import HoldRequest, Outcome
from billing.pricing import Price
from gateway.call import Call
from gateway.draft import Plan
from gateway.estimate import may_think
from gateway.idempotency import Once
from gateway.levels import Ask, Wanted, ask_for
from gateway.metering import SLACK_TOKENS, TOOLS_SLACK_TOKENS, Meter
from gateway.runtime import Runtime
from gateway.sale import Sale
from gateway.tokenizer import count_prompt, is_guessed
from gateway.tranches import Tranches
from kernel.log import logger

HOLD_MARGIN_S = 60
log = logger(__name__)


class Admission:
    """What one call was let through under: its rate limits, and the money of one model.

    1. ``ask_limits`` charges the limits of every level in one round trip.
    2. ``hold_money`` sets aside the most the call can cost, or its first tranche.
    3. ``move_on``, where no provider of the model is willing, does both again for the next one.
       What was charged and held for the one before goes back first. The sale then is the next
       one's, under an id of its own: a hold names one model and one price.
    4. ``end`` settles the sale, and gives back tokens and slots on every level.
    """

    __slots__ = ("_ask", "_call", "_call_id", "_moves", "_principal", "_runtime", "sale")

    _principal: Principal

    def __init__(self, call: Call, runtime: Runtime) -> None:
        self.sale: Sale | None = None
        self._call = call
        self._call_id = call.request_id
        self._runtime = runtime
        self._ask: Ask | None = None
        self._moves = 0

    async def ask_limits(self, principal: Principal, plan: Plan | None) -> None:
        """Charge the limits of every level; without a plan, a request and no tokens.

        Sets the call's rate limit headers, also of a refused one.

        Raises:
            RateLimitError: which limit of which level, and when to come back.

        """
        self._principal = principal
        wanted = None
        if plan is not None:
            wanted = Wanted(plan.model.name, plan.model.limits, plan.bounds.total_tokens)
        call, defaults = self._call, self._runtime.defaults
        ask = ask_for(call.request_id, principal, wanted, defaults, is_again=self._moves > 0)
        verdict = await self._runtime.limiter.take(ask)
        call.limit_headers = call.dialect.rate_headers(verdict.standings())
        verdict.raise_if_refused()
        self._ask = ask

    async def hold_money(self, plan: Plan, once: Once | None) -> Sale:
        """Set aside the most the call can cost, or its first tranche.

        Raises:
            TollgateError: budget, credit, key, or the books do not answer.

        """
        price = plan.model.price_for(self._principal.org_id)
        assert price is not None, "the catalogue hands out priced models only"
        request = self._hold_request(plan, price, once)
        await self._runtime.books.hold(request)
        self.sale = self._open_sale(plan, price, request.amount_nanos)
        return self.sale

    async def move_on(self, plan: Plan, once: Once | None) -> Sale:
        """Ask limits and money for the next model, in the place of those of the one before.

        Raises:
            TollgateError: a limit, budget or credit refuses. That is the caller's affair, not the
                provider's, and ends the call.

        """
        self._give_back(0)
        self._moves += 1
        self._call.request_id = f"{self._call_id}{self._moves + 1}"
        log.info("model_fell_back", request=self._call.request_id, model=plan.model.name)
        await self.ask_limits(self._principal, plan)
        return await self.hold_money(plan, once)

    def end(self, outcome: Outcome) -> None:
        """Settle what is not settled; free the slots and the tokens that were not used. Once."""
        if self.sale is not None:
            self.sale.settle(outcome)
        self._give_back(0 if self.sale is None else self.sale.used_tokens)

    def _give_back(self, used_tokens: int) -> None:
        ask, self._ask = self._ask, None
        if ask is not None:
            self._runtime.limiter.give(ask, used_tokens)

    def _hold_request(self, plan: Plan, price: Price, once: Once | None) -> HoldRequest:
        principal, bounds = self._principal, plan.bounds
        return HoldRequest(
            self._call.request_id,
            principal.org_id,
            principal.project_id,
            principal.key_id,
            plan.model.name,
            price.version_id,
            bounds.ceiling(price),
            self._runtime.defaults.most_call_s + HOLD_MARGIN_S,
            amount_tokens=bounds.input_tokens + bounds.first_output_tokens,
            is_free=price.is_free,
            idem_key=once.key if once else None,
            idem_body=once.body if once else None,
            instead_of=None if self.sale is None else self.sale.meter.request_id,
        )

    def _open_sale(self, plan: Plan, price: Price, held_nanos: int) -> Sale:
        books, bounds, request_id = self._runtime.books, plan.bounds, self._call.request_id
        slack_tokens = TOOLS_SLACK_TOKENS if plan.request.defined_tools else SLACK_TOKENS
        tranches = Tranches(
            books.writer,
            request_id,
            price,
            held_nanos=held_nanos,
            covered=bounds.first_output_tokens,
            most=bounds.output_tokens,
        )
        meter = Meter(
            request_id,
            price,
            prompt_tokens=count_prompt(plan.request),
            most_input=bounds.input_tokens,
            most_output=bounds.output_tokens,
            images=bounds.images,
            is_guessed=is_guessed(plan.request),
            prompt_bucket="input" if plan.request.embed is None else "embedding",
            may_think=may_think(plan.request, plan.model),
            slack_tokens=slack_tokens * plan.request.n,
        )
        return Sale(books, self._principal, meter, tranches)
