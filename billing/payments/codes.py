"""Codes that give credit: made by operators, shown once, redeemed once by an organization.

1. ``create_code`` draws 125 random bits and keeps their hash; the text is returned this once.
2. ``redeem_code`` locks the organization's account, then the code, and posts a grant: a code is
   redeemed as often as it says, and by one organization once, however many try at once.
3. ``revoke_code`` ends what is left of it; grants stay.

Ten failures an hour are all an organization may guess. What is unknown, over, used up or revoked is
refused in one sentence, so that a guess learns nothing.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F

from accounts.audit import record_change
from accounts.models import Organization
from billing.grants import MOST_MODELS, GrantSpec, database_time, grant_credit
from billing.locks import lock_accounts
from billing.models import CodeFailure, CodeRedemption, CreditGrant, RedeemCode
from kernel import clock
from kernel.errors import BadRequestError, ConflictError, NotFoundError, RateLimitError
from kernel.money import check_nanos, render_usd

# without I, L, O and U, which people misread
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
GROUPS, GROUP = 5, 5
MOST_FAILURES = 10
FAILURES_FOR = timedelta(hours=1)
MOST_TEXT = 100


@dataclass(frozen=True, slots=True)
class CodeSpec:
    """A code to be. ``grant_lasts`` and ``lasts`` None are without an end."""

    amount_nanos: int
    reason: str
    kind: str = CreditGrant.Kind.PROMOTIONAL
    allowed_models: Sequence[str] | None = None
    grant_lasts: timedelta | None = None
    lasts: timedelta | None = None
    most_redemptions: int = 1


@dataclass(frozen=True, slots=True)
class MadeCode:
    """A code and, this once, its text."""

    code: RedeemCode
    text: str


def create_code(spec: CodeSpec, *, actor: str) -> MadeCode:
    """Make a code. Its text is returned once and stored nowhere.

    Raises:
        InvalidAmountError: for an amount that is not positive.
        BadRequestError: without a reason, or above what needs a second person.

    """
    _check(spec)
    drawn = "".join(secrets.choice(ALPHABET) for _ in range(GROUPS * GROUP))
    with transaction.atomic():
        code = RedeemCode.objects.create(
            code_hash=_hash(drawn),
            last_four=drawn[-4:],
            kind=spec.kind,
            amount_nanos=spec.amount_nanos,
            allowed_models=None if spec.allowed_models is None else [*spec.allowed_models],
            grant_lasts_s=_seconds(spec.grant_lasts),
            expires_at=None if spec.lasts is None else clock.now() + spec.lasts,
            most_redemptions=spec.most_redemptions,
            reason=spec.reason,
            created_by=actor,
        )
        told = {
            "amount_usd": render_usd(spec.amount_nanos),
            "kind": spec.kind,
            "most_redemptions": spec.most_redemptions,
            "reason": spec.reason,
        }
        record_change(None, actor, "code.create", code.public_id, after=told)
    return MadeCode(code, "-".join(drawn[i : i + GROUP] for i in range(0, len(drawn), GROUP)))


def redeem_code(org: Organization, text: str, *, actor: str) -> CreditGrant:
    """Give an organization a code's credit.

    Raises:
        NotFoundError: for a code that gives nothing, whatever the reason; counted.
        ConflictError: when this organization redeemed it before.
        RateLimitError: after ten failures in an hour, whatever the code.

    """
    with transaction.atomic():
        lock_accounts([org.pk])
        _check_guesses(org)
        code = RedeemCode.objects.select_for_update().filter(code_hash=_hash(_plain(text))).first()
        if code is not None and CodeRedemption.objects.filter(code=code, org=org).exists():
            raise ConflictError(
                "Your organization has redeemed this code already.", code="code_already_redeemed"
            )
        if code is not None and _is_good(code):
            return _redeem(code, org, actor)
        CodeFailure.objects.create(org=org)
        record_change(org.pk, actor, "code.refused", org.public_id)
    # outside of the transaction, which keeps the failure
    raise NotFoundError("This code cannot be redeemed.", code="invalid_code", param="code")


def revoke_code(public_id: str, *, reason: str, actor: str) -> RedeemCode:
    """End what is left of a code; a second time changes nothing."""
    if not reason.strip():
        raise BadRequestError("Say why the code is revoked.", param="reason")
    with transaction.atomic():
        code = RedeemCode.objects.select_for_update().filter(public_id=public_id).first()
        if code is None:
            raise NotFoundError(f"There is no code {public_id[:40]!r}.", code="not_found")
        if code.revoked_at is None:
            code.revoked_at = clock.now()
            code.save(update_fields=["revoked_at"])
            record_change(None, actor, "code.revoke", code.public_id, after={"reason": reason})
    return code


def _redeem(code: RedeemCode, org: Organization, actor: str) -> CreditGrant:
    lasts = code.grant_lasts_s
    spec = GrantSpec(
        code.amount_nanos,
        f"code {code.public_id}",
        f"code:{code.public_id}",
        kind=code.kind,
        source=CreditGrant.Source.CODE,
        allowed_models=code.allowed_models,
        expires_at=None if lasts is None else database_time() + timedelta(seconds=lasts),
    )
    grant = grant_credit(org, spec, actor=actor)
    CodeRedemption.objects.create(code=code, org=org, grant=grant, actor=actor)
    RedeemCode.objects.filter(pk=code.pk).update(redemptions=F("redemptions") + 1)
    record_change(org.pk, actor, "code.redeem", code.public_id)
    return grant


def _is_good(code: RedeemCode) -> bool:
    return (
        code.revoked_at is None
        and code.redemptions < code.most_redemptions
        and (code.expires_at is None or code.expires_at > database_time())
    )


def _check_guesses(org: Organization) -> None:
    """Count the failures of the last hour, under the account's lock; older ones go."""
    failures = CodeFailure.objects.filter(org=org)
    failures.filter(at__lt=clock.now() - FAILURES_FOR).delete()
    if failures.count() >= MOST_FAILURES:
        raise RateLimitError(
            "Too many codes were wrong; try again in an hour.",
            code="too_many_wrong_codes",
            headers={"retry-after": "60"},
        )


def _check(spec: CodeSpec) -> None:
    check_nanos(spec.amount_nanos, minimum=1)
    limit = settings.CREDIT_APPROVAL_NANOS
    if limit and spec.amount_nanos > limit:
        raise BadRequestError(
            f"A code gives {render_usd(limit, places=2)} dollars at most; more needs a second "
            "person: give it as credit.",
            param="amount",
        )
    if not spec.reason.strip():
        raise BadRequestError("Say why the code is made.", param="reason")
    if spec.allowed_models is not None and not 1 <= len(spec.allowed_models) <= MOST_MODELS:
        raise BadRequestError("Name 1 to 100 models, or none for all.", param="models")


def _seconds(lasts: timedelta | None) -> int | None:
    return None if lasts is None else lasts // timedelta(seconds=1)


def _plain(text: str) -> str:
    """Return a code as it was drawn; people write it small, and with or without its dashes."""
    return text[:MOST_TEXT].strip().upper().replace("-", "")


def _hash(plain: str) -> bytes:
    # as random as a key: guessing at the hash is as hard as guessing at the door
    return hashlib.sha256(plain.encode()).digest()
