"""Credit grants: given, voided, expired. Reserved and burned by the tick alone (``sql/``).

1. ``grant_credit`` posts what an organization may spend from ``effective_at`` to ``expires_at``.
2. A hold reserves on grants in burn order; its charge burns what it reserved (``sql/holds.sql``).
3. ``expire_grants`` takes back what nobody reserved once the time is over; what running calls have
   reserved stays theirs, and what they leave over expires with the next run.
4. ``void_grant`` takes back what is free, with a reason.

Paid credit is deferred revenue and expires into breakage; promotional credit is an expense when it
is given, and undone when it expires.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.db.models import F, Q

from accounts.audit import record_change
from accounts.models import Organization
from billing.ledger import Posting, Transaction, post_transaction
from billing.locks import lock_accounts
from billing.models import BillingAccount, CreditGrant
from kernel import clock
from kernel.errors import BadRequestError, NotFoundError
from kernel.money import MAX_NANOS, check_nanos, render_usd

MOST_MODELS = 100
CHUNK = 200
Kind, Source = CreditGrant.Kind, CreditGrant.Source


@dataclass(frozen=True, slots=True)
class GrantSpec:
    """Credit to be. ``idem_key`` makes twice once; ``cash`` is the account paid credit came from.

    ``effective_at`` None is now; ``allowed_models`` None pays for every model; lower ``priority``
    burns first. ``approved_by`` is the second person, where one was needed.
    """

    amount_nanos: int
    reason: str
    idem_key: str
    kind: str = Kind.PAID
    source: str = Source.MANUAL
    cash: str = "cash:manual"
    priority: int = 100
    allowed_models: Sequence[str] | None = None
    effective_at: datetime | None = None
    expires_at: datetime | None = None
    approved_by: str = ""


def grant_credit(org: Organization, spec: GrantSpec, *, actor: str) -> CreditGrant:
    """Post a grant and return it; a second call with the same ``idem_key`` returns the first.

    Raises:
        InvalidAmountError: for an amount that is not positive.
        BadRequestError: without a reason, or for an end before the beginning.

    """
    check_grant(spec)
    with transaction.atomic():
        account = lock_accounts([org.pk])[org.pk]
        effective_at = spec.effective_at or database_time()
        if spec.expires_at is not None and spec.expires_at <= effective_at:
            raise BadRequestError("Credit must expire after it begins.", param="expires_at")
        txn_id = post_transaction(
            Transaction(
                org.pk,
                "credit" if spec.kind == Kind.PAID else "promotion",
                spec.idem_key,
                _postings(org.pk, spec.kind, spec.amount_nanos, spec.cash),
                reason=spec.reason,
                actor=actor,
            )
        )
        grant, is_new = CreditGrant.objects.get_or_create(
            txn_id=txn_id,
            defaults={
                "org": org,
                "kind": spec.kind,
                "source": spec.source,
                "priority": spec.priority,
                "allowed_models": None if spec.allowed_models is None else [*spec.allowed_models],
                "effective_at": effective_at,
                "expires_at": spec.expires_at,
                "granted_nanos": spec.amount_nanos,
                "cost_basis_nanos": spec.amount_nanos if spec.kind == Kind.PAID else 0,
                "reason": spec.reason,
                "created_by": actor,
            },
        )
        if is_new:
            _add_to_balance(account, spec.kind, spec.amount_nanos)
            record_change(org.pk, actor, "credit.add", org.public_id, after=_told(spec))
    return grant


def void_grant(
    org: Organization, grant_id: int, *, reason: str, actor: str, most_nanos: int = MAX_NANOS
) -> int:
    """Take back what is free of a grant, ``most_nanos`` at most, and return how much that was.

    What calls have reserved stays theirs.
    """
    if not reason.strip():
        raise BadRequestError("Say why the credit is voided.", param="reason")
    with transaction.atomic():
        account = lock_accounts([org.pk])[org.pk]
        grant = CreditGrant.objects.select_for_update().filter(pk=grant_id, org=org).first()
        if grant is None:
            raise NotFoundError("There is no such credit.", code="not_found")
        free = min(grant.remaining_nanos - grant.held_nanos, most_nanos)
        if free <= 0:
            return 0
        _take_back(account, grant, free, "void", reason, actor)
        CreditGrant.objects.filter(pk=grant.pk).update(voided_nanos=F("voided_nanos") + free)
        record_change(
            org.pk,
            actor,
            "credit.void",
            f"credit {grant.pk}",
            after={"amount_usd": render_usd(free), "reason": reason},
        )
    return free


def expire_grants() -> int:
    """Expire what is free of grants whose time is over; return how many nanos went.

    Every grant is its own small transaction; the amounts of a run are bounded by ``CHUNK`` grants.
    """
    due = CreditGrant.objects.filter(
        Q(
            granted_nanos__gt=F("consumed_nanos")
            + F("expired_nanos")
            + F("voided_nanos")
            + F("held_nanos")
        ),
        is_open=True,
        expires_at__lte=clock.now(),
    ).order_by("expires_at", "id")
    return sum(_expire(org_id, pk) for pk, org_id in due.values_list("pk", "org_id")[:CHUNK])


def _expire(org_id: int, grant_id: int) -> int:
    with transaction.atomic():
        account = lock_accounts([org_id])[org_id]
        grant = CreditGrant.objects.select_for_update().get(pk=grant_id)
        free = grant.remaining_nanos - grant.held_nanos
        assert grant.expires_at is not None
        if free == 0 or grant.expires_at > database_time():
            return 0
        _take_back(account, grant, free, "expiry", f"credit {grant.pk} expired", "system")
        CreditGrant.objects.filter(pk=grant.pk).update(expired_nanos=F("expired_nanos") + free)
    return free


def _take_back(
    account: BillingAccount, grant: CreditGrant, nanos: int, kind: str, reason: str, actor: str
) -> None:
    """Post the way back of a grant's free part: to breakage when it expires, else as it came."""
    other = "breakage" if grant.kind == Kind.PAID and kind == "expiry" else _origin(grant)
    taken = grant.expired_nanos + grant.voided_nanos
    post_transaction(
        Transaction(
            grant.org_id,
            kind,
            f"{kind}:{grant.pk}:{taken}",
            [
                Posting(grant.org_id, _balance_code(grant.kind), nanos),
                Posting(None, other, -nanos),
            ],
            reason=reason,
            actor=actor,
        )
    )
    _add_to_balance(account, grant.kind, -nanos)


