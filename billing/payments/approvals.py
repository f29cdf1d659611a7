"""The second person: what one asks for, another approves, and then it is done, once.

1. ``request_approval`` keeps what is to be done, in words and as a payload, for seven days.
2. ``approve`` locks the row and does it, in one transaction, by the table of functions below.
3. ``reject`` ends it with a reason.

Whoever decides is an active operator and not the one who asked. ``give_credit`` is the door for
credit by hand: above the operator's bound it asks for a second person. ``offer_price`` is the door
for prices: with ``PRICE_APPROVAL`` each asks for one.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from accounts.audit import record_change
from accounts.models import Organization, User
from billing.grants import GrantSpec, check_grant, database_time, grant_credit
from billing.models import Approval, CreditGrant, PriceVersion
from billing.prices import PriceSpec, check_spec, publish, render_tiers
from billing.pricing import parse_tiers
from billing.usage import Usage
from kernel.errors import BadRequestError, ConflictError, ForbiddenError, NotFoundError
from kernel.money import render_usd

LASTS = timedelta(days=7)
CREDIT, PRICE = "credit", "price"
State = Approval.State


def needs_approval(nanos: int) -> bool:
    """Say whether credit by hand of this amount waits for a second person."""
    limit = settings.CREDIT_APPROVAL_NANOS
    return bool(limit) and nanos > limit


def give_credit(org: Organization, spec: GrantSpec, *, actor: str) -> CreditGrant | Approval:
    """Post credit by hand, or keep it for a second person to approve.

    Raises:
        InvalidAmountError, BadRequestError: as ``grant_credit``, before anybody is asked.

    """
    if not needs_approval(spec.amount_nanos):
        return grant_credit(org, spec, actor=actor)
    check_grant(spec)
    return request_approval(
        CREDIT,
        f"{render_usd(spec.amount_nanos, places=2)} dollars of {spec.kind} credit for "
        f"{org.public_id}: {spec.reason}"[:400],
        {
            "amount_nanos": str(spec.amount_nanos),
            "reason": spec.reason,
            "idem_key": spec.idem_key,
            "kind": str(spec.kind),
            "priority": spec.priority,
            "allowed_models": None if spec.allowed_models is None else [*spec.allowed_models],
            "expires_at": None if spec.expires_at is None else spec.expires_at.isoformat(),
        },
        org=org,
        actor=actor,
    )


def offer_price(spec: PriceSpec, *, actor: str) -> PriceVersion | Approval:
    """Publish a price, or keep it for a second person to approve.

    Raises:
        BadRequestError, ConflictError: as ``publish``, before anybody is asked.

    """
    if not settings.PRICE_APPROVAL:
        return publish(spec, actor=actor)
    check_spec(spec)
    prices = spec.per_million.as_dict()
    shown = ", ".join(f"{name} {render_usd(nanos, places=2)}" for name, nanos in prices.items())
    at = None if spec.effective_from is None else spec.effective_from.isoformat()
    return request_approval(
        PRICE,
        f"price of {spec.model}: {shown or 'free'}{', with tiers' if spec.tiers else ''}"
        f"{'' if spec.org is None else f', for {spec.org.public_id}'}"
        f"{'' if at is None else f', from {at}'}"[:400],
        {
            "model": spec.model,
            "per_million_nanos": {name: str(nanos) for name, nanos in prices.items()},
            "tiers": render_tiers(spec.tiers),
            "effective_from": at,
            "is_free": spec.is_free,
        },
        org=spec.org,
        actor=actor,
    )


def request_approval(
    kind: str, summary: str, payload: Mapping[str, Any], *, org: Organization | None, actor: str
) -> Approval:
    """Keep what a second person must approve; ``kind`` is one of the table's."""
    assert kind in _DOING, kind
    with transaction.atomic():
        approval = Approval.objects.create(
            kind=kind,
            org=org,
            summary=summary,
            payload=dict(payload),
            requested_by=actor,
            expires_at=database_time() + LASTS,
        )
        org_id = None if org is None else org.pk
        told = {"summary": summary}
        record_change(org_id, actor, "approval.request", approval.public_id, after=told)
    return approval


