"""A month of usage for pages to show: rows of past days with the ledger that belongs to them."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connection, transaction

from accounts.models import ApiKey, Organization
from billing.models import PriceVersion
from kernel import clock
from kernel.ids import new_request_id

MODELS = ("hacxgpt", "gpt-4o", "claude-sonnet-4-6", "gemini-2.5-pro")
OUTCOMES = ("completed",) * 40 + ("disconnected", "interrupted", "truncated", "budget_exhausted")


def seed_month(
    org: Organization, keys: Sequence[ApiKey], *, days: int = 30, calls_a_day: int = 40
) -> int:
    """Settle made-up calls over the last days, paid from credit; returns the nanos they cost."""
    chance = random.Random(org.pk)
    now = clock.now()
    total = 0
    with transaction.atomic():
        for back in range(days, 0, -1):
            end = now - timedelta(days=back - 1)
            busy = 1 if (end.weekday() < 5 or chance.random() < 0.2) else 4  # quiet week-ends
            for _ in range(max(1, calls_a_day // busy)):
                at = end - timedelta(seconds=chance.randrange(60, 80_000))
                key = chance.choice(keys)
                nanos = chance.randrange(200_000, 60_000_000)
                record_usage(key, chance.choice(MODELS), at, nanos, chance)
                total += nanos
    return total


def record_usage(key: ApiKey, model: str, at: datetime, nanos: int, chance: random.Random) -> str:
    """Write one settled call as the tick would have, at a time of the past."""
    price = PriceVersion.objects.filter(model=model).first()
    request_id = new_request_id()
    tokens_out = chance.randrange(4, 900)
    with connection.cursor() as cursor:
        cursor.execute(
            "select txn_id, hash from ledger_post_usage(%s::bigint[], %s::timestamptz[],"
            " %s::bigint[], '{0}', '{0}')",
            [[key.org_id], [at], [nanos]],
        )
        txn_id, head = cursor.fetchone()
        cursor.execute(
            "insert into billing_usageevent (request_id, occurred_at, org_id, project_id, key_id,"
            " model, provider, price_version_id, input, output, evidence, outcome, list_nanos,"
            " amount_nanos, ledger_txn_id, first_token_ms, duration_ms) values"
            " (%s, %s, %s, %s, %s, %s, 'simulator', %s, %s, %s, 'counted', %s, %s, %s, %s, %s, %s)",
            [
                *(request_id, at, key.org_id, key.project_id, key.pk, model),
                *(0 if price is None else price.pk, chance.randrange(20, 4000), tokens_out),
                *(chance.choice(OUTCOMES), nanos, nanos, txn_id),
                *(chance.randrange(40, 400), 300 + tokens_out * 9),
            ],
        )
        cursor.execute("insert into billing_usageid values (%s, %s)", [request_id, at])
        cursor.execute(
            "update billing_billingaccount set deferred_nanos = deferred_nanos - %s,"
            " ledger_head = %s where org_id = %s",
            [nanos, head, key.org_id],
        )
        cursor.execute(
            "with burned as (update billing_creditgrant set consumed_nanos = consumed_nanos + %s"
            " where id = (select min(id) from billing_creditgrant where org_id = %s) returning id)"
            " insert into billing_grantburn (grant_id, txn_id, request_id, amount_nanos)"
            " select id, %s, %s, %s from burned",
            [nanos, key.org_id, txn_id, request_id, nanos],
        )
    return request_id