def _origin(grant: CreditGrant) -> str:
    if grant.kind == Kind.PROMOTIONAL:
        return "promotional_expense"
    return "cash:stripe" if grant.source == Source.STRIPE else "cash:manual"


def _postings(org_id: int, kind: str, nanos: int, cash: str) -> list[Posting]:
    debit = cash if kind == Kind.PAID else "promotional_expense"
    return [Posting(None, debit, nanos), Posting(org_id, _balance_code(kind), -nanos)]


def _balance_code(kind: str) -> str:
    return "deferred_revenue" if kind == Kind.PAID else "promotional_credit"


def _add_to_balance(account: BillingAccount, kind: str, nanos: int) -> None:
    """Move the running balance; a balance that is well above the warning arms it again."""
    if kind == Kind.PAID:
        account.deferred_nanos += nanos
    else:
        account.promotional_nanos += nanos
    line = account.credit_limit_nanos - account.unbilled_nanos - account.receivable_nanos
    balance, warn_below = (
        account.deferred_nanos + account.promotional_nanos + max(0, line),
        account.low_balance_nanos,
    )
    if warn_below is not None and balance * 10 >= warn_below * 11:
        account.low_balance_noted = False
    account.save(update_fields=["deferred_nanos", "promotional_nanos", "low_balance_noted"])


def check_grant(spec: GrantSpec) -> None:
    """Refuse what no grant may be, whenever it is to begin."""
    check_nanos(spec.amount_nanos, minimum=1)
    if spec.kind not in Kind.values or spec.source not in Source.values:
        raise BadRequestError("Credit is paid or promotional.", param="kind")
    if not spec.reason.strip():
        raise BadRequestError("Say why the credit is given.", param="reason")
    if spec.allowed_models is not None and not 1 <= len(spec.allowed_models) <= MOST_MODELS:
        raise BadRequestError("Name 1 to 100 models, or none for all.", param="models")
    if not 0 <= spec.priority <= 1000:  # noqa: PLR2004 # as published with the burn order
        raise BadRequestError("A priority is a number from 0 to 1000.", param="priority")


def _told(spec: GrantSpec) -> dict[str, str]:
    told = {"amount_usd": render_usd(spec.amount_nanos), "kind": spec.kind, "reason": spec.reason}
    return {**told, "approved_by": spec.approved_by} if spec.approved_by else told


def database_time() -> datetime:
    """Return the clock that holds and periods follow."""
    with connection.cursor() as cursor:
        cursor.execute("select clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now
