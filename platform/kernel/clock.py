"""The two clocks: wall time for what people read, monotonic time for deadlines.

Tests replace wall time with ``time-machine``; deadlines never follow a jump of the wall clock.
"""

from datetime import UTC, datetime
from time import monotonic

__all__ = ["monotonic", "now", "now_s"]


def now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)


def now_s() -> int:
    """Return the current Unix time in whole seconds."""
    return int(datetime.now(UTC).timestamp())
