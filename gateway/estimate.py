"""The most a call can use. Pure. Every multiplier of cost is in here, or refused before."""

from dataclasses import dataclass

from billing.pricing import Price
from gateway.chat import ChatRequest
from gateway.tokenizer import prompt_upper_bound
from kernel.money import Nanos


@dataclass(frozen=True, slots=True)
class Estimate:
    """Upper bounds in tokens: ``output_tokens`` over all choices together."""

    input_tokens: int
    output_tokens: int

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def ceiling(self, price: Price) -> Nanos:
        """Return the hold: no usage within the bounds costs more."""
        return price.ceiling(input_tokens=self.input_tokens, output_tokens=self.output_tokens)


def estimate(request: ChatRequest, *, max_output_tokens: int) -> Estimate:
    """Bound a call; without ``max_tokens`` of its own the model's limit counts."""
    each = request.max_tokens or max_output_tokens
    return Estimate(prompt_upper_bound(request), each * request.n)
