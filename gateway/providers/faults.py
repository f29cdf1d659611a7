"""What a provider's refusal says to routing. To callers these are what they are made of."""

import re
from collections.abc import Mapping
from typing import Any

from kernel.errors import BadRequestError, TollgateError, UnavailableError

SOON = {"retry-after": "2"}
MOST_PATH_CHARS = 200
_PATH = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w-]+|\[[0-9]+\])*", re.ASCII)
_FIELD = re.compile(r"[a-z_][a-z0-9_.]{0,99}(?=: )")
# OpenAI and LiteLLM say it by their code, llama.cpp by its type; Anthropic, vLLM and Mistral in
# their sentence alone.
_BEYOND_CONTEXT = {"context_length_exceeded", "exceed_context_size_error"}
_TOO_LONG = re.compile(r"\Aprompt is too long|maximum context length", re.IGNORECASE)


class OverloadedError(UnavailableError):
    """429, 503, 529. ``come_back_s`` is when the provider wants to be asked again, if it said."""

    def __init__(self, come_back_s: int | None = None) -> None:
        super().__init__("The model is overloaded at the moment; try again shortly.", headers=SOON)
        self.come_back_s = come_back_s


class OwnKeyRefusedError(TollgateError):
    """401, 402, 403 or an empty account there, under the organization's own key.

    Neither the provider's fault nor the caller's: who looks after the organization's keys must act.
    """

    http_status = 502
    default_code = "provider_key_refused"

    def __init__(self) -> None:
        super().__init__(
            "The model's provider refused your organization's own key: replace or remove the key, "
            "or see to the account behind it.",
            headers={"x-should-retry": "false"},
        )


class BeyondContextError(BadRequestError):
    """A prompt that the model has no room for.

    Clients that shorten a conversation by themselves know it by OpenAI's code or words, or by
    Anthropic's first words.
    """

    default_code = "context_length_exceeded"

    def __init__(self) -> None:
        super().__init__(
            "prompt is too long: it has more tokens than this model's maximum context length. "
            "Please reduce its length."
        )


def is_beyond_context(error: Mapping[str, Any]) -> bool:
    """Tell whether a refused request is one whose prompt has no room."""
    if not _BEYOND_CONTEXT.isdisjoint({str(error.get("code")), str(error.get("type"))}):
        return True
    return _TOO_LONG.search(str(error.get("message"))) is not None


def find_field(error: Mapping[str, Any]) -> str | None:
    """Return the field at fault: OpenAI names it apart, Anthropic before the reason.

    What is no path is none: it would be the provider's words.
    """
    param = error.get("param")
    if param is None:
        named = _FIELD.match(str(error.get("message")))
        return named[0] if named else None
    is_path = isinstance(param, str) and len(param) <= MOST_PATH_CHARS and _PATH.fullmatch(param)
    return param if is_path else None
