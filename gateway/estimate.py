"""The most a call can use. Pure. Every multiplier of cost is in here, or refused before."""

from typing import NamedTuple

from billing.pricing import Price
from gateway.catalog import CatalogModel
from gateway.chat import ChatRequest
from gateway.media_bounds import uncounted_media_tokens
from gateway.tokenizer import prompt_upper_bound
from gateway.tranches import TRANCHE_TOKENS
from kernel.money import Nanos


class Estimate(NamedTuple):
    """Upper bounds in tokens, over all choices together.

    ``first_output_tokens`` is what the first hold covers of ``output_tokens``, and
    ``uncounted_media_tokens`` what of ``input_tokens`` only a provider may count.
    """

    input_tokens: int
    output_tokens: int
    first_output_tokens: int
    images: int = 0
    uncounted_media_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """What rate limits reserve: by our own count, since few films are as long as can be."""
        return self.input_tokens - self.uncounted_media_tokens + self.output_tokens

    def ceiling(self, price: Price) -> Nanos:
        """Return the first hold: no usage within what it covers costs more."""
        return price.ceiling(
            input_tokens=self.input_tokens,
            output_tokens=self.first_output_tokens,
            images=self.images,
        )


def estimate(request: ChatRequest, model: CatalogModel) -> Estimate:
    """Bound a call; without ``max_tokens`` of its own the model's limit counts."""
    if request.embed is not None:
        return Estimate(prompt_upper_bound(request), 0, 0)
    output = (request.max_tokens or model.max_output_tokens) * request.n
    is_seen_growing = request.stream and request.n == 1 and not may_think_unseen(request, model)
    first = min(output, TRANCHE_TOKENS) if is_seen_growing else output
    images = sum(media.kind != "audio" for message in request.messages for media in message.media)
    counted = prompt_upper_bound(request)
    uncounted = 0
    if not model.is_simulated:
        uncounted = uncounted_media_tokens(
            request,
            context_tokens=model.context_tokens,
            picture_tokens=model.picture_tokens,
            counted=counted,
        )
    return Estimate(counted + uncounted, output, first, images, uncounted)


def may_think_unseen(request: ChatRequest, model: CatalogModel) -> bool:
    """Tell whether a stream may use tokens that nobody sees come: they must be held in full.

    OpenAI's own models are silent while they think, some whether asked to think or not: an operator
    marks those. Anthropic's say what they think, to callers of their dialect, unless it is left out
    of the answer.
    """
    if request.effort == "none":
        return False
    if model.thinks_unseen:
        return True
    if request.dialect == "anthropic" and request.effort is None and not request.is_thinking:
        return False
    if request.dialect != "anthropic":
        return request.effort is not None
    return not _says_what_it_thinks(request, model)


def may_think(request: ChatRequest, model: CatalogModel) -> bool:
    """Tell whether a model may use tokens for thinking, of which it shows all, some or none."""
    return model.thinks_unseen or request.is_thinking or request.effort not in (None, "none")


def _says_what_it_thinks(request: ChatRequest, model: CatalogModel) -> bool:
    thinking = request.wire.get("thinking") or {}
    is_left_out = thinking.get("display") == "omitted"
    return not is_left_out and all(each.kind != "openai" for each in model.deployments)
