"""Holds and usage: the life of a request's money, and what it came to."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from kernel import clock


class Hold(models.Model):
    """Money set aside for a request: held, then settled, released or expired.

    ``grant_nanos`` of the amount are reserved on the grants named beside them, in burn order; the
    rest is on the credit line. Only a call of a free model holds nothing.
    """

    class State(models.TextChoices):
        HELD = "held"
        SETTLED = "settled"
        RELEASED = "released"
        EXPIRED = "expired"

    request_id = models.CharField(primary_key=True, max_length=40)
    org_id = models.BigIntegerField()
    project_id = models.BigIntegerField()
    key_id = models.BigIntegerField()
    model = models.CharField(max_length=200)
    price_version_id = models.BigIntegerField()
    amount_nanos = models.BigIntegerField()
    amount_tokens = models.BigIntegerField(default=0)
    is_free = models.BooleanField(default=False)
    state = models.CharField(max_length=8, choices=State.choices, default=State.HELD)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    owner = models.CharField(max_length=120)
    idem_key = models.CharField(max_length=255, null=True)  # noqa: DJ001 # null: none was sent
    idem_body = models.CharField(max_length=64, null=True)  # noqa: DJ001 # null: none was sent
    budget_ids = ArrayField(models.BigIntegerField())
    window_starts = ArrayField(models.DateTimeField())
    grant_ids = ArrayField(models.BigIntegerField(), default=list)
    grant_nanos = ArrayField(models.BigIntegerField(), default=list)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(amount_nanos__gt=0) | models.Q(amount_nanos=0, is_free=True),
                name="hold_amount_positive",
            ),
            models.CheckConstraint(
                condition=models.Q(amount_tokens__gte=0), name="hold_tokens_not_negative"
            ),
            models.UniqueConstraint(
                fields=["org_id", "idem_key"],
                condition=models.Q(idem_key__isnull=False),
                name="hold_once_per_idem_key",
            ),
        ]
        indexes = [
            models.Index(
                fields=["expires_at"], condition=models.Q(state="held"), name="hold_open_by_expiry"
            ),
            models.Index(
                fields=["closed_at"],
                condition=models.Q(state__in=["released", "expired"]),
                name="hold_unused_by_end",
            ),
            models.Index(
                fields=["closed_at"],
                condition=models.Q(idem_key__isnull=False),
                name="hold_keyed_by_end",
            ),
        ]

    def __str__(self) -> str:
        return self.request_id


class IdempotentAnswer(models.Model):
    """A finished answer, sealed, kept 24 hours for callers who send the same request again."""

    pk = models.CompositePrimaryKey("org_id", "idem_key")
    org_id = models.BigIntegerField()
    idem_key = models.CharField(max_length=64)
    idem_body = models.CharField(max_length=64)
    is_stream = models.BooleanField()
    sealed = models.BinaryField()
    created_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.idem_key


class BucketCounts(models.Model):
    """Units of each disjoint bucket of usage."""

    input = models.BigIntegerField()
    cached_input = models.BigIntegerField()
    cache_write = models.BigIntegerField()
    output = models.BigIntegerField()
    reasoning = models.BigIntegerField()
    image = models.BigIntegerField()
    audio_input = models.BigIntegerField()
    audio_output = models.BigIntegerField()
    embedding = models.BigIntegerField()
    request = models.BigIntegerField()

    class Meta:
        abstract = True


class UsageEvent(BucketCounts):
    """What one request consumed and cost. Partitioned by month of ``occurred_at``; append-only.

    ``counted_*`` are our own counts in tokens, kept beside what the provider reported;
    ``upstream_nanos`` is what the provider charges for it, None where no cost is on file.
    ``cache_percent`` is the share of the price that an answer out of the cache costs, else None.
    """

    pk = models.CompositePrimaryKey("request_id", "occurred_at")
    request_id = models.CharField(max_length=40)
    occurred_at = models.DateTimeField()
    org_id = models.BigIntegerField()
    project_id = models.BigIntegerField()
    key_id = models.BigIntegerField()
    model = models.CharField(max_length=200)
    provider = models.CharField(max_length=120)
    price_version_id = models.BigIntegerField()
    evidence = models.CharField(max_length=10)
    outcome = models.CharField(max_length=24)
    list_nanos = models.BigIntegerField()
    amount_nanos = models.BigIntegerField()
    ledger_txn_id = models.BigIntegerField(null=True)
    first_token_ms = models.IntegerField(null=True)
    duration_ms = models.IntegerField(null=True)
    counted_input = models.BigIntegerField(null=True)
    counted_output = models.BigIntegerField(null=True)
    upstream_nanos = models.BigIntegerField(null=True)
    cache_percent = models.SmallIntegerField(null=True)

    class Meta:
        managed = False
        db_table = "billing_usageevent"

    def __str__(self) -> str:
        return self.request_id


class UsageReversal(BucketCounts):
    """A call's usage and charge taken back, because ``by_request_id`` ran it anew."""

    request_id = models.CharField(primary_key=True, max_length=40)
    by_request_id = models.CharField(max_length=40)
    reversed_at = models.DateTimeField()
    org_id = models.BigIntegerField()
    project_id = models.BigIntegerField()
    key_id = models.BigIntegerField()
    model = models.CharField(max_length=200)
    provider = models.CharField(max_length=120)
    price_version_id = models.BigIntegerField()
    amount_nanos = models.BigIntegerField()
    ledger_txn_id = models.BigIntegerField(null=True)
    cache_percent = models.SmallIntegerField(null=True)

    class Meta:
        indexes = [models.Index(fields=["org_id", "reversed_at"], name="reversal_by_org")]

    def __str__(self) -> str:
        return f"reversal of {self.request_id}"


class NetUsage(BucketCounts):
    """Usage net of reversals, each at its own moment: what invoices bill and exports list."""

    request_id = models.CharField(primary_key=True, max_length=40)
    occurred_at = models.DateTimeField()
    org_id = models.BigIntegerField()
    project_id = models.BigIntegerField()
    key_id = models.BigIntegerField()
    model = models.CharField(max_length=200)
    price_version_id = models.BigIntegerField()
    calls = models.IntegerField()
    amount_nanos = models.BigIntegerField()
    cache_percent = models.SmallIntegerField(null=True)

    class Meta:
        managed = False
        db_table = "billing_usagenet"

    def __str__(self) -> str:
        return self.request_id


class UsageId(models.Model):
    """Makes a request id unique over all partitions of usage."""

    request_id = models.CharField(primary_key=True, max_length=40)
    occurred_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.request_id


class JournalOwner(models.Model):
    """A process that holds money, and when it was last heard of."""

    owner = models.CharField(primary_key=True, max_length=120)
    heartbeat = models.DateTimeField()

    def __str__(self) -> str:
        return self.owner


class Quarantine(models.Model):
    """A settlement that could not be applied: kept with its reason, never dropped or invented.

    ``written_off_nanos`` is what its dismissal posted as the platform's loss.
    """

    request_id = models.CharField(max_length=40)
    reason = models.CharField(max_length=400)
    record = models.JSONField()
    recorded_at = models.DateTimeField(default=clock.now)
    resolved_at = models.DateTimeField(null=True, blank=True)
    written_off_nanos = models.BigIntegerField(db_default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["request_id"], name="quarantine_once_per_request"),
        ]

    def __str__(self) -> str:
        return self.request_id
