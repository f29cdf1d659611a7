"""``manage topup list|quarantine|dismiss|auto|auto-end``: credit that customers pay for."""

from typing import Any

from accounts.access import operator_org
from accounts.commands import ACTOR, VerbCommand
from billing.models import AutoTopUp, PaymentEvent, TopUp
from billing.payments.auto import AutoTopUpSpec, end_auto_top_up, set_auto_top_up
from billing.payments.top_ups import dismiss_top_up
from kernel.cli import parse_duration, print_row, print_rows
from kernel.errors import NotFoundError
from kernel.money import parse_usd, render_usd

MOST_LISTED = 1000


class Command(VerbCommand):
    help = "List top-ups, look after what is in quarantine, top up organizations by themselves."

    def add_verbs(self, verbs: Any) -> None:
        listing = self.add_verb(verbs, "list", "List an organization's top-ups, newest first.")
        listing.add_argument("--org", required=True, metavar="ID")
        self.add_verb(verbs, "quarantine", "List what was paid and granted nothing, newest first.")
        dismiss = self.add_verb(verbs, "dismiss", "Close a top-up in quarantine without credit.")
        dismiss.add_argument("id")
        dismiss.add_argument("--reason", required=True)
        auto = self.add_verb(verbs, "auto", "Top an organization up from its saved card.")
        auto.add_argument("org", metavar="ID")
        auto.add_argument("--threshold", required=True, metavar="USD", help="beneath this balance")
        auto.add_argument("--amount", required=True, metavar="USD")
        auto.add_argument("--monthly-cap", required=True, metavar="USD")
        auto.add_argument("--cool-down", default="1h", metavar="1h", help="between two")
        end = self.add_verb(verbs, "auto-end", "Top it up no more.")
        end.add_argument("org", metavar="ID")

    def do_list(self, options: dict[str, Any]) -> None:
        top_ups = TopUp.objects.filter(org=operator_org(options["org"])).order_by("-id")
        rows = [_row(top_up) for top_up in top_ups[:MOST_LISTED]]
        print_rows(rows, as_json=options["json"])

    def do_quarantine(self, options: dict[str, Any]) -> None:
        events = PaymentEvent.objects.filter(outcome=PaymentEvent.Outcome.QUARANTINED)
        ordered = events.select_related("top_up", "top_up__org").order_by("-received_at")
        rows = [_event_row(event) for event in ordered[:MOST_LISTED]]
        print_rows(rows, as_json=options["json"])

    def do_dismiss(self, options: dict[str, Any]) -> None:
        top_up = dismiss_top_up(options["id"], reason=options["reason"], actor=ACTOR)
        print_row(_row(top_up), as_json=options["json"])

    def do_auto(self, options: dict[str, Any]) -> None:
        spec = AutoTopUpSpec(
            parse_usd(options["threshold"], minimum=0),
            parse_usd(options["amount"], minimum=0),
            parse_usd(options["monthly_cap"], minimum=0),
            int(parse_duration(options["cool_down"]).total_seconds()),
        )
        auto = set_auto_top_up(operator_org(options["org"]), spec, actor=ACTOR)
        print_row(_auto_row(auto), as_json=options["json"])

    def do_auto_end(self, options: dict[str, Any]) -> None:
        auto = end_auto_top_up(operator_org(options["org"]), actor=ACTOR)
        if auto is None:
            raise NotFoundError("The organization has no auto top-up.", code="not_found")
        print_row(_auto_row(auto), as_json=options["json"])


def _row(top_up: TopUp) -> dict[str, Any]:
    return {
        "id": top_up.public_id,
        "org": top_up.org.public_id,
        "source": top_up.source,
        "state": top_up.state,
        "amount_usd": render_usd(top_up.amount_nanos, places=2),
        "returned_usd": render_usd(top_up.returned_nanos, places=2),
        "payment": top_up.payment_intent or None,
        "failure": top_up.failure or None,
        "created_at": top_up.created_at,
    }


def _event_row(event: PaymentEvent) -> dict[str, Any]:
    top_up = event.top_up
    return {
        "event": event.event_id,
        "kind": event.kind,
        "why": event.why,
        "topup": None if top_up is None else top_up.public_id,
        "org": None if top_up is None else top_up.org.public_id,
        "state": None if top_up is None else top_up.state,
        "payment": event.payment_intent or None,
        "received_at": event.received_at,
    }


def _auto_row(auto: AutoTopUp) -> dict[str, Any]:
    return {
        "org": auto.org.public_id,
        "active": auto.is_active,
        "threshold_usd": render_usd(auto.threshold_nanos, places=2),
        "amount_usd": render_usd(auto.amount_nanos, places=2),
        "monthly_cap_usd": render_usd(auto.monthly_cap_nanos, places=2),
        "cool_down_s": auto.cool_down_s,
        "failures": auto.failures,
    }
