"""``manage console_role``: pages and reports get a role that can hold nobody up."""

from collections.abc import Iterator
from io import StringIO

import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from psycopg import sql

from accounts.management.commands.console_role import make_console_role
from kernel.ids import random_base62


@pytest.fixture
def role(database: str) -> Iterator[str]:
    """A name that no role has; whatever has it afterwards is dropped."""
    name = f"console_{random_base62(8).lower()}"
    yield name
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(name)))


def run() -> str:
    out = StringIO()
    call_command("console_role", stdout=out)
    return out.getvalue().strip()


def test_the_role_reads_and_writes_under_bounds_of_its_own(database: str, role: str) -> None:
    make_console_role(database, role, "", most=1)
    make_console_role(database, role, "", most=2)
    address = database.replace("//tollgate@", f"//{role}@")

    with psycopg.connect(address) as first, psycopg.connect(address):
        bounds = [
            (first.execute(f"show {name}".encode()).fetchone() or ("",))[0]
            for name in ("statement_timeout", "idle_in_transaction_session_timeout")
        ]
        first.execute("select count(*) from billing_usageevent")
        first.execute("update accounts_organization set name = name")
        with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            psycopg.connect(address)

    assert bounds == ["30s", "30s"]


def test_without_a_role_of_their_own_pages_use_the_owners(database: str) -> None:
    assert run() == "Pages and reports use the owner's role."


def test_the_command_makes_the_role_that_the_address_names(
    database: str, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "DATABASE_URL", database)
    console = {**settings.DATABASES["default"], "USER": role, "PASSWORD": "s3cret"}
    monkeypatch.setattr(settings, "CONSOLE_DATABASE", console)

    assert run() == f"Pages and reports use the role {role}."

    with psycopg.connect(database) as connection:
        found = connection.execute(
            "select rolconnlimit, rolcanlogin, rolpassword is not null from pg_authid"
            " where rolname = %s",
            (role,),
        ).fetchone()
    assert found == (60, True, True)


def test_an_owner_who_may_not_make_roles_is_told_what_to_do(
    database: str, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_console_role(database, role, "", most=5)
    monkeypatch.setattr(settings, "DATABASE_URL", database.replace("//tollgate@", f"//{role}@"))
    console = {**settings.DATABASES["default"], "USER": "another", "PASSWORD": ""}
    monkeypatch.setattr(settings, "CONSOLE_DATABASE", console)

    with pytest.raises(CommandError, match="let a superuser create another with LOGIN"):
        run()
