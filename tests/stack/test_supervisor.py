"""``up`` on a toy Tollgate: refusals, healing, and the ways to stop."""

import http.client
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.stack.machine import free_port, processes_on, until
from tests.stack.toy import Stack, gone, make_toy, stack_environment, start_stack

pytestmark = pytest.mark.xdist_group("stack")
Up = Callable[..., Stack]


@pytest.fixture
def up(folder: Path) -> Iterator[Up]:
    make_toy(folder / "toy")
    env = stack_environment(folder / "toy", folder / "data")
    started: list[Stack] = []

    def start(**settings: object) -> Stack:
        started.append(start_stack({**env, **{name: str(v) for name, v in settings.items()}}))
        return started[-1]

    yield start
    for stack in started:
        stack.up.kill()
        stack.wait_end()
    until(lambda: processes_on(folder) == [])


def get(port: int, path: str = "/") -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_busy_port_is_named_in_one_line_before_anything_starts(up: Up) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        stack = up(WEB_PORT=port)

        assert stack.wait_end() == 1
    assert stack.said == (
        f"tollgate: WEB_PORT: port {port} on 127.0.0.1 is in use: stop what uses it, "
        "or set WEB_PORT to another port.\n"
    )
    assert not stack.data.exists()


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("API_PORT", "eighty", "API_PORT='eighty' must be a whole number from 1 to 65535."),
        ("API_PORT", "99999", "API_PORT='99999' must be a whole number from 1 to 65535."),
        ("API_WORKERS", "0", "API_WORKERS='0' must be a whole number from 1 to 64."),
        ("DATA_DIR", "/proc/x", "/proc/x cannot be made (No such file or directory): "),
        ("BIND", "no.such.host.invalid", "API_PORT: cannot listen on no.such.host.invalid port "),
    ],
)
def test_an_odd_setting_is_named_in_one_line(up: Up, name: str, value: str, line: str) -> None:
    stack = up(**{name: value})

    assert stack.wait_end() == 1
    assert f"tollgate: {line}" in stack.said
    assert "Traceback" not in stack.said


def test_a_second_up_on_the_same_folder_is_refused_and_the_first_goes_on(up: Up) -> None:
    first = up().wait_up()

    second = up(API_PORT=free_port(), WEB_PORT=free_port())

    assert second.wait_end() == 1
    assert (
        f"tollgate: A stack already runs on {first.data} (process {first.up.pid}):" in second.said
    )
    assert get(first.api_port) == "end"


def test_a_child_that_dies_at_start_is_named_with_its_last_words_and_all_is_stopped(
    up: Up, folder: Path
) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "celery-is-broken").touch()

    stack = up()

    assert stack.wait_end() == 1
    assert "tollgate: beat ended with exit code 1. The end of " in stack.said
    assert stack.said.endswith("    celery is broken today\n")
    assert processes_on(folder) == []


def test_whatever_is_killed_is_started_again_and_callers_only_wait(up: Up) -> None:
    stack = up().wait_up()
    before = stack.children()
    assert before.keys() == {"api", "web", "worker", "beat", "redis", "postgres"}

    for child in before.values():
        child.kill()
        assert get(stack.api_port) == "end"
        assert get(stack.web_port) == "end"

    until(lambda: stack.children().keys() == before.keys(), 20)
    assert {child.pid for child in stack.children().values()}.isdisjoint(
        child.pid for child in before.values()
    )
    assert "worker was killed by SIGKILL; starting it again.\n" in stack.said


def test_a_child_that_does_not_stay_up_ends_the_stack(up: Up, folder: Path) -> None:
    stack = up().wait_up()
    (folder / "data" / "celery-is-broken").touch()

    stack.children()["beat"].kill()

    assert stack.wait_end(60) == 1
    assert "beat ended with exit code 1 once more after 5 restarts within 60 s, so" in stack.said
    assert processes_on(folder) == []


def test_a_stop_goes_from_the_doors_to_the_stores(up: Up) -> None:
    stack = up(API_WORKERS=2).wait_up()
    children = stack.children()
    started = time.monotonic()
    stack.up.terminate()

    order: list[str] = []
    while stack.up.poll() is None:
        order += [r for r, child in children.items() if r not in order and gone([child])]
        time.sleep(0.005)

    assert stack.wait_end() == 0
    assert order == ["api", "web", "worker", "beat", "redis", "postgres"]
    assert time.monotonic() - started < 10
    assert stack.said.endswith("Stopping …\n")
    assert not (stack.data / "run" / "env").exists()


def test_a_stop_waits_for_an_open_stream_and_refuses_new_connections(up: Up) -> None:
    stack = up().wait_up()
    with ThreadPoolExecutor() as threads:
        stream = threads.submit(get, stack.api_port, "/stream/4")
        time.sleep(0.5)
        stack.up.terminate()

        until(lambda: is_refused(stack.api_port))
        assert not stream.done()
        assert stream.result() == "begin end"
    assert stack.wait_end() == 0


def test_a_second_ctrl_c_does_not_wait_for_streams(up: Up) -> None:
    stack = up().wait_up()
    with ThreadPoolExecutor() as threads:
        stream = threads.submit(get, stack.api_port, "/stream/60")
        time.sleep(0.5)
        stack.up.send_signal(signal.SIGINT)
        time.sleep(1)
        assert stack.up.poll() is None
        started = time.monotonic()
        stack.up.send_signal(signal.SIGINT)

        assert stack.wait_end() == 0
        assert time.monotonic() - started < 15
        with pytest.raises((http.client.HTTPException, OSError)):
            stream.result()


def test_ctrl_c_in_the_middle_of_the_start_stops_what_runs(up: Up, folder: Path) -> None:
    stack = up(MIGRATE_S=60)
    stack.wait_said("Migrating")

    stack.up.send_signal(signal.SIGINT)

    assert stack.wait_end() == 0
    assert processes_on(folder) == []


def test_kill_9_of_the_supervisor_leaves_no_orphan_and_the_next_start_shows_the_same(
    up: Up,
) -> None:
    first = up(API_WORKERS=2).wait_up()
    family = first.family()
    assert len(family) > len(first.children())  # Celery's pool and PostgreSQL's own children

    first.up.kill()
    second = up().wait_up()

    assert gone(family)
    assert first.said == second.said
    assert "API key   hk-proj-toy\n" in second.said
    assert "Operator  operator@toy · pass\n" in second.said
    assert (second.data / "demo.json").stat().st_mode & 0o777 == 0o600


def test_api_processes_share_one_port(up: Up) -> None:
    stack = up(API_WORKERS=3).wait_up()

    api = [p for p in psutil.Process(stack.up.pid).children() if "config.server" in p.cmdline()]

    assert len(api) == 3
    api[0].kill()
    assert [get(stack.api_port) for _ in range(20)] == ["end"] * 20
