"""Usage in the past: through the platform's own statements, given another time."""

from datetime import datetime

import orjson

from billing.database import connect_sync
from billing.models import PriceVersion
from billing.pricing import Price
from kernel.ids import new_request_id
from tests.books import settlement
from tests.factories import Tenant, hold_request


def use_at(  # noqa: PLR0913 # a call has these parts
    database_url: str,
    tenant: Tenant,
    at: datetime,
    priced: tuple[PriceVersion, Price],
    *,
    input_tokens: int,
    output_tokens: int,
    settle: bool = True,
) -> str:
    """Hold and settle one call as if the database's clock showed ``at``; return its id."""
    version, price = priced
    request_id = new_request_id()
    closing = settlement(request_id, price, input_tokens=input_tokens, output_tokens=output_tokens)
    request = hold_request(tenant, version, max(1, closing.charge_nanos), request_id=request_id)
    with connect_sync(database_url, "past", statement_timeout_ms=10_000) as connection:
        # credit was there before the call
        connection.execute("update billing_creditgrant set effective_at = 'epoch'")
        answer = connection.execute(
            "select admit_holds(%s::jsonb, %s, 'past')::text",
            (orjson.dumps([request.as_row()]).decode(), at),
        ).fetchone()
        assert answer is not None
        assert orjson.loads(answer[0]) == [[request_id, None]]
        if settle:
            connection.execute(
                "select close_holds(%s::jsonb, %s)",
                (orjson.dumps([closing.as_row()]).decode(), at),
            )
    return request_id
