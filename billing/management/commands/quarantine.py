"""``manage quarantine list|retry|dismiss``: settlements that could not be applied."""

from typing import Any

from django.conf import settings

from accounts.commands import ACTOR, VerbCommand
from billing.database import connect_sync
from billing.models import Quarantine
from billing.quarantine import dismiss_settlement, retry_settlement
from kernel.cli import print_row, print_rows


class Command(VerbCommand):
    help = "List settlements in quarantine, try one again, or write one off."

    def add_verbs(self, verbs: Any) -> None:
        self.add_verb(verbs, "list", "List what is in quarantine.")
        retry = self.add_verb(verbs, "retry", "Settle one again, after its cause is mended.")
        retry.add_argument("request_id")
        dismiss = self.add_verb(verbs, "dismiss", "Write one off as the platform's loss.")
        dismiss.add_argument("request_id")
        dismiss.add_argument("--reason", required=True)

    def do_list(self, options: dict[str, Any]) -> None:
        rows = Quarantine.objects.filter(resolved_at=None).order_by("id")
        print_rows([_row(row) for row in rows], as_json=options["json"])

    def do_retry(self, options: dict[str, Any]) -> None:
        with connect_sync(
            settings.DATABASE_URL, "tollgate-quarantine", statement_timeout_ms=10_000
        ) as connection:
            row = retry_settlement(connection, options["request_id"], actor=ACTOR)
        print_row(_row(row), as_json=options["json"])

    def do_dismiss(self, options: dict[str, Any]) -> None:
        row = dismiss_settlement(options["request_id"], reason=options["reason"], actor=ACTOR)
        print_row(_row(row), as_json=options["json"])


def _row(row: Quarantine) -> dict[str, Any]:
    return {
        "request_id": row.request_id,
        "reason": row.reason,
        "charge_nanos": row.record.get("charge"),
        "recorded_at": row.recorded_at,
        "resolved_at": row.resolved_at,
    }
