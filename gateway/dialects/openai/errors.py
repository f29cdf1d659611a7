"""The error envelope: all four keys, always."""

import orjson

from gateway.dialects.writing import clean
from kernel.errors import TollgateError, UpstreamError

BEYOND_CONTEXT = "context_length_exceeded"


def render_error(error: TollgateError, prompt: str = "messages") -> bytes:
    """Return the body of an error, in valid UTF-8 whatever the message quotes.

    ``prompt`` is the field at fault where a provider has no room for it.
    """
    param = prompt if error.code == BEYOND_CONTEXT else error.param
    return _dump(error.message, error.kind, param, error.code)


def render_streamed_error(error: TollgateError) -> bytes:
    """Return the body of an error after the first byte of a stream: one kind, whatever broke."""
    return _dump(error.message, UpstreamError.kind, None, UpstreamError.default_code)


def _dump(message: str, kind: str, param: str | None, code: str | None) -> bytes:
    return orjson.dumps(
        {
            "error": {
                "message": clean(message),
                "type": kind,
                "param": None if param is None else clean(param),
                "code": code,
            }
        }
    )
