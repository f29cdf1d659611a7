"""Credit an organization can spend: opening its account, and adding to it by hand."""

from django.db import transaction

from accounts.audit import record_change
from accounts.models import Organization
from billing.ledger import Posting, Transaction, open_accounts, post_transaction
from billing.locks import lock_accounts
from billing.models import BillingAccount, LedgerTransaction
from kernel.errors import BadRequestError, ConflictError
from kernel.ids import new_id
from kernel.money import check_nanos, render_usd


def open_billing_account(
    org: Organization, *, mode: str = BillingAccount.Mode.PREPAID, credit_limit_nanos: int = 0
) -> BillingAccount:
    """Give a new organization its money row and ledger accounts, in the caller's transaction."""
    if mode not in BillingAccount.Mode.values:
        raise BadRequestError(f"{mode!r} is not a billing mode.", param="mode")
    if mode == BillingAccount.Mode.PREPAID and credit_limit_nanos:
        raise BadRequestError("A prepaid organization has no credit limit.", param="credit_limit")
    open_accounts(org.pk)
    return BillingAccount.objects.create(
        org=org, mode=mode, credit_limit_nanos=check_nanos(credit_limit_nanos)
    )


def add_credit(
    org: Organization, amount_nanos: int, *, reason: str, actor: str, idem_key: str | None = None
) -> LedgerTransaction:
    """Add credit by hand: cash to deferred revenue. With an ``idem_key``, twice is once.

    Raises:
        InvalidAmountError: for an amount that is not positive.
        BadRequestError: without a reason.
        ConflictError: when the key was used for another amount.

    """
    check_nanos(amount_nanos, minimum=1)
    if not reason.strip():
        raise BadRequestError("Say why the credit is given.", param="reason")
    key = idem_key or new_id("credit")
    with transaction.atomic():
        account = lock_accounts([org.pk])[org.pk]
        earlier = LedgerTransaction.objects.filter(org=org, idem_key=key).first()
        if earlier is not None:
            return _same_credit(earlier, amount_nanos)
        txn_id = post_transaction(
            Transaction(
                org.pk,
                "credit",
                key,
                [
                    Posting(None, "cash:manual", amount_nanos),
                    Posting(org.pk, "deferred_revenue", -amount_nanos),
                ],
                reason=reason,
                actor=actor,
            )
        )
        account.deferred_nanos += amount_nanos
        account.save(update_fields=["deferred_nanos"])
        record_change(
            org.pk,
            actor,
            "credit.add",
            org.public_id,
            after={"amount_usd": render_usd(amount_nanos), "reason": reason},
        )
    return LedgerTransaction.objects.get(pk=txn_id)


def _same_credit(earlier: LedgerTransaction, amount_nanos: int) -> LedgerTransaction:
    given = {abs(entry.amount_nanos) for entry in earlier.entries.all()}
    if given != {amount_nanos}:
        raise ConflictError("This credit was given before, with another amount.")
    return earlier
