"""The error envelope: all four keys, always."""

import orjson

from gateway.dialects.writing import clean
from kernel.errors import TollgateError

BEYOND_CONTEXT = "context_length_exceeded"


def render_error(error: TollgateError, prompt: str = "messages") -> bytes:
    """Return the body of an error, in valid UTF-8 whatever the message quotes.

    ``prompt`` is the field at fault where a provider has no room for it.
    """
    param = prompt if error.code == BEYOND_CONTEXT else error.param
    return orjson.dumps(
        {
            "error": {
                "message": clean(error.message),
                "type": error.kind,
                "param": None if param is None else clean(param),
                "code": error.code,
            }
        }
    )
