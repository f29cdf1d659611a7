"""Running ``manage.py`` as an operator does: a process of its own, on this test's database."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.core.management import ManagementUtility

from tests.conftest import Stores
from tests.servers import ROOT, environment


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert (self.code, self.err) == (0, ""), self
        return json.loads(self.out)


@dataclass(frozen=True)
class Manage:
    stores: Stores
    folder: Path

    def __call__(self, *arguments: str, **settings: str) -> Said:
        ended = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=environment(
                DATABASE_URL=self.stores.database_url,
                REDIS_URL=self.stores.redis_url,
                DATA_DIR=str(self.folder),
                SERVE="api",  # loads the least
                **settings,
            ),
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return Said(ended.returncode, ended.stdout, ended.stderr)

    def refused(self, *arguments: str) -> str:
        """Return the one line a refused command says: exit code 1, no output, no traceback."""
        return one_line(self(*arguments))


def one_line(said: Said) -> str:
    assert (said.code, said.out) == (1, ""), said
    assert said.err.count("\n") == 1, said.err
    return said.err.removeprefix("CommandError: ").rstrip("\n")


@dataclass(frozen=True)
class Here:
    """The same commands in this process, quicker; only those that use Django's database."""

    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Said:
        self.capture.readouterr()
        code = 0
        try:
            ManagementUtility(["manage.py", *arguments]).execute()
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = self.capture.readouterr()
        return Said(code, said.out, said.err)

    def refused(self, *arguments: str) -> str:
        return one_line(self(*arguments))


@pytest.fixture
def manage(stores: Stores, tmp_path: Path) -> Manage:
    return Manage(stores, tmp_path)


@pytest.fixture
def here(database: str, capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(capsys)
