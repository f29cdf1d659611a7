"""Circuits: who has failed is left alone for a while, then tried with one call.

1. Closed: calls go through. It opens after ``failures`` in a row, or when half of at least four
   times as many calls failed within the window.
2. Open: nobody is let through for five seconds, twice as long each time, a minute at most.
3. Then one call is let through. If it is answered, the circuit closes, but for a last chance: one
   more failure before an answer has ended well opens it again. If it fails, back to 2.

Beside it a circuit rests: a provider that says when to come back is left alone until then; one that
says only that it is overloaded is asked after the others for a second.
"""

from collections.abc import Callable

from kernel import clock
from kernel.log import logger

OPEN_S = 5.0
MOST_OPEN_S = 60.0
WINDOW_S = 30.0
OVERLOADED_S = 1.0
CALLS_PER_FAILURE = 4
Tell = Callable[["Circuit", float], None]
log = logger(__name__)


class Circuit:
    """Of one provider's model, in this process. ``tell`` hears how long to leave it alone.

    ``key_owner`` is the organization whose own key is used there, None for the platform's: what a
    provider does to one account there says nothing of the others.
    """

    def __init__(
        self,
        provider: str,
        upstream_model: str,
        key_owner: int | None = None,
        *,
        failures: int,
        tell: Tell,
    ) -> None:
        self.provider = provider
        self.upstream_model = upstream_model
        self.key_owner = key_owner
        self.is_open = False
        self._most_failures = failures
        self._tell = tell
        self._in_a_row = 0
        self._opens_for_s = OPEN_S
        self._shut_until = 0.0
        self._resting_until = 0.0
        self._last_until = 0.0
        self._is_probed = False
        self._window_at = 0.0
        self._calls = 0
        self._failed = 0

    @property
    def state(self) -> str:
        """Return ``closed``, ``open``, ``half_open`` or ``resting``."""
        now = clock.monotonic()
        if self.is_open:
            return "open" if now < self._shut_until else "half_open"
        return "resting" if now < self._resting_until else "closed"

    @property
    def goes_last(self) -> bool:
        """Whether others should be asked before."""
        return clock.monotonic() < self._last_until

    def enter(self) -> "Turn | None":
        """Let a call through, whose ``Turn`` must end; None where it may not ask."""
        now = clock.monotonic()
        if now < max(self._shut_until, self._resting_until) or self._is_probed:
            return None
        self._is_probed = self.is_open
        return Turn(self, is_probe=self.is_open)

    def rest(self, seconds: float, *, told: bool = False) -> None:
        """Leave it alone for a time, at most a minute; ``told`` by another process."""
        seconds = min(seconds, MOST_OPEN_S)
        self._resting_until = max(self._resting_until, clock.monotonic() + seconds)
        if not told:
            log.warning("circuit_rests", **self._names, seconds=seconds)
            self._tell(self, seconds)

    def go_last(self) -> None:
        """Ask others first for a moment."""
        self._last_until = clock.monotonic() + OVERLOADED_S

    def answered(self) -> None:
        """Take note that an answer has begun."""
        if self.is_open:
            self.is_open, self._in_a_row = False, self._most_failures - 1
            log.info("circuit_closed", **self._names)

    def succeeded(self) -> None:
        self._count(failed=0)
        self._in_a_row = 0
        self._opens_for_s = OPEN_S

    def failed(self, *, is_probe: bool) -> None:
        """Take note of a failure; one of a call that began before it opened changes nothing."""
        if self.is_open and not is_probe:
            return
        self._count(failed=1)
        self._in_a_row += 1
        too_often = (
            self._calls >= CALLS_PER_FAILURE * self._most_failures
            and 2 * self._failed >= self._calls
        )
        if is_probe or too_often or self._in_a_row >= self._most_failures:
            self._open()

    def free_probe(self) -> None:
        self._is_probed = False

    def _open(self) -> None:
        seconds, self._opens_for_s = self._opens_for_s, min(2 * self._opens_for_s, MOST_OPEN_S)
        self.is_open = True
        self._shut_until = clock.monotonic() + seconds
        self._calls = self._failed = 0
        log.warning("circuit_opened", **self._names, seconds=seconds)
        self._tell(self, seconds)

    def _count(self, *, failed: int) -> None:
        now = clock.monotonic()
        if now - self._window_at > WINDOW_S:
            self._window_at, self._calls, self._failed = now, 0, 0
        self._calls += 1
        self._failed += failed

    @property
    def _names(self) -> dict[str, str | int]:
        names: dict[str, str | int] = {
            "provider": self.provider,
            "upstream_model": self.upstream_model,
        }
        return names if self.key_owner is None else {**names, "key_owner": self.key_owner}


class Turn:
    """One call's way through a circuit. It ends once, well, badly, or with no word about it."""

    __slots__ = ("_circuit", "_is_over", "_is_probe")

    def __init__(self, circuit: Circuit, *, is_probe: bool) -> None:
        self._circuit = circuit
        self._is_probe = is_probe
        self._is_over = False

    def answered(self) -> None:
        """Take note that the answer has begun; it may still break off."""
        if self._is_probe:
            self._is_probe = False
            self._circuit.free_probe()
            self._circuit.answered()

    def end(self, *, well: bool | None) -> None:
        """End the turn; None where the provider is neither to praise nor to blame."""
        if self._is_over:
            return
        self._is_over = True
        if self._is_probe:
            self._circuit.free_probe()
        if well is not None:
            if well:
                self._circuit.succeeded()
            else:
                self._circuit.failed(is_probe=self._is_probe)
