"""The arguments of a tool call that an upstream has written. Pure."""

import orjson

from kernel.errors import UpstreamError


def check_arguments(arguments: str) -> None:
    """Check that what a whole call is made with is a JSON object; nothing at all is an empty one.

    Raises:
        UpstreamError: for anything else, before the caller takes it for good.

    """
    try:
        is_object = isinstance(orjson.loads(arguments or "{}"), dict)
    except ValueError:
        is_object = False
    if not is_object:
        raise UpstreamError("The model's provider called a tool with broken arguments.")