def approve(public_id: str, *, approver: User) -> Approval:
    """Do what was asked for, once.

    Raises:
        NotFoundError: for an unknown one; ConflictError: for one that was decided or is over.
        ForbiddenError: for whoever asked, and for anybody but an active operator.

    """
    with transaction.atomic():
        approval = _open_approval(public_id, approver)
        _DOING[approval.kind](approval, approver.email)
        return _decide(approval, State.APPROVED, approver, "")


def reject(public_id: str, *, approver: User, reason: str) -> Approval:
    """End what was asked for, with a reason.

    Raises:
        BadRequestError: without a reason; else as ``approve``.

    """
    if not reason.strip():
        raise BadRequestError("Say why it is rejected.", param="reason")
    with transaction.atomic():
        return _decide(_open_approval(public_id, approver), State.REJECTED, approver, reason)


def access_operator(email: str) -> User:
    """Return an active operator by e-mail address."""
    user = User.objects.filter(email=email.strip().lower(), is_staff=True, is_active=True).first()
    if user is None:
        raise NotFoundError(f"There is no operator {email[:60]!r}.", code="not_found")
    return user


def _open_approval(public_id: str, approver: User) -> Approval:
    """Lock an approval that this person may decide now."""
    approval = Approval.objects.select_for_update().filter(public_id=public_id).first()
    if approval is None:
        raise NotFoundError(f"There is no approval {public_id[:40]!r}.", code="not_found")
    if approval.state != State.PENDING:
        raise ConflictError(
            f"{public_id} was {approval.state} by {approval.decided_by} already.", code="decided"
        )
    if approval.expires_at <= database_time():
        raise ConflictError(f"{public_id} is over; ask for it again.", code="expired")
    if not (approver.is_staff and approver.is_active):
        raise ForbiddenError("Only an operator may decide.", code="not_allowed")
    if approver.email.lower() == approval.requested_by.lower():
        raise ForbiddenError("Another person than who asked must decide.", code="second_person")
    return approval


def _decide(approval: Approval, state: str, approver: User, reason: str) -> Approval:
    approval.state, approval.decided_by, approval.reason = state, approver.email, reason
    approval.decided_at = database_time()
    approval.save(update_fields=["state", "decided_by", "decided_at", "reason"])
    told = {"summary": approval.summary, "requested_by": approval.requested_by}
    record_change(
        approval.org_id,
        approver.email,
        "approval.approve" if state == State.APPROVED else "approval.reject",
        approval.public_id,
        after={**told, "reason": reason} if reason else told,
    )
    return approval


def _grant(approval: Approval, approver: str) -> None:
    said = approval.payload
    assert approval.org is not None, "credit is an organization's"
    ends = said["expires_at"]
    spec = GrantSpec(
        int(said["amount_nanos"]),
        said["reason"],
        said["idem_key"],
        kind=said["kind"],
        priority=said["priority"],
        allowed_models=said["allowed_models"],
        expires_at=None if ends is None else datetime.fromisoformat(ends),
        approved_by=approver,
    )
    grant_credit(approval.org, spec, actor=approval.requested_by)


def _publish(approval: Approval, approver: str) -> None:
    said = approval.payload
    at = said["effective_from"]
    spec = PriceSpec(
        said["model"],
        Usage(**{name: int(nanos) for name, nanos in said["per_million_nanos"].items()}),
        parse_tiers(said["tiers"] or {}),
        org=approval.org,
        effective_from=None if at is None else datetime.fromisoformat(at),
        is_free=said["is_free"],
    )
    publish(spec, actor=approval.requested_by, approved_by=approver)


# Who carries out what was approved, by its kind: in the approval's transaction.
_DOING: Mapping[str, Callable[[Approval, str], None]] = {CREDIT: _grant, PRICE: _publish}
