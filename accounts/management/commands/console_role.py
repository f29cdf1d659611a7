"""``manage console_role``: give pages and reports a role of their own in PostgreSQL.

The data plane and its writer must not notice what people look at. So the role that
``CONSOLE_DATABASE_URL`` names may open a bounded number of connections, and no statement or idle
transaction of it lasts long. It inherits what the owner of the tables may do. Run it after
``migrate``; it may be run any number of times, and does nothing where no such address is set.
"""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from psycopg import connect, errors, sql

MOST_CONNECTIONS = 60
SETTINGS = {
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "30s",
    "jit": "off",
}


class Command(BaseCommand):
    help = "Make the role that pages and reports use, as CONSOLE_DATABASE_URL names it."

    def handle(self, *_: Any, **__: Any) -> None:
        console, owner = settings.CONSOLE_DATABASE, settings.DATABASES["default"]
        if console["USER"] == owner["USER"]:
            self.stdout.write("Pages and reports use the owner's role.")
            return
        try:
            make_console_role(
                settings.DATABASE_URL,
                str(console["USER"]),
                str(console["PASSWORD"]),
                most=MOST_CONNECTIONS,
            )
        except errors.InsufficientPrivilege as error:
            raise CommandError(
                f"{owner['USER']} may not make roles: let a superuser create {console['USER']} with"
                f" LOGIN, a CONNECTION LIMIT and the role {owner['USER']}, or leave"
                " CONSOLE_DATABASE_URL empty."
            ) from error
        self.stdout.write(f"Pages and reports use the role {console['USER']}.")


def make_console_role(database_url: str, name: str, password: str, *, most: int) -> None:
    """Make the role, or bring it up to date. ``database_url`` is that of the tables' owner."""
    role = sql.Identifier(name)
    options = sql.SQL("login inherit connection limit {}").format(most)
    if password:
        options += sql.SQL(" password {}").format(password)
    with connect(database_url, autocommit=True) as connection:
        found = connection.execute("select from pg_roles where rolname = %s", (name,)).fetchone()
        verb = sql.SQL("alter" if found is not None else "create")
        connection.execute(sql.SQL("{} role {} with {}").format(verb, role, options))
        connection.execute(
            sql.SQL("grant {} to {}").format(sql.Identifier(connection.info.user), role)
        )
        for setting, value in SETTINGS.items():
            connection.execute(
                sql.SQL("alter role {} set {} = {}").format(role, sql.Identifier(setting), value)
            )
