"""The containers' commands stay true without a container engine: each role is started from them."""

import http.client
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack import roles
from stack.child import Child, Command, run_once
from tests.stack.machine import ROOT, free_port

compose: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
services: dict[str, dict[str, Any]] = compose["services"]
example = (ROOT / ".env.example").read_text()
documented = set(re.findall(r"^([A-Z][A-Z_]*)=", example, re.MULTILINE))


def settings_read() -> set[str]:
    source = (ROOT / "platform" / "config" / "settings.py").read_text()
    return set(re.findall(r'\benv\.[a-z]+\(\s*"([A-Z_]+)"', source))


def here(service: str, stores: Any, tmp_path: Path, port: int = 0) -> Command:
    """Return a service's command and environment, moved from its container to this machine."""
    moved = {"python": sys.executable, "0.0.0.0": "127.0.0.1", "8080": str(port), "8000": str(port)}
    of_a_shell = re.compile(r"\bpython(?= )")
    declared = services[service]["environment"]
    assert {"DATABASE_URL", "REDIS_URL", "SECRET_KEY", "KEY_PEPPERS"} <= declared.keys()
    return Command(
        name=service,
        argv=tuple(
            of_a_shell.sub(sys.executable, moved.get(word, word))
            for word in services[service]["command"]
        ),
        env={
            **{name: "" if "$" in value else value for name, value in declared.items()},
            "DATABASE_URL": stores.database_url,
            "REDIS_URL": stores.redis_url,
            "SECRET_KEY": "x" * 50,
            "KEY_PEPPERS": "1:" + "0" * 64,
            "PYTHONPATH": roles.PATHS,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATA_DIR": str(tmp_path),
            "PATH": os.environ["PATH"],
            "TMPDIR": str(tmp_path),
        },
        cwd=ROOT,
        log=tmp_path / f"{service}.log",
    )


def answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@pytest.mark.parametrize(("service", "path"), [("api", "/readyz"), ("web", "/healthz")])
def test_the_command_of_a_server_serves_and_its_health_check_agrees(
    service: str, path: str, stores: Any, tmp_path: Path
) -> None:
    port = free_port()
    command = here(service, stores, tmp_path, port)
    check = services[service]["healthcheck"]["test"]
    assert check[0] == "CMD"
    program = [sys.executable, *check[2:-1], re.sub(r":80\d0/", f":{port}/", check[-1])]
    assert subprocess.run(program, capture_output=True, check=False, timeout=20).returncode != 0

    run_once(here("demo", stores, tmp_path), timeout_s=60)
    child = Child(command, is_ready=lambda _: answers(port, path))
    try:
        child.start(30)
        healthy = subprocess.run(program, capture_output=True, check=False, timeout=20)
        assert healthy.returncode == 0, healthy.stderr
    finally:
        child.stop()


@pytest.mark.parametrize(
    ("service", "sign"), [("worker", " ready."), ("beat", "beat: Starting...")]
)
def test_the_command_of_a_celery_role_starts_it(
    service: str, sign: str, stores: Any, tmp_path: Path
) -> None:
    child = Child(here(service, stores, tmp_path), is_ready=lambda c: sign in c.written())

    try:
        child.start(30)
    finally:
        child.stop(timeout_s=3)  # beat may miss a signal that comes just as it starts


@pytest.mark.parametrize(
    ("service", "said"), [("migrate", "No migrations to apply."), ("demo", "hk-proj-")]
)
def test_the_command_of_a_preparation_says_what_it_did_and_ends(
    service: str, said: str, stores: Any, tmp_path: Path
) -> None:
    assert said in run_once(here(service, stores, tmp_path), timeout_s=60)


class NoListener:
    def fileno(self) -> int:
        return 99


@pytest.mark.parametrize("service", ["api", "web", "worker", "beat"])
def test_a_role_differs_from_the_stack_only_in_its_door(service: str, tmp_path: Path) -> None:
    env = {"SHUTDOWN_S": "120"}
    of_stack: dict[str, Callable[[], Child]] = {
        "api": lambda: roles.api(1, NoListener(), env, tmp_path),  # type: ignore[arg-type]
        "web": lambda: roles.web(NoListener(), env, tmp_path),  # type: ignore[arg-type]
        "worker": lambda: roles.worker(env, tmp_path),
        "beat": lambda: roles.beat(env, tmp_path),
    }
    door = {"--fd", "99", "--host", "-b", "0.0.0.0", "--port", "-p", "8080", "8000"}
    proxy = {"--proxy-headers", "--behind-proxy"}

    stack = of_stack[service]().command.argv[1:]
    container = services[service]["command"][1:]

    assert sorted({*stack} - door - proxy) == sorted({*container} - door - proxy)


def test_every_role_has_its_container_and_every_image_its_health_check() -> None:
    assert services.keys() == {
        *("migrate", "demo", "api", "web", "worker", "beat"),
        *("postgres", "redis", "proxy"),
    }
    assert {name for name, service in services.items() if "healthcheck" not in service} == {
        *("migrate", "demo"),  # end
        "beat",  # answers nobody
    }
    assert services["api"]["stop_grace_period"] == "130s"
    assert services["redis"]["command"][1:3] == ["--appendonly", "yes"]


def test_no_secret_stands_in_the_compose_file() -> None:
    text = (ROOT / "docker-compose.yml").read_text()

    for name in ("SECRET_KEY", "KEY_PEPPERS", "POSTGRES_PASSWORD"):
        assert f"{name}: ${{{name}:?" in text
        assert re.search(rf"^{name}=$", example, re.MULTILINE)


def test_every_setting_is_explained_and_nothing_else() -> None:
    of_stack = {"BIND", "API_PORT", "WEB_PORT", "API_WORKERS", "DATA_DIR", "SHUTDOWN_S"}
    in_compose = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))

    assert documented == settings_read() | of_stack | in_compose


def test_the_image_has_all_that_the_commands_need() -> None:
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    bases = [line.split()[1] for line in lines if line.startswith("FROM")]

    assert all(re.fullmatch(r"python:3\.1[123]-slim", base) for base in bases)
    assert any("--require-hashes" in line for line in lines if line.startswith("RUN"))
    env = " ".join(line for line in lines if line.startswith("ENV"))
    assert "PYTHONPATH=/app:/app/platform" in env
    assert "DATA_DIR=/data" in env
    assert "USER tollgate" in lines
    assert compose["x-app"]["volumes"] == ["data:/data"]
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {".git", ".env", ".data", ".venv"} <= set(ignored)
