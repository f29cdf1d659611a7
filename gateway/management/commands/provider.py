"""``manage provider list|create|set|key``: who runs models, and organizations' own keys there."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import Prefetch

from accounts.commands import ACTOR, VerbCommand
from gateway.deployments import change_provider
from gateway.management.circuits import read_circuits
from gateway.management.provider_keys import add_key_verbs, do_key
from gateway.models import Deployment, Provider
from gateway.offers import create_provider
from kernel.cli import parse_count, parse_whole, print_row, print_rows
from kernel.errors import BadRequestError

# as operators name them; the columns end with _timeout_s
TIMES = (
    ("connect", "to be connected"),
    ("read", "from the request to an answer's head"),
    ("first_token", "from the request to a stream's first token"),
    ("stall", "between two tokens"),
    ("total", "for all of an answer"),
)
LONGEST_S = 86_400


class Command(VerbCommand):
    help = "List, create and change providers."

    def add_verbs(self, verbs: Any) -> None:
        self.add_verb(verbs, "list", "List providers, what they serve, and how they stand.")
        create = self.add_verb(verbs, "create", "Add a provider.")
        create.add_argument("--name", required=True, metavar="N")
        create.add_argument("--kind", required=True, choices=[str(k) for k in Provider.Kind.values])
        create.add_argument("--base-url", default="", metavar="URL")
        create.add_argument(
            "--api-key-env",
            metavar="VAR",
            help="environment variable of this command that holds the provider's key",
        )

        change = self.add_verb(verbs, "set", "Show a provider, or change how it is called.")
        change.add_argument("name")
        change.add_argument("--concurrency", metavar="N", help="calls at once a process, or none")
        change.add_argument(
            "--anthropic-version",
            choices=[str(version) for version in Provider.AnthropicVersion.values],
            help="of the dialect it is asked in; the later one draws tokens as it likes",
        )
        for name, what in TIMES:
            flag = name.replace("_", "-")
            change.add_argument(f"--{flag}-timeout", metavar="SECONDS", help=what)
        end = change.add_mutually_exclusive_group()
        end.add_argument("--active", action="store_const", const=True, help="take calls again")
        end.add_argument(
            "--inactive", dest="active", action="store_const", const=False, help="take no new calls"
        )
        key = verbs.add_parser("key", help="Organizations' own keys at providers.")
        add_key_verbs(key)

    def do_list(self, options: dict[str, Any]) -> None:
        routes = Deployment.objects.order_by("public_model__name", "priority", "pk")
        providers = Provider.objects.order_by("pk").prefetch_related(
            Prefetch("deployments", routes.select_related("public_model"))
        )
        circuits = read_circuits(
            (provider.name, deployment.upstream_model)
            for provider in providers
            for deployment in provider.deployments.all()
        )
        rows = [
            {**_row(provider), "concurrency": provider.concurrency, **route}
            for provider in providers
            for route in _routes(provider, circuits)
        ]
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

    def do_set(self, options: dict[str, Any]) -> None:
        changes: dict[str, int | str | None] = {
            f"{name}_timeout_s": parse_whole(text, 1, LONGEST_S)
            for name, _ in TIMES
            if (text := options[f"{name}_timeout"]) is not None
        }
        if (places := options["concurrency"]) is not None:
            changes["concurrency"] = None if places == "none" else parse_count(places)
        for name in ("anthropic_version", "active"):
            if options[name] is not None:
                changes[name] = options[name]
        provider = change_provider(options["name"], changes, actor=ACTOR)
        times = {f"{name}_timeout_s": getattr(provider, f"{name}_timeout_s") for name, _ in TIMES}
        row = {**_row(provider), "concurrency": provider.concurrency, **times}
        if provider.kind == Provider.Kind.ANTHROPIC:
            row["anthropic_version"] = provider.anthropic_version
        print_row(row, as_json=options["json"])

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


def _routes(
    provider: Provider, circuits: Mapping[tuple[str, str], str]
) -> Sequence[dict[str, Any]]:
    """Return what a provider serves, a row each; one row of nothing where it serves nothing."""
    deployments = provider.deployments.all()
    if not deployments:
        return [dict.fromkeys(("model", "upstream_model", "priority", "weight", "circuit"))]
    return [
        {
            "model": deployment.public_model.name,
            "upstream_model": deployment.upstream_model,
            "priority": deployment.priority,
            "weight": deployment.weight,
            "circuit": _standing(deployment, circuits[provider.name, deployment.upstream_model]),
        }
        for deployment in deployments
    ]


def _standing(deployment: Deployment, circuit: str) -> str:
    return circuit if deployment.active else "inactive"
