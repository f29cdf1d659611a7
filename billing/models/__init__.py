"""What it costs and who paid. Only billing imports these; the money tables are written by SQL."""

from billing.models.budgets import Budget, BudgetAlert, BudgetWindow
from billing.models.grants import CreditGrant, GrantBurn
from billing.models.invoices import Invoice, InvoiceLine, InvoiceSeries
from billing.models.ledger import (
    BillingAccount,
    LedgerAccount,
    LedgerChain,
    LedgerEntry,
    LedgerTransaction,
)
from billing.models.metering import (
    Hold,
    IdempotentAnswer,
    JournalOwner,
    NetUsage,
    Quarantine,
    UsageEvent,
    UsageId,
    UsageReversal,
)
from billing.models.notices import Delivery, DeliveryAttempt, WebhookEndpoint
from billing.models.outbox import OutboxEvent
from billing.models.payments import (
    Approval,
    AutoTopUp,
    CodeFailure,
    CodeRedemption,
    PaymentEvent,
    RedeemCode,
    SavedCard,
    TopUp,
)
from billing.models.prices import PriceVersion, ProviderCost
from billing.models.proofs import ProofRun, ReconciliationRun
from billing.models.rollups import UsageRollup

__all__ = [
    "Approval",
    "AutoTopUp",
    "BillingAccount",
    "Budget",
    "BudgetAlert",
    "BudgetWindow",
    "CodeFailure",
    "CodeRedemption",
    "CreditGrant",
    "Delivery",
    "DeliveryAttempt",
    "GrantBurn",
    "Hold",
    "IdempotentAnswer",
    "Invoice",
    "InvoiceLine",
    "InvoiceSeries",
    "JournalOwner",
    "LedgerAccount",
    "LedgerChain",
    "LedgerEntry",
    "LedgerTransaction",
    "NetUsage",
    "OutboxEvent",
    "PaymentEvent",
    "PriceVersion",
    "ProofRun",
    "ProviderCost",
    "Quarantine",
    "ReconciliationRun",
    "RedeemCode",
    "SavedCard",
    "TopUp",
    "UsageEvent",
    "UsageId",
    "UsageReversal",
    "UsageRollup",
    "WebhookEndpoint",
]
