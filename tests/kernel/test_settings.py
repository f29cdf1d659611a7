"""An odd setting stops the start with one clear line, whatever command was started."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.conf import settings

ROOT = Path(__file__).resolve().parents[2]
GOOD = {
    "PATH": os.environ["PATH"],
    "DATA_DIR": "/nonexistent",
    "SECRET_KEY": "x",
    "KEY_PEPPERS": "1:" + "0" * 64,
    "DATABASE_URL": "postgresql://nobody@/none?host=/nonexistent",
    "REDIS_URL": "redis://127.0.0.1:1/0",
}
NOT_SET = "is not set; start the stack with ./tollgate up or see .env.example."
ODD = [
    ("API_PORT", "0", "='0' must be a whole number from 1 to 65535."),
    ("API_PORT", "80a", "='80a' must be a whole number from 1 to 65535."),
    ("WEB_PORT", "８０", "='８０' must be a whole number from 1 to 65535."),
    ("API_WORKERS", "1_0", "='1_0' must be a whole number from 1 to 64."),
    ("MAX_BODY_BYTES", "9" * 80, f"={'9' * 60!r} must be a whole number from 1024 to 1073741824."),
    ("HOLD_WAIT_MS", "-1", "='-1' must be a whole number from 50 to 10000."),
    ("DEFAULT_TPM", "1e6", "='1e6' must be a whole number from 1 to 1000000000000."),
    ("FAIL", "before_final:kill9", "='before_final:kill9' is for tests and needs DEBUG=1."),
    (
        "TOPUP_MIN_USD",
        "1e3",
        "='1e3' must be dollars with at most nine decimals, for example 12.50.",
    ),
    (
        "TRIAL_GRANT_USD",
        "-1",
        "='-1' must be dollars with at most nine decimals, for example 12.50.",
    ),
    (
        "WEBHOOK_NETWORKS",
        "10.0.0.1/8",
        "='10.0.0.1/8' must be networks such as 10.0.0.0/8,fd00::/8.",
    ),
    (
        "MEDIA_NAME_SERVERS",
        "dns.example",
        "='dns.example' must be addresses such as 9.9.9.9:53,[2620:fe::fe].",
    ),
    ("MEDIA_LOOKUP", "all", "='all' must be one of redirects, names, none."),
    ("DRIFT_ALARM_PERCENT", "25%", "='25%' must be a whole number from 1 to 10000."),
    ("DEBUG", "maybe", "='maybe' must be 1 or 0."),
    ("SERVE", "everything", "='everything' must be one of api, web, all."),
    ("LOG_LEVEL", "info", "='info' must be one of DEBUG, INFO, WARNING, ERROR."),
    ("SECRET_KEY", " ", f" {NOT_SET}"),
    ("DATABASE_URL", "", f" {NOT_SET}"),
    ("DATABASE_URL", "mysql://x", "='mysql://x' must start with postgresql:// or postgres://."),
    ("REDIS_URL", "localhost", "='localhost' must start with redis:// or rediss:// or unix://."),
    ("PUBLIC_WEB_URL", "acme.test", "='acme.test' must start with http:// or https://."),
    ("KEY_PEPPERS", "", f" {NOT_SET}"),
    ("KEY_PEPPERS", "1:short", " must look like 1:<64 hex digits>."),
    ("KEY_PEPPERS", "1:" + "0" * 64 + ",2:", " must look like 1:<64 hex digits>."),
]


def load_settings(**odd: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-S", "-c", "import config.settings; print('loaded')"]
    env = {**GOOD, "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}", **odd}
    return subprocess.run(command, env=env, check=False, capture_output=True, text=True)


def test_an_odd_value_stops_the_start_with_one_line_and_exit_code_1() -> None:
    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(lambda odd: load_settings(**{odd[0]: odd[1]}), ODD))

    for (name, _, line), process in zip(ODD, ended, strict=True):
        assert process.stderr == f"tollgate: {name}{line}\n"
        assert (process.returncode, process.stdout) == (1, "")


@pytest.mark.parametrize("odd", ["smtp://", "mail.example.com", "smtp://a:secret@x:port"])
def test_an_odd_mail_server_stops_the_start_and_its_password_is_not_shown(odd: str) -> None:
    process = load_settings(EMAIL_URL=odd)

    line = "EMAIL_URL must look like smtp://user:password@host:587, smtps://… or console:."
    assert (process.returncode, process.stderr) == (1, f"tollgate: {line}\n")


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("console:", "console '' 25 '' '' False False"),
        ("smtp://mail.example.com", "smtp 'mail.example.com' 25 '' '' False False"),
        (
            "smtp://a%40b:p%2Fw@mail.example.com",
            "smtp 'mail.example.com' 587 'a@b' 'p/w' False True",
        ),
        ("smtps://a:pw@mail.example.com", "smtp 'mail.example.com' 465 'a' 'pw' True False"),
        ("smtps://a:pw@mail.example.com:2465", "smtp 'mail.example.com' 2465 'a' 'pw' True False"),
    ],
)
def test_a_mail_server_is_one_address(url: str, server: str) -> None:
    names = ["HOST", "PORT", "HOST_USER", "HOST_PASSWORD", "USE_SSL", "USE_TLS"]
    shown = ", ".join(f"repr(s.EMAIL_{name})" for name in names)
    print_it = f"import config.settings as s; print(s.EMAIL_BACKEND.split('.')[4], {shown})"

    process = subprocess.run(
        [sys.executable, "-S", "-c", print_it],
        env={**GOOD, "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}", "EMAIL_URL": url},
        check=False,
        capture_output=True,
        text=True,
    )

    assert (process.stdout, process.stderr) == (f"{server}\n", "")


def test_good_settings_load_and_empty_ones_take_their_defaults() -> None:
    process = load_settings(API_PORT="", DEBUG=" ", ALLOWED_HOSTS=" , ", LOG_LEVEL="")

    assert (process.returncode, process.stdout, process.stderr) == (0, "loaded\n", "")


def test_a_quiet_stream_shows_life_every_15_seconds_unless_set_otherwise() -> None:
    assert settings.KEEP_ALIVE_S == 15


def test_failpoints_are_armed_with_debug_only_and_in_one_form() -> None:
    armed = load_settings(FAIL="before_final:kill9,journal_write:sleep=5", DEBUG="1")
    odd = load_settings(FAIL="before_final", DEBUG="1")

    assert (armed.returncode, armed.stdout) == (0, "loaded\n")
    assert odd.returncode == 1
    assert odd.stderr == (
        "tollgate: FAIL='before_final' must look like name:kill9, name:raise or "
        "name:sleep=<milliseconds>.\n"
    )


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET"),
        ("STRIPE_WEBHOOK_SECRET", "STRIPE_SECRET_KEY"),
    ],
)
def test_half_of_the_payment_secrets_stops_the_start(given: str, missing: str) -> None:
    process = load_settings(**{given: "a-secret", missing: " "})

    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr == (
        f"tollgate: {missing} is empty; set STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET "
        "together, or none of them.\n"
    )


def test_the_payment_provider_is_called_in_the_clear_with_debug_only() -> None:
    refused = load_settings(STRIPE_API_URL="http://127.0.0.1:1")
    debugged = load_settings(STRIPE_API_URL="http://127.0.0.1:1", DEBUG="1")

    assert refused.stderr.endswith("='http://127.0.0.1:1' must start with https://.\n")
    assert (refused.returncode, debugged.returncode) == (1, 0)


def test_a_pepper_is_never_shown_not_even_a_wrong_one() -> None:
    wrong = "1:" + "a1" * 31 + "zz"

    process = load_settings(KEY_PEPPERS=wrong)

    assert process.returncode == 1
    assert "a1a1" not in process.stderr


@pytest.mark.parametrize("command", ["check", "prove"])
def test_a_management_command_ends_with_the_same_line_and_no_traceback(command: str) -> None:
    process = subprocess.run(
        [sys.executable, "manage.py", command],
        cwd=ROOT,
        env={**GOOD, "API_PORT": "zero"},
        check=False,
        capture_output=True,
        text=True,
    )

    line = "tollgate: API_PORT='zero' must be a whole number from 1 to 65535.\n"
    assert (process.returncode, process.stdout, process.stderr) == (1, "", line)
