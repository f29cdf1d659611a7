"""The ledger's door for Python: every entry that is not usage is posted here.

Debits are positive, credits negative. Postings go through ``ledger_post`` in ``sql/ledger.sql``;
usage goes through ``ledger_post_usage`` beside it, a batch at a time. The database refuses
transactions that do not balance, and every change of one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from django.db import connection

from billing.models import LedgerAccount
from kernel import clock


@dataclass(frozen=True, slots=True)
class Posting:
    """One entry to be: ``org_id`` None means the platform's account of that code."""

    org_id: int | None
    code: str
    amount_nanos: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """What to post. ``idem_key`` is unique per organization: posting twice is posting once."""

    org_id: int | None
    kind: str
    idem_key: str
    postings: Sequence[Posting]
    reason: str = ""
    actor: str = ""
    effective_at: datetime | None = None
    reverses: int | None = None


def post_transaction(transaction: Transaction) -> int:
    """Post a balanced transaction and return its id; entries of zero are left out.

    Raises:
        django.db.IntegrityError: at commit, when it does not balance.

    """
    entries = [[_account_id(posting), posting.amount_nanos] for posting in transaction.postings]
    with connection.cursor() as cursor:
        cursor.execute(
            "select ledger_post(%s, %s, %s, %s, %s::jsonb, %s, %s, %s)",
            [
                transaction.org_id,
                transaction.kind,
                transaction.idem_key,
                transaction.effective_at or clock.now(),
                orjson.dumps(entries).decode(),
                transaction.reason,
                transaction.actor,
                transaction.reverses,
            ],
        )
        row = cursor.fetchone()
    return int(row[0])


def open_accounts(org_id: int) -> None:
    """Make an organization's ledger accounts; those that exist stay."""
    with connection.cursor() as cursor:
        cursor.execute("select ledger_open_accounts(%s)", [org_id])


def _account_id(posting: Posting) -> int:
    account = LedgerAccount.objects.get(org_id=posting.org_id, code=posting.code, currency="USD")
    return account.pk
