"""Double entry: accounts, transactions, entries; and the running balances of customers.

Amounts of entries are positive for debits and negative for credits. Only customers keep running
balances: rows for revenue or cash would be hot and cost five times the throughput.
"""

from django.db import models

from accounts.models import Organization
from kernel import clock

NO_HASH = bytes(32)


class BillingAccount(models.Model):
    """A customer's running balances, all positive: the row that admission locks.

    What may be spent is what is free on the grants (``CreditGrant``), then on the credit line:
    ``credit limit - unbilled - receivable - line held``. ``deferred`` and ``promotional`` are what
    remains of paid and of given grants. ``ledger_head`` ends the chain of the ledger's hashes.
    """

    class Mode(models.TextChoices):
        PREPAID = "prepaid"
        POSTPAID = "postpaid"
        HYBRID = "hybrid"

    org = models.OneToOneField(
        Organization, primary_key=True, on_delete=models.PROTECT, related_name="billing_account"
    )
    mode = models.CharField(max_length=8, choices=Mode.choices, default=Mode.PREPAID)
    credit_limit_nanos = models.BigIntegerField(default=0)
    deferred_nanos = models.BigIntegerField(default=0)
    unbilled_nanos = models.BigIntegerField(default=0)
    receivable_nanos = models.BigIntegerField(default=0)
    promotional_nanos = models.BigIntegerField(default=0)
    held_nanos = models.BigIntegerField(default=0)
    line_held_nanos = models.BigIntegerField(default=0)
    low_balance_nanos = models.BigIntegerField(null=True, blank=True)
    low_balance_noted = models.BooleanField(default=False)
    ledger_head = models.BinaryField(max_length=32, default=NO_HASH)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    credit_limit_nanos__gte=0,
                    deferred_nanos__gte=0,
                    promotional_nanos__gte=0,
                    line_held_nanos__gte=0,
                    unbilled_nanos__gte=0,
                    held_nanos__gte=0,
                ),
                name="billing_account_floor",
            ),
            models.CheckConstraint(
                condition=~models.Q(mode="prepaid")
                | models.Q(credit_limit_nanos=0, unbilled_nanos=0, line_held_nanos=0),
                name="billing_account_prepaid_owes_nothing",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.org} ({self.mode})"


class LedgerChain(models.Model):
    """The end of the platform's own chain (scope 0); organizations' are on their accounts."""

    scope = models.BigIntegerField(primary_key=True)
    head = models.BinaryField(max_length=32, default=NO_HASH)

    def __str__(self) -> str:
        return f"chain of {self.scope}"


class LedgerAccount(models.Model):
    """One account: of an organization, or of the platform (``org`` is null)."""

    class Kind(models.TextChoices):
        ASSET = "asset"
        LIABILITY = "liability"
        INCOME = "income"
        EXPENSE = "expense"

    org = models.ForeignKey(Organization, null=True, on_delete=models.PROTECT)
    code = models.CharField(max_length=60)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    currency = models.CharField(max_length=3, default="USD")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["org", "code", "currency"],
                nulls_distinct=False,
                name="ledger_account_once",
            ),
        ]

    def __str__(self) -> str:
        return self.code


class LedgerTransaction(models.Model):
    """A balanced set of entries, never changed. ``period`` is the first day of its UTC month.

    ``hash`` covers everything it says and ``prev_hash``, its organization's transaction before it.
    """

    org = models.ForeignKey(Organization, null=True, on_delete=models.PROTECT)
    kind = models.CharField(max_length=40)
    idem_key = models.CharField(max_length=120)
    effective_at = models.DateTimeField()
    recorded_at = models.DateTimeField(default=clock.now)
    period = models.DateField()
    reverses = models.OneToOneField("self", null=True, on_delete=models.PROTECT)
    reason = models.CharField(max_length=400, blank=True)
    actor = models.CharField(max_length=200, blank=True)
    prev_hash = models.BinaryField(max_length=32, default=NO_HASH)
    hash = models.BinaryField(max_length=32, default=NO_HASH)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["org", "idem_key"], nulls_distinct=False, name="ledger_txn_once_per_org"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"


class LedgerEntry(models.Model):
    """One side of a transaction."""

    pk = models.CompositePrimaryKey("txn_id", "seq")
    txn = models.ForeignKey(LedgerTransaction, on_delete=models.PROTECT, related_name="entries")
    seq = models.SmallIntegerField()
    account = models.ForeignKey(LedgerAccount, on_delete=models.PROTECT, related_name="entries")
    amount_nanos = models.BigIntegerField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(amount_nanos=0), name="ledger_entry_not_zero"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.txn_id}/{self.seq}"
