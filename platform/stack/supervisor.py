"""The supervisor: it starts the children, heals them, and stops them in order.

1. ``start`` spawns all children and waits until each shows its sign of readiness. A child that
   dies before that, or Ctrl-C, ends the start; the caller then calls ``stop``.
2. ``watch`` sleeps until a signal comes. A child that ended is named in one line and started again,
   after a pause that grows; one that ends too often ends the stack.
3. The listening sockets are ours and outlive every child that serves them: a connection made while
   a child is down waits and is not refused.
4. ``stop`` ends the groups in the reverse order of their start, and the children of one group at
   the same time. New connections are refused from then on, open ones are served to their end; a
   second Ctrl-C cuts the waiting short.
5. If the supervisor itself is killed, the kernel ends every child (``leash.py``).
"""

import socket
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from .child import Child
from .errors import StackError
from .interrupts import Interrupts
from .terminal import say

RESTARTS = 5
RESTARTS_WITHIN_S = 60.0
PAUSES_S = (0.1, 0.3, 0.6, 1.2, 2.4)
WATCH_S = 1.0
HURRIED_S = 2.0
DOOR_PAUSE_S = 0.3


@dataclass(slots=True)
class _Record:
    """A child's recent deaths, and when it is due to start again."""

    died_at: deque[float] = field(default_factory=lambda: deque(maxlen=RESTARTS + 1))
    due_at: float | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Children that stop together, and the listening socket they share, if any."""

    children: Sequence[Child]
    door: socket.socket | None = None


class Supervisor:
    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        self._groups: list[Group] = []
        self._records: dict[str, _Record] = {}
        self._stops_asked = 0

    def start(self, groups: Sequence[Group], timeout_s: float) -> None:
        """Spawn all, then wait for all.

        Raises: StackError when one dies or is not ready in time.
        """
        for group in groups:
            self._groups.append(group)
            for child in group.children:
                child.spawn()
        deadline = time.monotonic() + timeout_s
        for child in self._children():
            child.wait_ready(max(deadline - time.monotonic(), 1.0))

    def watch(self, also: Sequence[Child]) -> None:
        """Heal our children, and ``also`` those that someone else will stop, until told to stop.

        Raises: StackError when one of them cannot be kept alive.
        """
        self._interrupts.stop_raising()
        children = [*self._children(), *also]
        self._records = {child.name: _Record() for child in children}
        while not self._interrupts.stop_count:
            for child in children:
                self._heal(child, self._records[child.name])
            dues = [record.due_at for record in self._records.values() if record.due_at is not None]
            self._interrupts.wait(min([*(due - time.monotonic() for due in dues), WATCH_S]))

    def stop(self) -> None:
        self._interrupts.stop_raising()
        self._stops_asked = self._interrupts.stop_count
        for group in reversed(self._groups):
            self._stop_group(group)

    def _children(self) -> list[Child]:
        return [child for group in self._groups for child in group.children]

    def _heal(self, child: Child, record: _Record) -> None:
        if child.is_running:
            return
        if record.due_at is None:
            record.due_at = time.monotonic() + self._pause_s(child, record)
            say(f"{child.epitaph()}; starting it again.")
        if time.monotonic() >= record.due_at:
            record.due_at = None
            child.spawn()

    def _pause_s(self, child: Child, record: _Record) -> float:
        now = time.monotonic()
        record.died_at.append(now)
        recent = [at for at in record.died_at if now - at < RESTARTS_WITHIN_S]
        if len(recent) > RESTARTS:
            raise StackError(
                f"{child.epitaph()} once more after {RESTARTS} restarts within "
                f"{RESTARTS_WITHIN_S:.0f} s, so the stack stops. {child.last_words()}"
            )
        return PAUSES_S[len(recent) - 1]

    def _stop_group(self, group: Group) -> None:
        for child in group.children:
            child.ask_to_stop()
        if group.door is not None:
            _shut(group.door)
        asked_at = time.monotonic()
        patience_s = max(child.command.stop_timeout_s for child in group.children)
        while left := [child for child in group.children if child.is_running]:
            hurried = self._interrupts.stop_count > self._stops_asked
            if time.monotonic() - asked_at > (HURRIED_S if hurried else patience_s):
                break
            self._interrupts.wait(0.5)
        for child in left:
            child.kill()


def _shut(door: socket.socket) -> None:
    """Refuse new connections, where closing our end alone would leave callers waiting.

    Until it exits, uvicorn keeps the descriptor it was given open and would go on queueing them.
    It must have stopped to accept before, else it spins on the error: hence the pause.
    """
    time.sleep(DOOR_PAUSE_S)
    with suppress(OSError):
        door.shutdown(socket.SHUT_RDWR)
    door.close()
