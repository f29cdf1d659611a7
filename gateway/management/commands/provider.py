"""``manage provider list|create|key``: who runs models, and organizations' own keys there."""

import os
from typing import Any

from accounts.commands import ACTOR, VerbCommand
from gateway.management.provider_keys import add_key_verbs, do_key
from gateway.models import Provider
from gateway.offers import create_provider
from kernel.cli import print_row, print_rows
from kernel.errors import BadRequestError


class Command(VerbCommand):
    help = "List and create providers."

    def add_verbs(self, verbs: Any) -> None:
        self.add_verb(verbs, "list", "List providers.")
        create = self.add_verb(verbs, "create", "Add a provider.")
        create.add_argument("--name", required=True, metavar="N")
        create.add_argument("--kind", required=True, choices=[str(k) for k in Provider.Kind.values])
        create.add_argument("--base-url", default="", metavar="URL")
        create.add_argument(
            "--api-key-env",
            metavar="VAR",
            help="environment variable of this command that holds the provider's key",
        )

        key = verbs.add_parser("key", help="Organizations' own keys at providers.")
        add_key_verbs(key)

    def do_list(self, options: dict[str, Any]) -> None:
        rows = [_row(provider) for provider in Provider.objects.order_by("id")]
        print_rows(rows, as_json=options["json"])

    def do_create(self, options: dict[str, Any]) -> None:
        variable = options["api_key_env"]
        credential = None if variable is None else os.environ.get(variable, "").strip()
        if credential == "":
            raise BadRequestError(f"The environment variable {variable} is not set.")
        provider = create_provider(
            options["name"],
            kind=options["kind"],
            base_url=options["base_url"],
            credential=credential,
            actor=ACTOR,
        )
        print_row(_row(provider), as_json=options["json"])

    def do_key(self, options: dict[str, Any]) -> None:
        do_key(options)


def _row(provider: Provider) -> dict[str, Any]:
    return {
        "name": provider.name,
        "kind": provider.kind,
        "base_url": provider.base_url,
        "has_credential": provider.credential is not None,
        "active": provider.active,
    }
