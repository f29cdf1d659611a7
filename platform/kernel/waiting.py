"""Waiting for what may not come back: a deadline for the one who waits, none for the work."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")
_left_behind: set[asyncio.Task[Any]] = set()


async def within(
    seconds: float, work: Coroutine[Any, Any, Result] | asyncio.Task[Result]
) -> Result:
    """Return what ``work`` comes to, if it does so in time; else leave it to end by itself.

    A server that is frozen keeps no ``statement_timeout``, and psycopg does not return from being
    cancelled before it answers; so the work goes on, and only its caller does not.

    Raises:
        TimeoutError: when it takes longer.

    """
    task = asyncio.ensure_future(work)
    _left_behind.add(task)
    task.add_done_callback(_let_go)
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        raise TimeoutError
    return task.result()


def _let_go(task: asyncio.Task[Any]) -> None:
    _left_behind.discard(task)
    if not task.cancelled():
        task.exception()  # nobody may be left to ask, and that is no fault
