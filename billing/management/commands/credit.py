"""``manage credit grant|list|void``: credit with a place in the burn order, a scope and a time."""

from typing import Any

from accounts.access import operator_org
from accounts.commands import ACTOR, VerbCommand
from billing.grants import GrantSpec, void_grant
from billing.management.acting import add_actor_flag, read_actor
from billing.management.commands.approval import render_approval
from billing.models import Approval, CreditGrant
from billing.payments.approvals import give_credit
from kernel import clock
from kernel.cli import parse_count, parse_duration, print_row, print_rows
from kernel.errors import NotFoundError
from kernel.ids import new_id
from kernel.money import parse_usd, render_usd


class Command(VerbCommand):
    help = "Grant credit, list grants in burn order, void what is free of one."

    def add_verbs(self, verbs: Any) -> None:
        grant = self.add_verb(verbs, "grant", "Grant credit to an organization.")
        grant.add_argument("org", metavar="ID")
        grant.add_argument("amount", metavar="USD")
        grant.add_argument("--reason", required=True)
        grant.add_argument("--promotional", action="store_true", help="given, not paid")
        grant.add_argument("--models", metavar="a,b", help="pays for these models only")
        grant.add_argument("--expires-in", metavar="30d")
        grant.add_argument("--priority", metavar="N", help="lower burns first; 100 without")
        grant.add_argument("--key", metavar="K", help="given twice under one key is given once")
        add_actor_flag(grant)
        listing = self.add_verb(verbs, "list", "List an organization's grants, open ones first.")
        listing.add_argument("--org", required=True, metavar="ID")
        void = self.add_verb(verbs, "void", "Take back what is free of a grant.")
        void.add_argument("org", metavar="ID")
        void.add_argument("grant", metavar="N")
        void.add_argument("--reason", required=True)

    def do_grant(self, options: dict[str, Any]) -> None:
        lasts = options["expires_in"]
        kind = CreditGrant.Kind.PROMOTIONAL if options["promotional"] else CreditGrant.Kind.PAID
        models = options["models"]
        spec = GrantSpec(
            parse_usd(options["amount"], minimum=0),
            options["reason"],
            options["key"] or new_id("credit"),
            kind=kind,
            priority=100 if options["priority"] is None else parse_count(options["priority"]),
            allowed_models=None if models is None else [m.strip() for m in models.split(",")],
            expires_at=None if lasts is None else clock.now() + parse_duration(lasts),
        )
        given = give_credit(operator_org(options["org"]), spec, actor=read_actor(options))
        row = render_approval(given) if isinstance(given, Approval) else _row(given)
        print_row(row, as_json=options["json"])

    def do_list(self, options: dict[str, Any]) -> None:
        grants = CreditGrant.objects.filter(org=operator_org(options["org"])).order_by(
            "-is_open", "priority", "id"
        )
        print_rows([_row(grant) for grant in grants], as_json=options["json"])

    def do_void(self, options: dict[str, Any]) -> None:
        text = options["grant"]
        if not (text.isascii() and text.isdigit()):
            raise NotFoundError(f"There is no credit {text!r}.", code="not_found")
        org = operator_org(options["org"])
        taken = void_grant(org, int(text), reason=options["reason"], actor=ACTOR)
        row = _row(CreditGrant.objects.get(pk=int(text)))
        print_row({**row, "taken_back_usd": render_usd(taken)}, as_json=options["json"])


def _row(grant: CreditGrant) -> dict[str, Any]:
    return {
        "id": grant.pk,
        "org": grant.org.public_id,
        "kind": grant.kind,
        "source": grant.source,
        "priority": grant.priority,
        "models": grant.allowed_models,
        "granted_usd": render_usd(grant.granted_nanos),
        "remaining_usd": render_usd(grant.remaining_nanos),
        "reserved_usd": render_usd(grant.held_nanos),
        "effective_at": grant.effective_at,
        "expires_at": grant.expires_at,
        "reason": grant.reason,
    }
