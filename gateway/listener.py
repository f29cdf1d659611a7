"""Hearing a caller leave where a server tells that to whoever receives alone, as daphne does."""

import asyncio

from kernel.loops import running_loop


class Listener:
    """Wakes whoever listens for a caller to leave, once the call's task is done.

    A server wakes its ``receive`` when the answer is complete, too; so no task of our own listens,
    which cost a call and an open stream more than it was worth.
    """

    __slots__ = ("_listening", "is_woken")

    def __init__(self, task: "asyncio.Task[None]") -> None:
        self.is_woken = False
        self._listening = asyncio.current_task(running_loop())
        task.add_done_callback(self._wake)

    def stop(self) -> None:
        self._listening = None

    def uncancel(self) -> int:
        """Take the waking back; return how often the listener was cancelled beside it."""
        return 0 if self._listening is None else self._listening.uncancel()

    def _wake(self, _: "asyncio.Task[None]") -> None:
        if self._listening is not None:
            self.is_woken = True
            self._listening.cancel()
