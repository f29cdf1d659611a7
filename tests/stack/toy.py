"""A toy Tollgate around the real supervisor: a whole stack that starts in two seconds.

PostgreSQL, Valkey, uvicorn, daphne and Celery are the real ones; the application is a few lines
and can be told to misbehave.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from tests.stack.machine import PLATFORM, free_port, until

SECRETS = {
    "org_id": "org",
    "api_key": "hk-proj-toy",
    "operator_email": "operator@toy",
    "operator_password": "pass",
    "member_email": "alice@toy",
    "member_password": "word",
}
FILES = {
    "manage.py": f"""
import os, sys, time
if sys.argv[1] == "migrate":
    time.sleep(float(os.environ.get("MIGRATE_S", "0")))
if sys.argv[1] == "demo":
    print({json.dumps(json.dumps(SECRETS))})
""",
    "platform/config/__init__.py": "",
    "platform/config/settings.py": "SECRET_KEY = 'toy'\nUSE_TZ = True\n",
    "platform/config/celery.py": """
import os
from urllib.parse import urlsplit
from celery import Celery
if os.path.exists(os.environ["DATA_DIR"] + "/celery-is-broken"):
    raise SystemExit("celery is broken today")
app = Celery("toy", broker="redis+socket://" + urlsplit(os.environ["REDIS_URL"]).path)
""",
    "platform/django_celery_beat/__init__.py": "",
    "platform/django_celery_beat/schedulers.py": (
        "from celery.beat import Scheduler as DatabaseScheduler\n"
    ),
    "platform/config/server.py": """
import sys, uvicorn
said = dict(zip(sys.argv[1::2], sys.argv[2::2]))
uvicorn.run(
    "config.asgi:application",
    fd=int(said["--fd"]),
    timeout_graceful_shutdown=int(said["--graceful"]),
)
""",
    "platform/config/asgi.py": """
import asyncio, os
async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        while (message := await receive()):
            await send({"type": message["type"] + ".complete"})
            if message["type"].endswith("shutdown"):
                return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"].startswith("/stream/"):
        await send({"type": "http.response.body", "body": b"begin ", "more_body": True})
        await asyncio.sleep(float(scope["path"].rpartition("/")[2]))
    await send({"type": "http.response.body", "body": b"end"})
""",
}


class Stack:
    """A supervisor as a child of the test, and what it has said so far."""

    def __init__(self, command: list[str], env: Mapping[str, str]) -> None:
        self.data = Path(env["DATA_DIR"])
        self.env = env
        self.said = ""
        self.up = subprocess.Popen(
            command,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def api_port(self) -> int:
        return int(self.env["API_PORT"])

    @property
    def web_port(self) -> int:
        return int(self.env["WEB_PORT"])

    def _read(self) -> None:
        assert self.up.stdout is not None
        for line in self.up.stdout:
            self.said += line

    def wait_up(self, timeout_s: float = 60) -> "Stack":
        until(lambda: "Stop      Ctrl-C" in self.said or self.up.poll() is not None, timeout_s)
        assert self.up.poll() is None, self.said
        return self

    def wait_said(self, text: str) -> None:
        until(lambda: text in self.said, 30)

    def wait_end(self, timeout_s: float = 30) -> int:
        code = self.up.wait(timeout_s)
        self._reader.join(5)
        return code

    def children(self) -> dict[str, psutil.Process]:
        """Return the direct children by role; several api processes share one name."""
        signs = {
            "config.server": "api",
            "daphne": "web",
            "worker": "worker",
            "beat": "beat",
            "bin/postgres": "postgres",
            "redis.sock": "redis",
        }
        found = {}
        for child in psutil.Process(self.up.pid).children():
            with suppress(psutil.Error):  # ended meanwhile
                command = " ".join(child.cmdline())
                found.update({role: child for sign, role in signs.items() if sign in command})
        return found

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.up.pid).children(recursive=True)


def gone(processes: list[psutil.Process]) -> bool:
    return not any(_lives(process) for process in processes)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # ended between the two questions
        return False


def stack_environment(root: Path, data: Path) -> dict[str, str]:
    """Return an environment without a trace of the test run's own servers."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(root),
        "TMPDIR": str(data.parent),  # a killed Celery pool leaves its folder behind
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join((str(root), str(root / "platform"))),
        "DATA_DIR": str(data),
        "API_PORT": str(free_port()),
        "WEB_PORT": str(free_port()),
    }


def make_toy(root: Path) -> None:
    shutil.copytree(PLATFORM / "stack", root / "platform" / "stack")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def start_stack(env: Mapping[str, str]) -> Stack:
    return Stack([sys.executable, "-m", "stack", "up"], env)
