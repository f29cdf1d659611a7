"""The lock order, spelled once: hold → billing account → budget windows → grants, each by id.

The tick (``sql/holds.sql``) follows it too. Holds and windows belong to one organization, so its
account's row orders everything that happens to its money. The end of the audit chain comes last of
all (``accounts/audit.py``): lock the account before you record a change in the same transaction.
"""

from collections.abc import Iterable

from billing.models import BillingAccount


def lock_accounts(org_ids: Iterable[int]) -> dict[int, BillingAccount]:
    """Lock and return billing accounts by organization; call it inside a transaction."""
    accounts = BillingAccount.objects.select_for_update().filter(org_id__in=set(org_ids))
    return {account.org_id: account for account in accounts.order_by("org_id")}
