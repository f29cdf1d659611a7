"""Embedded PostgreSQL and Valkey: what they keep, whom they outlive, and what they refuse."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from stack.errors import StackError
from stack.folder import DataFolder
from stack.identity import Way
from stack.services import Services, start_services

PLATFORM = Path(__file__).resolve().parents[2] / "platform"
as_root = pytest.mark.skipif(os.getuid() != 0, reason="changing the user takes root")
Starter = Callable[..., Services]


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="tg"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def start() -> Iterator[Starter]:
    with ExitStack() as started:

        def starter(path: Path, *, durable: bool = False, way: Way | None = None) -> Services:
            services = start_services(path, durable=durable, way=way)
            started.callback(services.stop)
            return services

        yield starter


def ask(services: Services, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(services.database_url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def redis_of(services: Services) -> redis.Redis:
    return redis.Redis.from_url(services.redis_url, socket_timeout=5)


def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def processes_on(folder: Path) -> list[psutil.Process]:
    """Everything that lives in the folder or names it on its command line."""
    found = []
    for process in psutil.process_iter():
        try:
            here = [*process.cmdline(), process.cwd()]
        except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
            continue
        if process.pid != os.getpid() and any(str(folder) in each for each in here):
            found.append(process)
    return found


def test_a_clean_stop_and_start_keep_all_data_and_the_urls(start: Starter, folder: Path) -> None:
    first = start(folder, durable=True)
    ask(first, "CREATE TABLE kept (word text)")
    ask(first, "INSERT INTO kept VALUES ('ß')")
    redis_of(first).set("word", "kept")
    first.stop()

    second = start(folder, durable=True)

    assert ask(second, "SELECT word, lower('Ä') FROM kept") == [("ß", "ä")]
    assert redis_of(second).get("word") == b"kept"
    assert (second.database_url, second.redis_url) == (first.database_url, first.redis_url)


def test_a_commit_survives_kill_9_of_the_server(start: Starter, folder: Path) -> None:
    services = start(folder)
    ask(services, "CREATE TABLE kept (n int)")
    ask(services, "INSERT INTO kept SELECT generate_series(1, 1000)")

    services.postgres.kill()
    services.restart_postgres()

    assert ask(services, "SELECT count(*) FROM kept") == [(1000,)]


def test_a_pid_that_now_belongs_to_someone_else_does_not_prevent_a_start(
    start: Starter, folder: Path
) -> None:
    services = start(folder)
    services.postgres.kill()
    pid_file = folder / "postgres" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getppid()), *lines[1:]]) + "\n")

    services.restart_postgres()

    assert ask(services, "SELECT 1") == [(1,)]


def test_a_test_redis_comes_back_empty_on_the_same_socket(start: Starter, folder: Path) -> None:
    services = start(folder)
    client = redis_of(services)
    client.set("word", "lost")

    services.redis.kill()
    services.restart_redis()

    assert client.get("word") is None


def test_a_durable_redis_killed_comes_back_with_what_it_had(start: Starter, folder: Path) -> None:
    services = start(folder, durable=True)
    client = redis_of(services)
    client.set("word", "kept")
    time.sleep(1.2)  # the append-only file is synced each second

    services.redis.kill()
    services.restart_redis()

    assert client.get("word") == b"kept"


def test_a_frozen_server_answers_again_when_thawed(start: Starter, folder: Path) -> None:
    services = start(folder)

    with psycopg.connect(services.database_url) as connection:
        services.postgres.freeze()
        backends = {p.status() for p in psutil.Process(services.postgres.pid).children()}
        services.postgres.thaw()

        assert backends == {psutil.STATUS_STOPPED}
        assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_a_frozen_server_can_be_stopped(start: Starter, folder: Path) -> None:
    services = start(folder)

    services.postgres.freeze()
    services.redis.freeze()
    services.stop()

    assert processes_on(folder) == []


def test_two_folders_run_side_by_side(start: Starter, folder: Path) -> None:
    one, two = start(folder / "one"), start(folder / "two")

    ask(one, "CREATE TABLE only_here (n int)")

    assert ask(two, "SELECT to_regclass('only_here')") == [(None,)]


def test_a_second_start_on_the_same_folder_is_refused_in_one_line(
    start: Starter, folder: Path
) -> None:
    first = start(folder)

    with pytest.raises(StackError) as refused:
        start(folder)

    assert str(refused.value) == (
        f"A stack already runs on {folder} (process {os.getpid()}): stop it, "
        "or set DATA_DIR to another folder."
    )
    assert ask(first, "SELECT 1") == [(1,)]


def test_a_path_too_long_for_a_socket_still_works(start: Starter, folder: Path) -> None:
    deep = folder / ("long" * 20) / ("longer" * 10)

    services = start(deep)

    assert ask(services, "SELECT 1") == [(1,)]
    assert redis_of(services).ping()
    assert DataFolder(deep).sockets.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(DataFolder(deep).sockets)


def test_a_socket_folder_planted_by_someone_else_is_refused(start: Starter, folder: Path) -> None:
    deep = folder / ("long" * 20) / ("longer" * 10)
    planted = DataFolder(deep).sockets
    planted.symlink_to(folder)
    try:
        with pytest.raises(StackError, match="is not a folder of ours alone"):
            start(deep)
    finally:
        planted.unlink()


def test_an_interrupted_first_start_leaves_nothing_half_made(start: Starter, folder: Path) -> None:
    half = folder / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")

    services = start(folder)

    assert ask(services, "SELECT 1") == [(1,)]
    assert not half.exists()


def test_a_server_that_dies_at_start_is_named_with_the_end_of_its_log(
    start: Starter, folder: Path
) -> None:
    start(folder).stop()
    (folder / "postgres" / "PG_VERSION").write_text("9\n")

    with pytest.raises(StackError) as died:
        start(folder)

    assert str(died.value).startswith("postgres ended with exit code 1; the end of ")
    assert "incompatible" in str(died.value)
    assert processes_on(folder) == []


def test_a_given_url_is_used_and_its_server_left_alone(start: Starter, folder: Path) -> None:
    theirs = start(folder / "theirs")

    ours = start_services(folder / "ours", database_url=theirs.database_url, durable=False)
    ours.stop()

    assert ours.embedded_postgres is None
    assert ask(theirs, "SELECT 1") == [(1,)]


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


def test_a_socket_that_refuses_is_not_ready(folder: Path) -> None:
    from stack.valkey import _answers

    path = folder / "silent.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))

        assert not _answers(path)
