"""What it costs and who paid. Only billing imports these; the money tables are written by SQL."""

from billing.models.budgets import Budget, BudgetWindow
from billing.models.invoices import Invoice, InvoiceLine, InvoiceSeries
from billing.models.ledger import BillingAccount, LedgerAccount, LedgerEntry, LedgerTransaction
from billing.models.metering import (
    Hold,
    IdempotentAnswer,
    JournalOwner,
    Quarantine,
    UsageEvent,
    UsageId,
)
from billing.models.prices import PriceVersion
from billing.models.proofs import ProofRun
from billing.models.rollups import UsageRollup

__all__ = [
    "BillingAccount",
    "Budget",
    "BudgetWindow",
    "Hold",
    "IdempotentAnswer",
    "Invoice",
    "InvoiceLine",
    "InvoiceSeries",
    "JournalOwner",
    "LedgerAccount",
    "LedgerEntry",
    "LedgerTransaction",
    "PriceVersion",
    "ProofRun",
    "Quarantine",
    "UsageEvent",
    "UsageId",
    "UsageRollup",
]
