"""Each wall is taken away once, in a copy of the tree: its own test must turn red.

A mutation changes one place of the source; where that is SQL, the changed file is installed in a
copy of the template database too. A mutation whose place is not found any more fails loudly.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from tests.conftest import ROOT, TEMPLATE, database_url

WALLS = "tests/faults/test_walls.py"
HOLDS = "tests/billing/test_holds.py"
WRITER = "tests/billing/test_writer.py"
JOURNAL = "tests/billing/test_journal.py"
COPIED = ("accounts", "billing", "gateway", "platform", "templates", "tests")


@dataclass(frozen=True)
class Mutation:
    """``schema`` is run in the template's copy, where the wall is no line of a file of ours."""

    name: str
    red: str
    file: str = ""
    old: str = ""
    new: str = ""
    schema: str = ""


MUTATIONS = [
    Mutation(
        "lock_order",
        f"{WALLS}::test_a_tick_locks_accounts_in_the_order_of_their_ids",
        "billing/sql/holds.sql",
        ") order by org_id for update;",
        ") order by org_id desc for update;",
    ),
    Mutation(
        "unique_key_of_a_hold",
        f"{WALLS}::test_the_database_itself_refuses_a_second_hold_or_charge",
        schema="drop index hold_once_per_idem_key",
    ),
    Mutation(
        "unique_key_of_a_charge",
        f"{WALLS}::test_the_database_itself_refuses_a_second_hold_or_charge",
        schema="alter table billing_usageid drop constraint billing_usageid_pkey cascade",
    ),
    Mutation(
        "row_count_of_a_settlement",
        f"{HOLDS}::test_settling_twice_is_settling_once",
        "billing/sql/closing.sql",
        "where h.ctid = w.place and h.state is not distinct from 'held'",
        "where h.ctid = w.place",
    ),
    Mutation(
        "row_count_of_the_writer",
        f"{WRITER}::test_a_settlement_without_a_hold_goes_to_quarantine",
        "billing/tick.py",
        'state not in {"settled", "already settled"}',
        'state not in {"settled", "already settled", "missing"}',
    ),
    Mutation(
        "crc",
        f"{JOURNAL}::test_a_flipped_bit_makes_its_record_disappear",
        "billing/journal.py",
        'head == b"%08x" % zlib.crc32(body)',
        'head != b""',
    ),
    Mutation(
        "final_before_last_frame",
        f"{WALLS}::test_when_the_last_bytes_leave_the_whole_charge_is_in_the_journal",
        "gateway/relay.py",
        "        self._sale.complete(outcome)\n        await self._call.finish(last)\n",
        "        await self._call.finish(last)\n        self._sale.complete(outcome)\n",
    ),
    Mutation(
        "final_before_the_body",
        f"{WALLS}::test_when_the_last_bytes_leave_the_whole_charge_is_in_the_journal",
        "gateway/relay.py",
        "        self._sale.complete(Outcome.COMPLETED)\n        await self._call.answer(body)\n",
        "        await self._call.answer(body)\n        self._sale.complete(Outcome.COMPLETED)\n",
    ),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("tree")
    for folder in COPIED:
        shutil.copytree(
            ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "browser")
        )
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


@contextmanager
def changed(tree: Path, mutation: Mutation) -> Iterator[str]:
    """Apply a mutation and yield the name of the template to test against; undo it afterwards."""
    statements = mutation.schema
    path = tree / mutation.file
    before = path.read_text(encoding="utf-8") if mutation.file else ""
    if mutation.file:
        assert before.count(mutation.old) == 1, f"{mutation.name}: its place is not there once"
        after = before.replace(mutation.old, mutation.new)
        path.write_text(after, encoding="utf-8")
        statements = after if path.suffix == ".sql" else ""
    with copied_template(statements) as template:
        yield template
    if mutation.file:
        path.write_text(before, encoding="utf-8")


@contextmanager
def copied_template(statements: str) -> Iterator[str]:
    """Yield the name of a template in which ``statements`` have been run."""
    if not statements:
        yield TEMPLATE
        return
    name = f"mutated_{uuid4().hex}"
    with psycopg.connect(database_url("postgres"), autocommit=True) as maintenance:
        maintenance.execute(f"create database {name} template {TEMPLATE}")
        with psycopg.connect(database_url(name), autocommit=True) as connection:
            connection.execute("set check_function_bodies = off")
            connection.execute(statements.encode())
        yield name
        maintenance.execute(f"drop database {name} with (force)")


def run_in(tree: Path, template: str, *tests: str) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "PYTHONPATH": f"{tree}:{tree / 'platform'}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TEST_TEMPLATE": template,
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", *tests]
    return subprocess.run(
        command, cwd=tree, env=env, check=False, capture_output=True, text=True, timeout=120
    )


def test_in_an_unchanged_copy_every_wall_stands(tree: Path) -> None:
    ended = run_in(tree, TEMPLATE, *sorted({mutation.red for mutation in MUTATIONS}))

    assert ended.returncode == 0, ended.stdout[-3000:]
    assert not re.search(r"failed|skipped", ended.stdout)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_without_a_wall_its_test_turns_red(tree: Path, mutation: Mutation) -> None:
    with changed(tree, mutation) as template:
        ended = run_in(tree, template, mutation.red)

    assert ended.returncode == 1, ended.stdout[-3000:] + ended.stderr[-1000:]
    assert re.search(r"\d+ failed", ended.stdout), "red by its own assertion, not by an accident"
    assert " error" not in ended.stdout.splitlines()[-1]
