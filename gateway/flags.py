"""An event for few who wait.

``asyncio.Event`` keeps a queue for those who wait, 700 bytes of it while nobody does, and makes a
coroutine for each of them. An open stream had two of uvicorn's.
"""

import asyncio
from collections.abc import Awaitable, Generator

from kernel.loops import running_loop


class Flag:
    """Is to one event loop what ``asyncio.Event`` is, as far as uvicorn asks for it."""

    __slots__ = ("_is_set", "_waiters")

    def __init__(self, *, is_set: bool = False) -> None:
        self._is_set = is_set
        self._waiters: tuple[asyncio.Future[bool], ...] = ()

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        waiters, self._waiters = self._waiters, ()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(True)

    def clear(self) -> None:
        self._is_set = False

    def wait(self) -> Awaitable[bool]:
        """Return what is done at the next ``set``, or at once while the flag is set."""
        if self._is_set:
            return _AT_ONCE
        waiter = running_loop().create_future()
        self._waiters = (*(each for each in self._waiters if not each.done()), waiter)
        return waiter


class _AtOnce:
    """Can be awaited again and again, and never waits."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, bool]:
        yield from ()
        return True


_AT_ONCE = _AtOnce()
