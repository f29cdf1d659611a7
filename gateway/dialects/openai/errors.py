"""The error envelope: all four keys, always."""

import orjson

from gateway.dialects.writing import clean
from kernel.errors import TollgateError


def render_error(error: TollgateError) -> bytes:
    """Return the body of an error, in valid UTF-8 whatever the message quotes."""
    return render_error_at(error, error.param)


def render_error_at(error: TollgateError, param: str | None) -> bytes:
    """Return the body of an error whose field has another name for this caller."""
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
