"""Ctrl-C, SIGTERM and the death of a child, turned into one thing a loop can wait for.

1. While the stack starts, a request to stop is raised where it falls, so no wait has to ask for it.
2. From ``stop_raising`` on it is only counted; ``wait`` returns at once when anything arrives.
"""

import select
import signal
import socket
from contextlib import suppress
from types import FrameType
from typing import Self

from .errors import StopRequestedError

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Own the process's signals between ``__enter__`` and ``__exit__``; main thread only."""

    def __init__(self) -> None:
        self.stop_count = 0
        self._raises = True
        self._read, self._write = socket.socketpair()

    def __enter__(self) -> Self:
        self._read.setblocking(False)
        self._write.setblocking(False)
        signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # a default handler would not wake the loop
        for signum in STOPS:
            ignored = signal.getsignal(signum) is signal.SIG_IGN
            if not (ignored and signum is signal.SIGHUP):  # nohup means it
                signal.signal(signum, self._on_stop)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for signum in STOPS:
            signal.signal(signum, signal.SIG_IGN)  # all is stopped; a late Ctrl-C changes nothing
        self._read.close()
        self._write.close()

    def stop_raising(self) -> None:
        self._raises = False

    def wait(self, timeout_s: float) -> None:
        """Sleep until a signal arrives, at most ``timeout_s``."""
        select.select([self._read], [], [], max(timeout_s, 0))
        with suppress(BlockingIOError):
            while self._read.recv(4096):
                pass

    def _on_stop(self, _signum: int, _frame: FrameType | None) -> None:
        self.stop_count += 1
        if self._raises:
            self._raises = False  # once: a second one must not disturb the stop
            raise StopRequestedError
