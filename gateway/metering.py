"""The meter: what a call has used so far, and what that costs.

The provider's own figures are taken at the end where they are believable; what was relayed is
counted all along, so that a broken stream is charged for what its caller got and for nothing else.
"""

from dataclasses import dataclass, field
from typing import Literal

from billing.holds import Act, Closing, Outcome
from billing.pricing import Price
from billing.usage import Evidence, Usage, follow
from kernel import clock
from kernel.log import logger

CHECKPOINT_TOKENS = 64
CHECKPOINT_S = 0.25
# A provider's figure beyond this multiple of our own bounds and counts is not believed.
ABSURD = 4
# Short answers differ by more than a factor.
SLACK_TOKENS = 16
# What providers wrap calls of tools in is not relayed: dozens of tokens for each.
TOOLS_SLACK_TOKENS = 512
log = logger(__name__)


@dataclass(slots=True)
class Meter:
    """Counts one call. ``prompt_tokens`` is our own count, ``most_output`` the hold's bound.

    ``is_guessed`` tells that the count of the prompt is a guess in a part: pictures, sound, what is
    sealed. ``prompt_bucket`` is where our own count of the prompt belongs.

    ``cost`` is what the provider charges, where that is on file; pictures are always our own count.
    ``is_doubted`` tells that the provider's last figures were not believed. ``remarks`` are for the
    receipt. ``may_think`` and ``slack_tokens`` say how far the provider's
    figures may be above what was relayed.
    """

    request_id: str
    price: Price
    prompt_tokens: int
    most_input: int
    most_output: int
    images: int = 0
    is_guessed: bool = False
    prompt_bucket: Literal["input", "embedding"] = "input"
    may_think: bool = False
    slack_tokens: int = SLACK_TOKENS
    provider: str = ""
    cost: Price | None = None
    remarks: dict[str, str] = field(default_factory=dict)
    output_tokens: int = 0
    reported: Usage | None = None
    is_doubted: bool = False
    started_at: float = field(default_factory=clock.monotonic)
    first_token_at: float | None = None
    _said: Usage | None = None
    _marked_tokens: int = 0
    _marked_at: float = field(default_factory=clock.monotonic)

    def add(self, tokens: int) -> None:
        """Count output that is about to be relayed."""
        if self.first_token_at is None and tokens:
            self.first_token_at = clock.monotonic()
        self.output_tokens += tokens

    def take_back(self, tokens: int) -> None:
        """Uncount output that will not be relayed after all."""
        self.output_tokens -= tokens

    def report(self, usage: Usage) -> bool:
        """Take the provider's figures; return False for figures that are not believed.

        Tokens are cut differently everywhere, so figures may differ from our own count of what was
        relayed, but not beyond all reason; ours is complete by the time figures come. The last
        figures count, also those that are not believed; figures that shrink are not.
        """
        self._said = usage = follow(self._said, usage) or usage
        is_believed = (
            0 < usage.prompt_tokens <= ABSURD * self.most_input
            and 0 <= usage.completion_tokens <= ABSURD * self.most_output
            and self.output_tokens <= ABSURD * (usage.completion_tokens + SLACK_TOKENS)
            and (self.may_think or usage.completion_tokens - usage.reasoning <= self._most)
        )
        self.reported = _at_its_price(usage, self.price) if is_believed else None
        self.is_doubted = not is_believed
        if not is_believed:
            log.warning(
                "usage_not_believed",
                request=self.request_id,
                provider=self.provider,
                counted_output=self.output_tokens,
                prompt_tokens=usage.prompt_tokens,
                completion_tokens=usage.completion_tokens,
                reasoning_tokens=usage.reasoning,
            )
        return is_believed

    @property
    def _most(self) -> int:
        """The most tokens that somebody else may count in what was relayed."""
        return ABSURD * self.output_tokens + self.slack_tokens

    def checkpoint_due(self) -> bool:
        """Tell whether 64 tokens or 250 ms have passed since the last one; mark it if so."""
        fresh = self.output_tokens - self._marked_tokens
        now = clock.monotonic()
        if fresh <= 0 or (fresh < CHECKPOINT_TOKENS and now - self._marked_at < CHECKPOINT_S):
            return False
        self._marked_tokens = self.output_tokens
        self._marked_at = now
        return True

    @property
    def is_late(self) -> bool:
        """Tell whether 250 ms have passed since the last checkpoint."""
        return clock.monotonic() - self._marked_at >= CHECKPOINT_S

    @property
    def usage(self) -> Usage:
        """The provider's figures, else our own count of what was relayed."""
        if self.reported is None:
            counted = Usage(output=self.output_tokens, image=self.images, request=1)
            return counted._replace(**{self.prompt_bucket: self.prompt_tokens})
        return self.reported._replace(image=self.images) if self.images else self.reported

    @property
    def evidence(self) -> Evidence:
        if self.reported is not None:
            return Evidence.PROVIDER
        return Evidence.ESTIMATED if self.is_guessed else Evidence.COUNTED

    def closing(self, outcome: Outcome) -> Closing:
        """Return the settlement this call comes to now."""
        usage = self.usage
        first = self.first_token_at
        return Closing(
            self.request_id,
            Act.SETTLE,
            usage=usage,
            charge_nanos=self.price.charge(usage),
            evidence=self.evidence,
            outcome=outcome,
            provider=self.provider,
            first_token_ms=None if first is None else _ms(first - self.started_at),
            duration_ms=_ms(clock.monotonic() - self.started_at),
            counted_input=self.prompt_tokens,
            counted_output=self.output_tokens,
            upstream_nanos=None if self.cost is None else self.cost.charge(usage),
            cache_percent=self.price.cache_percent,
        )


def _at_its_price(usage: Usage, price: Price) -> Usage:
    """Return sound as text where its model has no price for sound: it is not for nothing."""
    if not (usage.audio_input or usage.audio_output):
        return usage
    for sound, text in (("audio_input", "input"), ("audio_output", "output")):
        heard = getattr(usage, sound)
        if heard and not getattr(price.per_million, sound) and sound not in price.tiers:
            usage = usage._replace(**{sound: 0, text: getattr(usage, text) + heard})
    return usage


def _ms(duration_s: float) -> int:
    return round(duration_s * 1000)
