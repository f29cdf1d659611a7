"""A child process, from its start to its last signal.

1. ``spawn`` starts it in a process group of its own (a terminal's Ctrl-C reaches only us), on a
   leash (``leash.py``: it dies when we do), with its output appended to one log file.
2. ``wait_ready`` polls its sign of readiness until it shows or a deadline passes; a child that died
   meanwhile is an error that quotes the end of its log.
3. ``stop`` wakes it if frozen, asks with its own stop signal, waits, and at last kills.
4. After its end ``spawn`` may start it again; that is how a supervisor heals it.

The kernel binds the leash to the *thread* that spawned, so children are spawned by the main thread
only; a thread of a pool would take its children with it when it ends.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from .errors import StackError

LOG_ROTATES_AT_BYTES = 10 * 1024 * 1024
POLL_S = 0.05
KILL_TIMEOUT_S = 10.0
FREEZE_TIMEOUT_S = 5.0
LAST_LINES = 8
_LEASH = str(Path(__file__).with_name("leash.py"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run and how it wants to be ended.

    ``prefix`` goes before the leash: a program that changes the identity and runs the rest.
    """

    name: str
    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    cwd: Path = Path("/")
    prefix: tuple[str, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 10.0
    death_signal: signal.Signals = signal.SIGKILL
    pass_fds: tuple[int, ...] = ()

    def leashed(self) -> list[str]:
        leash = [sys.executable, "-I", "-S", _LEASH, str(os.getpid()), str(int(self.death_signal))]
        return [*self.prefix, *leash, *self.argv]


def run_once(command: Command, *, timeout_s: float, stdin: str = "") -> str:
    """Run a command to its end and return what it wrote to stdout; stderr goes to its log.

    Raises: StackError when it fails, cannot be started, or takes longer than ``timeout_s``.
    """
    assert threading.current_thread() is threading.main_thread(), (
        "children belong to the main thread"
    )
    with _open_log(command.log) as log:
        start = log.tell()
        running = subprocess.Popen(
            command.leashed(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=dict(command.env),
            cwd=command.cwd,
            text=True,
            process_group=0,
        )
        try:
            output, _ = running.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise StackError(f"{command.name} took longer than {timeout_s:.0f} s.") from None
        finally:
            if running.poll() is None:
                running.kill()
                running.wait(KILL_TIMEOUT_S)
    if running.returncode:
        raise StackError(f"{_epitaph(command, running.returncode)}. {_last_words(command, start)}")
    return output


class Child:
    def __init__(
        self,
        command: Command,
        *,
        is_ready: Callable[["Child"], bool],
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        """``prepare`` runs before every spawn and clears what a killed forerunner left behind."""
        self.command = command
        self._is_ready = is_ready
        self._prepare = prepare
        self._running: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def name(self) -> str:
        return self.command.name

    @property
    def pid(self) -> int:
        assert self._running is not None, f"{self.name} was never started"
        return self._running.pid

    @property
    def is_running(self) -> bool:
        return self._running is not None and self._running.poll() is None

    @property
    def is_ready(self) -> bool:
        return self.is_running and self._is_ready(self)

    def spawn(self) -> None:
        """Start the child and return at once."""
        assert not self.is_running, f"{self.name} runs already"
        assert threading.current_thread() is threading.main_thread(), (
            "children belong to the main thread"
        )
        self._prepare()
        with _open_log(self.command.log) as log:
            self._log_start = log.tell()
            self._running = subprocess.Popen(
                self.command.leashed(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self.command.env),
                cwd=self.command.cwd,
                pass_fds=self.command.pass_fds,
                process_group=0,
            )

    def wait_ready(self, timeout_s: float = 30.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not self.is_ready:
            if not self.is_running:
                raise StackError(f"{self.epitaph()}. {self.last_words()}")
            if time.monotonic() > deadline:
                raise StackError(
                    f"{self.name} was not ready after {timeout_s:.0f} s; see {self.command.log}."
                )
            time.sleep(POLL_S)

    def start(self, timeout_s: float = 30.0) -> None:
        self.spawn()
        self.wait_ready(timeout_s)

    def written(self) -> str:
        """Return what the child has written to its log since its last start."""
        return _read_from(self.command.log, self._log_start)

    def epitaph(self) -> str:
        """Say in a few words how the child ended."""
        assert self._running is not None, f"{self.name} was never started"
        return _epitaph(self.command, self._running.poll())

    def last_words(self) -> str:
        return _last_words(self.command, self._log_start)

    def stop(self, timeout_s: float | None = None) -> None:
        """End the child: politely within ``timeout_s``, then by SIGKILL. Idempotent."""
        self.ask_to_stop()
        if not self.wait_stopped(self.command.stop_timeout_s if timeout_s is None else timeout_s):
            self.kill()

    def ask_to_stop(self) -> None:
        if self.is_running:
            self.thaw()
            self._send(self.command.stop_signal)

    def wait_stopped(self, timeout_s: float) -> bool:
        """Wait for the child's end and return whether it came in time."""
        if self._running is None:
            return True
        with suppress(subprocess.TimeoutExpired):
            self._running.wait(max(timeout_s, 0))
        return not self.is_running

    def kill(self) -> None:
        """``kill -9`` of this one process, as a crash would do it."""
        self._send(signal.SIGKILL)
        assert self.wait_stopped(KILL_TIMEOUT_S), f"{self.name} survived SIGKILL"

    def freeze(self) -> None:
        """Stop the child and all its descendants in their tracks, and return when they stand."""
        deadline = time.monotonic() + FREEZE_TIMEOUT_S
        while not self._stands_still():
            assert time.monotonic() < deadline, f"{self.name} did not freeze"
            time.sleep(POLL_S)

    def thaw(self) -> None:
        for pid in _tree(self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _stands_still(self) -> bool:
        moving = [pid for pid, state in _tree(self.pid).items() if state not in "TZ"]
        for pid in moving:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        return not moving

    def _send(self, signum: signal.Signals) -> None:
        if self._running is not None:
            with suppress(ProcessLookupError):
                self._running.send_signal(signum)


def _open_log(path: Path) -> BinaryIO:
    if path.exists() and path.stat().st_size > LOG_ROTATES_AT_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return path.open("ab")


def _read_from(path: Path, offset: int) -> str:
    try:
        with path.open("rb") as log:
            log.seek(offset)
            return log.read(LOG_ROTATES_AT_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return ""


def _epitaph(command: Command, code: int | None) -> str:
    if code is not None and code < 0:
        return f"{command.name} was killed by {signal.Signals(-code).name}"
    return f"{command.name} ended with exit code {code}"


def _last_words(command: Command, log_start: int) -> str:
    lines = _read_from(command.log, log_start).strip().splitlines()[-LAST_LINES:]
    said = "".join(f"\n    {line}" for line in lines) or " (empty)"
    return f"The end of {command.log}:{said}"


def _tree(root: int) -> dict[int, str]:
    """Return the states (R, S, T, Z, …) of a process and its descendants by pid. Linux only."""
    states, children = {}, defaultdict[int, list[int]](list)
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # gone meanwhile
            state, parent, *_ = entry.read_text().rpartition(")")[2].split()
            pid = int(entry.parent.name)
            states[pid] = state
            children[int(parent)].append(pid)
    found = [root]
    for pid in found:  # grows while it is walked
        found.extend(children[pid])
    return {pid: states[pid] for pid in found if pid in states}
