"""Invoices: drafts gather, finals are frozen by the database."""

from django.db import models

from accounts.models import Organization, Project
from billing.models.ledger import LedgerTransaction
from billing.models.prices import PriceVersion
from kernel import clock


class InvoiceSeries(models.Model):
    """The next number of a series. Its row is locked inside the finalising transaction."""

    name = models.CharField(primary_key=True, max_length=40)
    next_number = models.PositiveIntegerField(default=1)

    class Meta:
        verbose_name_plural = "invoice series"

    def __str__(self) -> str:
        return self.name


class Invoice(models.Model):
    """One organization's month. A draft has no number; a final row cannot be edited.

    It begins where the invoice before it ends, and ends where ``month`` (``YYYY-MM``) ends in
    ``timezone``, the organization's zone when it was drawn.
    """

    class State(models.TextChoices):
        DRAFT = "draft"
        FINAL = "final"

    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="invoices")
    month = models.CharField(max_length=7)
    timezone = models.CharField(max_length=64)
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    state = models.CharField(max_length=8, choices=State.choices, default=State.DRAFT)
    series = models.ForeignKey(InvoiceSeries, null=True, on_delete=models.PROTECT)
    number = models.PositiveIntegerField(null=True)
    issued_at = models.DateTimeField(null=True)
    currency = models.CharField(max_length=3, default="USD")
    usage_nanos = models.BigIntegerField(default=0)
    prepaid_nanos = models.BigIntegerField(default=0)
    total_cents = models.BigIntegerField(default=0)
    due_cents = models.BigIntegerField(default=0)
    rounding_nanos = models.BigIntegerField(default=0)
    customer_name = models.CharField(max_length=120, default="")
    ledger_txn = models.OneToOneField(LedgerTransaction, null=True, on_delete=models.PROTECT)
    pdf = models.BinaryField(null=True)
    pdf_sha256 = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["org", "period_start"], name="invoice_once_per_org_and_period"
            ),
            models.UniqueConstraint(fields=["series", "number"], name="invoice_number_once"),
            models.CheckConstraint(
                condition=models.Q(state="draft", number=None)
                | models.Q(state="final", number__isnull=False),
                name="invoice_draft_has_no_number",
            ),
        ]

    def __str__(self) -> str:
        return self.document_number or f"draft {self.pk}"

    @property
    def document_number(self) -> str:
        """The number people see, empty for a draft."""
        return "" if self.number is None else f"{self.series_id}-{self.number:06d}"


class InvoiceLine(models.Model):
    """One project × model × token bucket × price version. Rounded once, half up, to the cent.

    Answers out of the cache have lines of their own: ``cache_percent`` of the version's price.
    """

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="lines")
    seq = models.PositiveIntegerField()
    project = models.ForeignKey(Project, on_delete=models.PROTECT)
    project_name = models.CharField(max_length=120)
    model = models.CharField(max_length=200)
    bucket = models.CharField(max_length=16)
    price_version = models.ForeignKey(PriceVersion, on_delete=models.PROTECT)
    price_nanos = models.BigIntegerField()
    cache_percent = models.SmallIntegerField(null=True)
    quantity = models.DecimalField(max_digits=38, decimal_places=0)
    requests = models.BigIntegerField()
    amount_nanos = models.BigIntegerField()
    amount_cents = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["invoice", "seq"], name="invoice_line_seq_once"),
        ]

    def __str__(self) -> str:
        return f"{self.invoice_id}/{self.seq}"
