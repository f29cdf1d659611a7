"""What every benchmark stands on: real stores with fsync, migrated, and a core each."""

import os
from pathlib import Path
from uuid import uuid4

import psutil

from stack.services import Services


def set_up(services: Services, folder: Path) -> None:
    """Make this process and those it starts at home in fresh stores."""
    os.environ.update(
        DATABASE_URL=services.database_url,
        REDIS_URL=services.redis_url,
        DATA_DIR=str(folder),
        SECRET_KEY=uuid4().hex,
        KEY_PEPPERS="1:" + uuid4().hex + uuid4().hex,
        DJANGO_SETTINGS_MODULE="config.settings",
        PROVIDER_NETWORKS="127.0.0.0/8",
    )
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def with_children(pid: int) -> list[int]:
    """Return a server's process and those it has started; the next ones stay where it is."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def pin(core: int, *pids: int) -> None:
    """Keep processes on one core, where the machine has it and lets us."""
    if not hasattr(os, "sched_setaffinity"):
        return
    for pid in pids:
        os.sched_setaffinity(pid, {core % (os.cpu_count() or 1)})
