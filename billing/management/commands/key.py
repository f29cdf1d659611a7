"""``manage key create|limits|revoke|rotate|list``: API keys. A key's text is printed once."""

from typing import Any

from django.db import transaction

from accounts.access import operator_key, operator_org, operator_project
from accounts.commands import ACTOR, VerbCommand, add_limit_flags, limits_of, read_limits
from accounts.keys import ROTATION_OVERLAP, KeySpec, mint_key, revoke_key, rotate_key
from accounts.models import ApiKey
from accounts.networks import parse_networks
from accounts.rate_limits import limit_key
from billing.budgets import create_budget, render_limit
from billing.locks import lock_accounts
from billing.models import Budget, PriceVersion
from kernel import clock
from kernel.cli import parse_duration, print_row, print_rows
from kernel.errors import BadRequestError
from kernel.money import parse_usd


class Command(VerbCommand):
    help = "Create, limit, revoke, rotate and list API keys."

    def add_verbs(self, verbs: Any) -> None:
        create = self.add_verb(verbs, "create", "Create a key; it is printed once.")
        create.add_argument("--org", required=True, metavar="ID")
        create.add_argument("--project", metavar="P", help="id, or a name (made when new)")
        create.add_argument("--name", default="", metavar="N")
        add_limit_flags(create)
        create.add_argument("--budget", metavar="USD")
        create.add_argument("--period", choices=[str(p) for p in Budget.Period.values])
        create.add_argument("--models", metavar="a,b", help="the only models it may call")
        create.add_argument(
            "--from", dest="networks", metavar="a,b", help="the only addresses it may be used from"
        )
        create.add_argument("--expires-in", metavar="2h")
        create.add_argument(
            "--kind", default="proj", choices=[str(kind) for kind in ApiKey.Kind.values]
        )
        revoke = self.add_verb(verbs, "revoke", "Stop a key for good.")
        revoke.add_argument("key", help="its 12-character id, or the key itself")
        rotate = self.add_verb(verbs, "rotate", "Give a key a new secret; the old one overlaps.")
        rotate.add_argument("key", help="its 12-character id, or the key itself")
        rotate.add_argument("--overlap", metavar="24h")
        limits = self.add_verb(verbs, "limits", "Show or change a key's rate limits.")
        limits.add_argument("key", help="its 12-character id, or the key itself")
        add_limit_flags(limits)
        listing = self.add_verb(verbs, "list", "List keys.")
        listing.add_argument("--org", metavar="ID")

    def do_create(self, options: dict[str, Any]) -> None:
        org = operator_org(options["org"])
        spec = _spec(options)
        if (options["budget"] is None) != (options["period"] is None):
            raise BadRequestError("Give --budget and --period together.")
        limit_nanos = None if options["budget"] is None else parse_usd(options["budget"], minimum=0)
        with transaction.atomic():
            lock_accounts([org.pk])
            project = operator_project(org, options["project"])
            minted = mint_key(project, spec, actor=ACTOR)
            if limit_nanos is not None:
                create_budget(
                    org=org,
                    key=minted.key,
                    limit_nanos=limit_nanos,
                    period=options["period"],
                    actor=ACTOR,
                )
        print_row({**_row(minted.key), "key": minted.text}, as_json=options["json"])

    def do_revoke(self, options: dict[str, Any]) -> None:
        key = revoke_key(operator_key(options["key"]), actor=ACTOR)
        print_row(_row(key), as_json=options["json"])

    def do_rotate(self, options: dict[str, Any]) -> None:
        overlap = parse_duration(options["overlap"]) if options["overlap"] else ROTATION_OVERLAP
        minted = rotate_key(operator_key(options["key"]), actor=ACTOR, overlap=overlap)
        row = {**_row(minted.key), "key": minted.text, "old_until": minted.key.previous_until}
        print_row(row, as_json=options["json"])

    def do_limits(self, options: dict[str, Any]) -> None:
        key = limit_key(operator_key(options["key"]), read_limits(options), actor=ACTOR)
        print_row(_row(key), as_json=options["json"])

    def do_list(self, options: dict[str, Any]) -> None:
        keys = ApiKey.objects.select_related("org", "project").order_by("id")
        if options["org"]:
            keys = keys.filter(org=operator_org(options["org"]))
        print_rows([_row(key) for key in keys], as_json=options["json"])


def _spec(options: dict[str, Any]) -> KeySpec:
    allowed = None
    if options["models"] is not None:
        allowed = _known_models(options["models"])
    networks, expires_in = options["networks"], options["expires_in"]
    return KeySpec(
        kind=options["kind"],
        name=options["name"],
        allowed_models=allowed,
        allowed_networks=None if networks is None else _named_networks(networks),
        expires_at=None if expires_in is None else clock.now() + parse_duration(expires_in),
        **read_limits(options),
    )


def _named_networks(text: str) -> list[str]:
    networks = parse_networks(text)
    if not networks:
        raise BadRequestError("--from names no address.")
    return networks


def _known_models(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    priced = set(PriceVersion.objects.filter(model__in=names).values_list("model", flat=True))
    unknown = [name for name in names if name not in priced]
    if not names or unknown:
        raise BadRequestError(f"No such model: {', '.join(unknown) or '(none named)'}.")
    return names


def _row(key: ApiKey) -> dict[str, Any]:
    budget = Budget.objects.filter(key=key, active=True).first()
    expired = key.expires_at is not None and key.expires_at <= clock.now()
    status = "revoked" if key.revoked_at else "expired" if expired else "active"
    return {
        "id": key.public_id,
        "masked": key.masked,
        "name": key.name,
        "kind": key.kind,
        "org": key.org.public_id,
        "project": key.project.public_id,
        "status": status,
        "models": key.allowed_models,
        "networks": key.allowed_networks,
        **limits_of(key),
        "budget": None if budget is None else render_limit(budget),
        "period": None if budget is None else budget.period,
        "expires_at": key.expires_at,
    }
