"""The error envelope: all four keys, always."""

import orjson

from gateway.dialects.writing import clean
from kernel.errors import TollgateError


def render_error(error: TollgateError) -> bytes:
    """Return the body of an error, in valid UTF-8 whatever the message quotes."""
    return orjson.dumps(
        {
            "error": {
                "message": clean(error.message),
                "type": error.kind,
                "param": None if error.param is None else clean(error.param),
                "code": error.code,
            }
        }
    )
