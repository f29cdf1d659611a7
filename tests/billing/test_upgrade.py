"""An installation from before grants and chains comes over with its money where it was."""

from importlib import import_module

import psycopg
from django.db import connection

from billing.models import BillingAccount, CreditGrant, Hold
from billing.models.ledger import NO_HASH
from tests.books import assert_proven, run_tick, settlement
from tests.factories import hold_request, make_price, make_tenant


def forget_grants(database: str) -> None:
    """Make the books look as they did before: running balances, and no grant to reserve on."""
    with psycopg.connect(database) as owner:
        owner.execute("set session_replication_role = replica")
        owner.execute("delete from billing_grantburn")
        owner.execute("delete from billing_creditgrant")
        owner.execute("update billing_hold set grant_ids = '{}', grant_nanos = '{}'")
        owner.execute(
            "update billing_billingaccount set line_held_nanos = 0, ledger_head = %s", (NO_HASH,)
        )
        owner.execute(
            "update billing_ledgertransaction set prev_hash = %s, hash = %s", (NO_HASH, NO_HASH)
        )


def test_balances_become_grants_open_holds_reserve_on_them_and_the_ledger_is_chained(
    database: str,
) -> None:
    acme = make_tenant(credit_usd="0.00001")
    globex = make_tenant("Globex", mode="postpaid", credit_usd="0", credit_limit_usd="1")
    version, price = make_price(output_usd="1.00")
    done, running, owing = (hold_request(tenant, version, 4_000) for tenant in (acme, acme, globex))
    run_tick(database, holds=[done, running, owing])
    run_tick(
        database, closings=[settlement(done.request_id, price, input_tokens=0, output_tokens=3)]
    )
    forget_grants(database)

    statements = import_module("billing.migrations.0005_grant_statements")
    with connection.cursor() as cursor:
        cursor.execute(statements.CHAINS)
        cursor.execute(statements.OPENING_GRANTS)

    grant = CreditGrant.objects.get()
    assert (grant.org_id, grant.granted_nanos, grant.held_nanos) == (acme.org.pk, 7_000, 4_000)
    assert Hold.objects.get(request_id=running.request_id).grant_nanos == [4_000]
    assert BillingAccount.objects.get(org=globex.org).line_held_nanos == 4_000
    run_tick(
        database,
        closings=[
            settlement(request.request_id, price, input_tokens=0, output_tokens=2)
            for request in (running, owing)
        ],
    )
    assert (acme.account.deferred_nanos, globex.account.unbilled_nanos) == (5_000, 2_000)
    assert_proven(database)
