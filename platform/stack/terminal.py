"""What the stack says to the person who started it."""

import sys
from contextlib import suppress


def say(text: str) -> None:
    """Print at once; a reader that went away (a closed pipe) must not end the stack."""
    with suppress(OSError):
        print(text, flush=True)


def complain(text: str) -> None:
    with suppress(OSError):
        print(f"tollgate: {text}", file=sys.stderr, flush=True)
