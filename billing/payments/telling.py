"""Telling of payments: events in the outbox, in the transaction that made them."""

from billing.models import OutboxEvent, TopUp

# Who did what the payment provider said.
ACTOR = "stripe"


def tell(top_up: TopUp, kind: str, more: dict[str, object]) -> None:
    told = {"topup": top_up.public_id, "amount_nanos": str(top_up.amount_nanos), **more}
    OutboxEvent.objects.create(org_id=top_up.org_id, kind=kind, payload=told)
