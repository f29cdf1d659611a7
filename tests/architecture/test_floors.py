"""Who may import whom: the contracts of pyproject.toml, and what they cannot say."""

import ast
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from tests.architecture.tree import PACKAGES, ROOT, name_of, parse, sources


def test_the_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]

    said = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)

    assert said.returncode == 0, said.stdout[-3000:]


def test_no_app_reaches_for_anothers_models_by_name() -> None:
    found = [
        f"{name_of(path)}:{node.lineno}"
        for path in sources(*PACKAGES)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Attribute) and node.attr == "get_model"
    ]

    assert found == []


def test_nobody_listens_to_signals_of_our_own() -> None:
    found = [
        f"{name_of(path)}:{node.lineno}"
        for path in sources(*PACKAGES)
        for node in ast.walk(parse(path))
        if (isinstance(node, ast.ImportFrom) and node.module == "django.dispatch")
        or (isinstance(node, ast.ImportFrom) and node.module == "django.db.models.signals")
    ]

    assert found == []


def test_no_model_has_logic_in_save_or_delete() -> None:
    found = [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in sources("accounts", "billing", "gateway")
        if path.name == "models.py" or path.parent.name == "models"
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef) and node.name in {"save", "delete"}
    ]

    assert found == []


def test_pages_of_other_apps_fetch_tenant_rows_through_access_only() -> None:
    tenant_models = {"ApiKey", "Project", "Organization", "Member"}

    found = [
        f"{name_of(path)}:{node.lineno}"
        for path in sources("billing", "gateway")
        if path.name == "pages.py"
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Attribute)
        and node.attr == "objects"
        and isinstance(node.value, ast.Name)
        and node.value.id in tenant_models
    ]

    assert found == []


@pytest.mark.parametrize("app", ["accounts", "billing", "gateway"])
def test_the_migrations_of_each_app_are_in_sync(database: str, app: str) -> None:
    out = StringIO()

    call_command("makemigrations", app, check=True, dry_run=True, stdout=out)

    assert out.getvalue() == f"No changes detected in app '{app}'\n"
