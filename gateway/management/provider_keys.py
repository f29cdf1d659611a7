"""``manage provider key set|remove|list``: organizations' own keys at providers."""

import os
import sys
from getpass import getpass
from typing import Any

from accounts.access import operator_org
from accounts.commands import ACTOR
from gateway.models import ProviderKey
from gateway.provider_keys import list_provider_keys, remove_provider_key, set_provider_key
from kernel.cli import print_row, print_rows
from kernel.errors import BadRequestError


def add_key_verbs(key: Any) -> None:
    """Add the verbs below ``provider key``. A key is never an argument: others see those."""
    verbs = key.add_subparsers(dest="key_verb", required=True, metavar="VERB")
    for name, summary in (
        ("set", "Set or replace it; read from standard input without --api-key-env."),
        ("remove", "Remove it: the platform's own key serves again."),
        ("list", "List which providers an organization has its own keys at."),
    ):
        verb = verbs.add_parser(name, help=summary, description=summary)
        verb.add_argument("--json", action="store_true", help="print JSON")
        verb.add_argument("--org", required=True, metavar="ID")
        if name != "list":
            verb.add_argument("--provider", required=True, metavar="NAME")
        if name == "set":
            verb.add_argument(
                "--api-key-env",
                metavar="VAR",
                help="environment variable of this command that holds the key",
            )


def do_key(options: dict[str, Any]) -> None:
    """Do what was asked and print what may be seen of it."""
    org, as_json = operator_org(options["org"]), options["json"]
    match options["key_verb"]:
        case "set":
            credential = _read_credential(options["api_key_env"])
            key = set_provider_key(org, options["provider"], credential, actor=ACTOR)
            print_row(_row(key), as_json=as_json)
        case "remove":
            remove_provider_key(org, options["provider"], actor=ACTOR)
            print_row({"provider": options["provider"], "removed": True}, as_json=as_json)
        case _:
            print_rows([_row(key) for key in list_provider_keys(org)], as_json=as_json)


def _read_credential(variable: str | None) -> str:
    if variable is not None:
        credential = os.environ.get(variable, "").strip()
        if not credential:
            raise BadRequestError(f"The environment variable {variable} is not set.")
        return credential
    if sys.stdin.isatty():
        return getpass("Key: ").strip()
    return sys.stdin.readline(8192).strip()


def _row(key: ProviderKey) -> dict[str, Any]:
    return {
        "provider": key.provider.name,
        "key": f"…{key.last_four}",
        "set_at": key.set_at.isoformat(),
    }
