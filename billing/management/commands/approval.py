"""``manage approval list|approve|reject``: what waits for a second person."""

from typing import Any

from accounts.commands import VerbCommand
from billing.models import Approval
from billing.payments.approvals import access_operator, approve, reject
from kernel.cli import print_row, print_rows

MOST_LISTED = 1000


class Command(VerbCommand):
    help = "List what waits for a second person; approve or reject it."

    def add_verbs(self, verbs: Any) -> None:
        listing = self.add_verb(verbs, "list", "List what waits, newest first.")
        listing.add_argument("--all", action="store_true", help="also what was decided")
        for name, summary in (("approve", "Do what was asked for."), ("reject", "End it.")):
            verb = self.add_verb(verbs, name, summary)
            verb.add_argument("id")
            verb.add_argument("--as", required=True, metavar="EMAIL", help="who decides")
            if name == "reject":
                verb.add_argument("--reason", required=True)

    def do_list(self, options: dict[str, Any]) -> None:
        approvals = Approval.objects.select_related("org").order_by("-id")
        if not options["all"]:
            approvals = approvals.filter(state=Approval.State.PENDING)
        rows = [render_approval(approval) for approval in approvals[:MOST_LISTED]]
        print_rows(rows, as_json=options["json"])

    def do_approve(self, options: dict[str, Any]) -> None:
        approval = approve(options["id"], approver=access_operator(options["as"]))
        print_row(render_approval(approval), as_json=options["json"])

    def do_reject(self, options: dict[str, Any]) -> None:
        approver = access_operator(options["as"])
        approval = reject(options["id"], approver=approver, reason=options["reason"])
        print_row(render_approval(approval), as_json=options["json"])


def render_approval(approval: Approval) -> dict[str, Any]:
    return {
        "approval": approval.public_id,
        "kind": approval.kind,
        "summary": approval.summary,
        "state": approval.state,
        "requested_by": approval.requested_by,
        "expires_at": approval.expires_at,
        "decided_by": approval.decided_by or None,
        "reason": approval.reason or None,
    }
