"""Credit an organization can spend: opening its account, and adding to it by hand."""

from accounts.models import Organization
from billing.grants import GrantSpec, grant_credit
from billing.ledger import open_accounts
from billing.models import BillingAccount, CreditGrant
from kernel.errors import BadRequestError, ConflictError
from kernel.ids import new_id
from kernel.money import check_nanos


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
) -> CreditGrant:
    """Add paid credit by hand: cash to deferred revenue. With an ``idem_key``, twice is once.

    Raises:
        InvalidAmountError: for an amount that is not positive.
        BadRequestError: without a reason.
        ConflictError: when the key was used for another amount.

    """
    key = idem_key or new_id("credit")
    grant = grant_credit(org, GrantSpec(amount_nanos, reason, key), actor=actor)
    if grant.granted_nanos != amount_nanos:
        raise ConflictError("This credit was given before, with another amount.")
    return grant
