"""A new organization is given the operator's trial credit."""

from datetime import timedelta
from typing import Any

from billing.models import CreditGrant
from kernel import clock
from tests.books import assert_proven
from tests.factories import make_tenant


def test_a_new_organization_gets_trial_credit_that_is_given_and_ends_after_thirty_days(
    database: str, settings: Any
) -> None:
    settings.TRIAL_GRANT_NANOS = 5_000_000_000

    acme = make_tenant(credit_usd="0")

    grant = CreditGrant.objects.get()
    assert (grant.kind, grant.source, grant.granted_nanos) == (
        "promotional",
        "trial",
        5_000_000_000,
    )
    assert grant.expires_at is not None
    assert timedelta(days=29, hours=23) < grant.expires_at - clock.now() <= timedelta(days=30)
    assert (acme.account.promotional_nanos, acme.account.deferred_nanos) == (5_000_000_000, 0)
    assert_proven(database)


def test_where_the_trial_is_zero_nothing_is_given(database: str) -> None:
    make_tenant(credit_usd="0")

    assert CreditGrant.objects.count() == 0
