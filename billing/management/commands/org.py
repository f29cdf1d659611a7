"""``manage org create|credit|limits|list``: tenants, their credit and rate limits."""

from typing import Any

from accounts.access import operator_org
from accounts.commands import ACTOR, VerbCommand, add_limit_flags, limits_of, read_limits
from accounts.models import Organization
from accounts.rate_limits import limit_org
from billing.grants import GrantSpec
from billing.management.acting import add_actor_flag, read_actor
from billing.models import Approval, BillingAccount, CreditGrant
from billing.organizations import OrganizationSpec, create_organization
from billing.payments.approvals import give_credit, needs_approval
from kernel.cli import print_row, print_rows
from kernel.ids import new_id
from kernel.money import parse_usd, render_usd


class Command(VerbCommand):
    help = "Create organizations, give them credit, limit their calls, list them."

    def add_verbs(self, verbs: Any) -> None:
        create = self.add_verb(verbs, "create", "Create an organization with a default project.")
        create.add_argument("name")
        create.add_argument("--credit", metavar="USD", help="credit to begin with")
        create.add_argument(
            "--mode", default="prepaid", choices=[str(mode) for mode in BillingAccount.Mode.values]
        )
        create.add_argument("--credit-limit", metavar="USD", default="0", help="postpaid, hybrid")
        create.add_argument("--timezone", metavar="Z", default="UTC")
        credit = self.add_verb(verbs, "credit", "Add credit to an organization.")
        credit.add_argument("id")
        credit.add_argument("amount", metavar="USD")
        credit.add_argument("--reason", required=True)
        add_actor_flag(credit)
        limits = self.add_verb(verbs, "limits", "Show or change an organization's rate limits.")
        limits.add_argument("id")
        add_limit_flags(limits)
        self.add_verb(verbs, "list", "List organizations with their balances.")

    def do_create(self, options: dict[str, Any]) -> None:
        credit = 0 if options["credit"] is None else parse_usd(options["credit"], minimum=0)
        waits = needs_approval(credit)
        org = create_organization(
            OrganizationSpec(
                name=options["name"],
                mode=options["mode"],
                timezone=options["timezone"],
                credit_limit_nanos=parse_usd(options["credit_limit"], minimum=0),
                credit_nanos=None if waits else credit,
            ),
            actor=ACTOR,
        )
        row = _row(org)
        if waits:
            spec = GrantSpec(credit, "opening credit", new_id("credit"))
            row |= render_given(give_credit(org, spec, actor=ACTOR))
        print_row(row, as_json=options["json"])

    def do_credit(self, options: dict[str, Any]) -> None:
        org = operator_org(options["id"])
        nanos = parse_usd(options["amount"], minimum=0)
        spec = GrantSpec(nanos, options["reason"], new_id("credit"))
        given = give_credit(org, spec, actor=read_actor(options))
        print_row({**_row(org), **render_given(given)}, as_json=options["json"])

    def do_limits(self, options: dict[str, Any]) -> None:
        org = limit_org(operator_org(options["id"]), read_limits(options), actor=ACTOR)
        row = {"id": org.public_id, "name": org.name, **limits_of(org)}
        print_row(row, as_json=options["json"])

    def do_list(self, options: dict[str, Any]) -> None:
        rows = [_row(org) for org in Organization.objects.order_by("id")]
        print_rows(rows, as_json=options["json"])


def render_given(given: CreditGrant | Approval) -> dict[str, Any]:
    """Return what credit by hand came to: its transaction, or who else is asked."""
    if isinstance(given, CreditGrant):
        return {"transaction": given.txn_id}
    return {"approval": given.public_id, "waits_for": "a second person: manage approval approve"}


def _row(org: Organization) -> dict[str, Any]:
    account = BillingAccount.objects.get(org=org)
    project = org.projects.order_by("id").first()
    return {
        "id": org.public_id,
        "name": org.name,
        "mode": account.mode,
        "timezone": org.timezone,
        "status": org.status,
        "credit_usd": render_usd(account.deferred_nanos + account.promotional_nanos),
        "reserved_usd": render_usd(account.held_nanos),
        "unbilled_usd": render_usd(account.unbilled_nanos),
        "credit_limit_usd": render_usd(account.credit_limit_nanos),
        "project": None if project is None else project.public_id,
    }
