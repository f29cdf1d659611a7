"""The ledger's hash chains: what was posted cannot be changed, removed or slipped in unseen."""

import itertools
from typing import LiteralString

import psycopg
import pytest

from billing.credits import add_credit
from billing.database import connect_sync
from billing.ledger import Posting, Transaction, post_transaction
from billing.models import LedgerTransaction
from billing.proof import prove
from tests.books import NOWHERE, assert_proven, run_tick, settlement
from tests.factories import hold_request, make_price, make_tenant

TAMPERING: dict[str, tuple[LiteralString, set[str]]] = {
    "another reason": (
        "update billing_ledgertransaction set reason = 'bonus' where kind = 'credit'",
        {"I25a"},
    ),
    "another actor": (
        "update billing_ledgertransaction set actor = 'mallory' where kind = 'usage'",
        {"I25a"},
    ),
    "two entries moved together": (
        (
            "update billing_ledgerentry e set amount_nanos = e.amount_nanos * 2"
            " from billing_ledgertransaction t where t.id = e.txn_id and t.kind = 'credit'"
        ),
        {"I4", "I25a"},
    ),
    "a hash made to fit": (
        "update billing_ledgertransaction set hash = sha256('x') where kind = 'credit'",
        {"I25a"},
    ),
    "the platform's last one removed": (
        (
            "delete from billing_ledgerentry where txn_id = (select max(id) from"
            " billing_ledgertransaction where org_id is null); delete from"
            " billing_ledgertransaction where id = (select max(id) from billing_ledgertransaction"
            " where org_id is null)"
        ),
        {"I25b"},
    ),
    "the platform's end forgotten": ("delete from billing_ledgerchain", {"I25b"}),
    "the last one removed": (
        (
            "delete from billing_ledgerentry where txn_id = (select max(id) from"
            " billing_ledgertransaction); delete from billing_ledgertransaction where id ="
            " (select max(id) from billing_ledgertransaction)"
        ),
        {"I25b"},
    ),
}


def use(database: str) -> None:
    acme, globex = make_tenant(), make_tenant("Globex")
    version, price = make_price()
    for tenant in (acme, globex, acme):
        request = hold_request(tenant, version, 90_000)
        run_tick(database, holds=[request])
        closing = settlement(request.request_id, price, input_tokens=3, output_tokens=4)
        run_tick(database, closings=[closing])
    add_credit(acme.org, 5, reason="more", actor="test")


def lose(nanos: int) -> None:
    """The platform posts something of its own."""
    entries = [Posting(None, "platform_loss", nanos), Posting(None, "cash:manual", -nanos)]
    post_transaction(Transaction(None, "loss", f"loss:{nanos}", entries))


def test_every_transaction_of_an_organization_names_the_one_before_it(database: str) -> None:
    use(database)

    chains: dict[int | None, list[LedgerTransaction]] = {}
    for txn in LedgerTransaction.objects.order_by("id"):
        chains.setdefault(txn.org_id, []).append(txn)

    assert [len(chain) for chain in chains.values()] == [4, 2]
    for chain in chains.values():
        assert bytes(chain[0].prev_hash) == bytes(32)
        for before, after in itertools.pairwise(chain):
            assert bytes(after.prev_hash) == bytes(before.hash)
    assert_proven(database)


@pytest.mark.tampers
@pytest.mark.parametrize("what", TAMPERING)
def test_tampering_is_named_by_the_proof(database: str, what: str) -> None:
    for nanos in (1, 2):
        lose(nanos)
    use(database)
    statement, expected = TAMPERING[what]

    with psycopg.connect(database) as owner:
        owner.execute("set session_replication_role = replica")
        for part in statement.split(";"):
            owner.execute(part)

    with connect_sync(database, "proof", statement_timeout_ms=60_000) as connection:
        broken = {f.number for f in prove(connection, NOWHERE).findings if f.rows}
    assert expected <= broken


def test_a_batch_over_several_quarters_of_an_hour_chains_in_order(database: str) -> None:
    acme = make_tenant()
    version, price = make_price()
    requests = [hold_request(acme, version, 90_000) for _ in range(4)]
    run_tick(database, holds=requests)
    with psycopg.connect(database) as owner:
        owner.execute("alter table billing_priceversion disable trigger append_only")
        owner.execute("update billing_priceversion set effective_from = 'epoch'")
        owner.execute("alter table billing_priceversion enable trigger append_only")
        owner.execute("update billing_creditgrant set effective_at = 'epoch'")
        for number, request in enumerate(requests):
            owner.execute(
                "update billing_hold set created_at = created_at - make_interval(mins => %s)"
                " where request_id = %s",
                (number * 20, request.request_id),
            )

    run_tick(
        database,
        closings=[
            settlement(request.request_id, price, input_tokens=3, output_tokens=4)
            for request in requests
        ],
    )

    assert LedgerTransaction.objects.filter(kind="usage").count() == 4
    assert_proven(database)
