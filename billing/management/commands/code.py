"""``manage code create|list|revoke|redeem``: codes that give credit."""

from typing import Any

from accounts.access import operator_org
from accounts.commands import ACTOR, VerbCommand
from billing.models import CreditGrant, RedeemCode
from billing.payments.codes import CodeSpec, create_code, redeem_code, revoke_code
from kernel.cli import parse_count, parse_duration, print_row, print_rows
from kernel.money import parse_usd, render_usd

MOST_LISTED = 1000


class Command(VerbCommand):
    help = "Make, list and revoke codes that give credit; redeem one for an organization."

    def add_verbs(self, verbs: Any) -> None:
        create = self.add_verb(verbs, "create", "Make a code; its text is printed once.")
        create.add_argument("amount", metavar="USD")
        create.add_argument("--reason", required=True)
        create.add_argument("--paid", action="store_true", help="sold, not given")
        create.add_argument("--models", metavar="a,b", help="pays for these models only")
        create.add_argument("--credit-lasts", metavar="30d", help="from its redemption")
        create.add_argument("--expires-in", metavar="30d", help="the code itself")
        create.add_argument("--redemptions", metavar="N", default="1", help="each by another org")
        self.add_verb(verbs, "list", "List codes, newest first.")
        revoke = self.add_verb(verbs, "revoke", "End what is left of a code.")
        revoke.add_argument("id")
        revoke.add_argument("--reason", required=True)
        redeem = self.add_verb(verbs, "redeem", "Redeem a code for an organization.")
        redeem.add_argument("org", metavar="ID")
        redeem.add_argument("code")

    def do_create(self, options: dict[str, Any]) -> None:
        models, lasts, ends = options["models"], options["credit_lasts"], options["expires_in"]
        spec = CodeSpec(
            parse_usd(options["amount"], minimum=0),
            options["reason"],
            kind=CreditGrant.Kind.PAID if options["paid"] else CreditGrant.Kind.PROMOTIONAL,
            allowed_models=None if models is None else [m.strip() for m in models.split(",")],
            grant_lasts=None if lasts is None else parse_duration(lasts),
            lasts=None if ends is None else parse_duration(ends),
            most_redemptions=parse_count(options["redemptions"]),
        )
        made = create_code(spec, actor=ACTOR)
        print_row({**_row(made.code), "code": made.text}, as_json=options["json"])

    def do_list(self, options: dict[str, Any]) -> None:
        codes = RedeemCode.objects.order_by("-id")[:MOST_LISTED]
        print_rows([_row(code) for code in codes], as_json=options["json"])

    def do_revoke(self, options: dict[str, Any]) -> None:
        code = revoke_code(options["id"], reason=options["reason"], actor=ACTOR)
        print_row(_row(code), as_json=options["json"])

    def do_redeem(self, options: dict[str, Any]) -> None:
        org = operator_org(options["org"])
        grant = redeem_code(org, options["code"], actor=ACTOR)
        row = {
            "org": org.public_id,
            "credit": grant.pk,
            "kind": grant.kind,
            "granted_usd": render_usd(grant.granted_nanos),
            "expires_at": grant.expires_at,
        }
        print_row(row, as_json=options["json"])


def _row(code: RedeemCode) -> dict[str, Any]:
    return {
        "id": code.public_id,
        "last_four": code.last_four,
        "kind": code.kind,
        "amount_usd": render_usd(code.amount_nanos),
        "models": code.allowed_models,
        "credit_lasts_s": code.grant_lasts_s,
        "expires_at": code.expires_at,
        "redeemed": f"{code.redemptions} of {code.most_redemptions}",
        "revoked_at": code.revoked_at,
        "reason": code.reason,
    }
