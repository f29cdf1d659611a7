"""The error envelope: all four keys, always."""

from typing import Any

import orjson

from kernel.errors import TollgateError


def render_error(error: TollgateError) -> bytes:
    """Return the body of an error, in valid UTF-8 whatever the message quotes."""
    return orjson.dumps(
        {
            "error": {
                "message": _clean(error.message),
                "type": error.kind,
                "param": _clean(error.param),
                "code": error.code,
            }
        }
    )


def _clean(text: Any) -> Any:
    """Replace lone surrogates, which no valid answer can carry."""
    return text if text is None else text.encode("utf-8", "replace").decode()
