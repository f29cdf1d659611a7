"""How much a process may ask again: a share of what it is asked, so that faults do not multiply."""

from kernel import clock

WINDOW_S = 30
ONE_IN = 10
# A quiet process could never fail over on its share alone.
FREE = 10


class RetryBudget:
    """Counts over the window that runs and the one before it.

    1. Every call is counted once, when it begins.
    2. Before a second or third provider is asked, ``spend`` says whether that may be.
    """

    def __init__(self) -> None:
        self.spent = 0
        self.denied = 0
        self._began_at = clock.monotonic()
        self._calls = [0, 0]
        self._retries = [0, 0]

    def count_call(self) -> None:
        self._turn()
        self._calls[1] += 1

    def spend(self) -> bool:
        """Take one retry from the budget; False where nothing is left."""
        self._turn()
        if sum(self._retries) >= FREE + sum(self._calls) // ONE_IN:
            self.denied += 1
            return False
        self._retries[1] += 1
        self.spent += 1
        return True

    def _turn(self) -> None:
        passed_s = clock.monotonic() - self._began_at
        if passed_s < WINDOW_S:
            return
        is_next = passed_s < 2 * WINDOW_S
        self._calls = [self._calls[1] if is_next else 0, 0]
        self._retries = [self._retries[1] if is_next else 0, 0]
        self._began_at = clock.monotonic()
