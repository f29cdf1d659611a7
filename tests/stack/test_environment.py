"""Generated secrets and the settings of a running stack."""

import os
import re
from pathlib import Path

import pytest

from stack.environment import (
    forget_environment,
    generate_secrets,
    load_environment,
    record_environment,
    secrets_of,
)
from stack.folder import DataFolder, open_data_folder

NAMES = ("SECRET_KEY", "KEY_PEPPERS", "DATABASE_URL", "REDIS_URL")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataFolder:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that monkeypatch restores what load_environment sets
    return open_data_folder(tmp_path / "data")


def test_secrets_are_made_once_and_only_their_owner_may_read_them(data: DataFolder) -> None:
    generate_secrets(data)
    first = secrets_of(data)
    generate_secrets(data)

    assert secrets_of(data) == first
    assert re.fullmatch(r"1:[0-9a-f]{64}", first["KEY_PEPPERS"])
    assert len(first["SECRET_KEY"]) == 64
    assert (data.root / "secrets.env").stat().st_mode & 0o777 == 0o600


def test_a_secrets_file_that_lost_a_line_gets_only_that_line_anew(data: DataFolder) -> None:
    generate_secrets(data)
    peppers = secrets_of(data)["KEY_PEPPERS"]
    (data.root / "secrets.env").write_text(f"KEY_PEPPERS={peppers}\n")

    generate_secrets(data)

    assert secrets_of(data)["KEY_PEPPERS"] == peppers
    assert len(secrets_of(data)["SECRET_KEY"]) == 64


def test_an_empty_setting_is_taken_from_the_files_and_a_given_one_wins(
    data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate_secrets(data)
    record_environment(
        data, {"DATABASE_URL": "postgresql://a@/b?host=/c", "REDIS_URL": "unix:///d"}
    )
    monkeypatch.setenv("REDIS_URL", "redis://given")

    load_environment()

    assert os.environ["DATABASE_URL"] == "postgresql://a@/b?host=/c"
    assert os.environ["REDIS_URL"] == "redis://given"
    assert os.environ["SECRET_KEY"] == secrets_of(data)["SECRET_KEY"]


def test_nothing_is_loaded_where_no_stack_ever_ran(data: DataFolder) -> None:
    forget_environment(data)

    load_environment()

    assert [os.environ[name] for name in NAMES] == ["", "", "", ""]
