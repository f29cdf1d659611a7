"""A held call until it is settled: the first ending wins, later ones do nothing."""

from accounts.principal import Principal
from billing.holds import Outcome
from gateway.books import Books
from gateway.dialects.receipts import Receipt
from gateway.metering import Meter
from gateway.tranches import Tranches
from kernel.money import Nanos


class Sale:
    """``complete`` before the last bytes go out; ``settle`` on every other way out."""

    def __init__(
        self, books: Books, principal: Principal, meter: Meter, tranches: Tranches
    ) -> None:
        self.principal = principal
        self.meter = meter
        self.tranches = tranches
        self.is_open = True
        self._is_released = False
        self._books = books

    @property
    def used_tokens(self) -> int:
        if self._is_released:
            return 0
        usage = self.meter.usage
        return usage.prompt_tokens + usage.completion_tokens

    def checkpoint(self) -> None:
        """Journal what a running stream has come to, where that is due."""
        if self.meter.checkpoint_due():
            self._books.checkpoint(self.meter.closing(Outcome.INTERRUPTED))

    async def receipt(self) -> Receipt:
        """Return what the call comes to if it ends now; what is settled is exactly that."""
        usage = self.meter.usage
        charge = self.meter.price.charge(usage)
        held_nanos = self.tranches.held_nanos
        if charge > held_nanos:
            held_nanos = await self.tranches.await_more()
        cost_nanos = Nanos(min(charge, held_nanos))
        return Receipt(usage, cost_nanos, self.meter.evidence, self.meter.remarks)

    def complete(self, outcome: Outcome) -> None:
        """Journal and queue what the call came to. Never waits, never raises."""
        if self.is_open:
            self.is_open = False
            self._books.close(self.meter.closing(outcome))

    def settle(self, outcome: Outcome) -> None:
        """Charge what was relayed; give everything back where nothing was."""
        if self.is_open and self.meter.output_tokens == 0 and self.meter.reported is None:
            self.is_open = False
            self._is_released = True
            self._books.release(self.meter.request_id)
        else:
            self.complete(outcome)
