"""Embedded PostgreSQL and Valkey: what they keep and what they refuse."""

import os
import shutil
import socket
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from stack.errors import StackError
from stack.folder import DataFolder
from stack.services import start_services
from stack.valkey import _answers
from tests.stack.machine import Starter, ask, processes_on, redis_of


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

    assert str(died.value).startswith("postgres ended with exit code 1. The end of ")
    assert "incompatible" in str(died.value)
    assert processes_on(folder) == []


def test_a_given_url_is_used_and_its_server_left_alone(start: Starter, folder: Path) -> None:
    theirs = start(folder / "theirs")

    ours = start_services(folder / "ours", database_url=theirs.database_url, durable=False)
    ours.stop()

    assert ours.embedded_postgres is None
    assert ask(theirs, "SELECT 1") == [(1,)]


def test_a_socket_that_refuses_is_not_ready(folder: Path) -> None:
    path = folder / "silent.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))

        assert not _answers(path)


def test_sessions_that_were_busy_when_their_server_was_killed_do_not_prevent_a_restart(
    start: Starter, folder: Path
) -> None:
    services = start(folder)
    busy = psycopg.connect(services.database_url, autocommit=True)
    busy.pgconn.send_query(b"DO $$ BEGIN LOOP END LOOP; END $$")

    services.postgres.kill()
    services.restart_postgres()

    assert ask(services, "SELECT 1") == [(1,)]
    busy.close()


def test_a_big_log_is_rotated_at_the_next_start(start: Starter, folder: Path) -> None:
    log = folder / "logs" / "redis.log"
    log.parent.mkdir()
    log.touch()
    os.truncate(log, 10 * 1024 * 1024 + 1)

    start(folder)

    assert log.stat().st_size < 1024 * 1024
    assert log.with_name("redis.log.1").stat().st_size == 10 * 1024 * 1024 + 1
