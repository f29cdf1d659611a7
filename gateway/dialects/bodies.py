"""Request bodies as every dialect reads them, and the room a context leaves. Pure."""

from typing import Any

import orjson

from gateway.chat import ChatRequest
from gateway.tokenizer import count_prompt, prompt_lower_bound, prompt_upper_bound
from kernel.errors import BadRequestError

# orjson reads deeper than it writes: what we take, we must be able to hand on.
_DEPTH_THAT_CAN_BE_WRITTEN = 250
# Work grows with objects and arrays, not with bytes: so many take about half a second to check.
MOST_CONTAINERS = 200_000
# Each is checked against the request before anything moves.
MOST_MODELS = 5


def parse_body(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body.

    orjson refuses what JSON does not know: NaN, Infinity, 1e400, lone surrogates, UTF-16, a byte
    order mark, invalid UTF-8, trailing text.

    Raises:
        BadRequestError: no JSON object, or one that is too large to check or too deep to hand on.

    """
    containers = body.count(b"{") + body.count(b"[")
    if containers > MOST_CONTAINERS:
        raise BadRequestError(
            f"The body of your request has over {MOST_CONTAINERS} objects and arrays."
        )
    try:
        wire = orjson.loads(body)
    except ValueError as error:
        raise BadRequestError("We could not parse the body of your request as JSON.") from error
    if type(wire) is not dict:
        raise BadRequestError(
            "The body of your request must be a JSON object.", code="invalid_type"
        )
    if containers > _DEPTH_THAT_CAN_BE_WRITTEN:
        _check_depth(wire)
    return wire


def _check_depth(wire: dict[str, Any]) -> None:
    try:
        orjson.dumps(wire)
    except TypeError as error:
        raise BadRequestError("The body of your request is nested too deeply.") from error


class PromptTooLongError(Exception):
    """The prompt alone fills the context; ``tokens`` is None where they were not worth counting."""

    def __init__(self, tokens: int | None) -> None:
        super().__init__()
        self.tokens = tokens


def find_room(request: ChatRequest, output_limit: int, context_tokens: int) -> int:
    """Return how many tokens of answer the context has room for, ``output_limit`` at most.

    Lengths decide almost always; tokens are counted only near the limit.

    Raises:
        PromptTooLongError: there is no room for a single one.

    """
    if prompt_upper_bound(request) + output_limit <= context_tokens:
        return output_limit
    if prompt_lower_bound(request) >= context_tokens:
        raise PromptTooLongError(None)
    tokens = count_prompt(request)
    if tokens >= context_tokens:
        raise PromptTooLongError(tokens)
    return min(output_limit, context_tokens - tokens)
