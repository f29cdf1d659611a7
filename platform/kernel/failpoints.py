"""Failpoints: named places where a test makes a process die, fail or pause.

``FAIL=after_hold_commit:kill9,journal_write:raise`` arms them, with DEBUG=1 only; other settings
refuse to load. A name stands in the source once, and a test finds every one and kills a process
there. Where none is armed, reaching one costs a look into an empty dictionary.
"""

import os
import re
import signal
import time
from collections.abc import Callable

_FORM = re.compile(r"([a-z_0-9]+):(kill9|raise|sleep=(\d{1,5}))", re.ASCII)
_armed: dict[str, Callable[[], None]] = {}


class FailpointError(OSError):
    """What ``raise`` raises: the fault of a machine, not of a value."""


def arm(text: str) -> None:
    """Arm ``name:action`` pairs: ``kill9``, ``raise``, or ``sleep=`` milliseconds.

    Raises:
        ValueError: for a pair of another form.

    """
    for pair in filter(None, text.split(",")):
        match = _FORM.fullmatch(pair)
        if match is None:
            raise ValueError(pair)
        _armed[match[1]] = _action(match[2], int(match[3] or 0))


def reach(name: str) -> None:
    """Do what the point is armed with; nothing where it is not."""
    act = _armed.get(name)
    if act is not None:
        act()


def _action(name: str, pause_ms: int) -> Callable[[], None]:
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def fail() -> None:
        raise FailpointError("failpoint")

    def pause() -> None:
        time.sleep(pause_ms / 1000)

    return {"kill9": die, "raise": fail}.get(name, pause)
