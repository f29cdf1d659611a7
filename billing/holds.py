"""The life of a request's money, as values: held, then settled, released or expired.

1. ``HoldRequest`` asks for the most a call can cost. The writer answers with None or a ``Refusal``.
2. ``Extension`` raises an open hold ahead of need.
3. ``Closing`` ends it: ``settle`` with what was used, ``release`` when nothing was, ``expire`` when
   nobody came back. Closing twice is closing once; the first wins.

The statements behind them are in ``sql/holds.sql``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from billing.usage import NO_USAGE, Evidence, Usage
from kernel.encoding import dump_json
from kernel.errors import (
    BudgetError,
    ConflictError,
    ForbiddenError,
    IdempotencyReusedError,
    NoCreditError,
    TollgateError,
    UnauthenticatedError,
    UnavailableError,
)
from kernel.money import render_usd


class Act(StrEnum):
    SETTLE = "settle"
    RELEASE = "release"
    EXPIRE = "expire"


class Outcome(StrEnum):
    """How the call ended, kept with its usage."""

    COMPLETED = "completed"
    DISCONNECTED = "disconnected"
    INTERRUPTED = "interrupted"
    TRUNCATED = "truncated"
    BUDGET_EXHAUSTED = "budget_exhausted"


class HoldRequest(NamedTuple):
    """``amount_nanos`` is the ceiling of the call's cost under ``price_version``.

    It is above zero unless the version is free. ``amount_tokens`` bounds what token budgets count.
    ``instead_of`` is a hold to be released in the same transaction, whatever comes of this one.
    """

    request_id: str
    org_id: int
    project_id: int
    key_id: int
    model: str
    price_version: int
    amount_nanos: int
    ttl_s: int
    amount_tokens: int = 0
    is_free: bool = False
    idem_key: str | None = None
    idem_body: str | None = None
    instead_of: str | None = None

    def as_row(self) -> dict[str, Any]:
        return {
            "r": self.request_id,
            "org": self.org_id,
            "project": self.project_id,
            "key": self.key_id,
            "model": self.model,
            "pv": self.price_version,
            "amount": self.amount_nanos,
            "tokens": self.amount_tokens,
            "is_free": self.is_free,
            "ttl_s": self.ttl_s,
            "idem": self.idem_key,
            "idem_body": self.idem_body,
        }


@dataclass(frozen=True, slots=True)
class Extension:
    request_id: str
    add_nanos: int
    add_tokens: int = 0

    def as_row(self) -> dict[str, Any]:
        return {"r": self.request_id, "add": self.add_nanos, "tokens": self.add_tokens}


@dataclass(slots=True)
class Closing:
    """How a hold ends; nobody changes it.

    ``charge_nanos`` is the full price; what exceeds the hold is not charged.
    ``counted_input`` and ``counted_output`` are our own counts in tokens, whatever the evidence;
    ``upstream_nanos`` is the provider's charge, None where its cost is not on file.
    ``cache_percent`` is the share of the price that an answer out of the cache costs.
    """

    request_id: str
    act: Act
    usage: Usage = NO_USAGE
    charge_nanos: int = 0
    evidence: Evidence = Evidence.COUNTED
    outcome: Outcome = Outcome.COMPLETED
    provider: str = ""
    first_token_ms: int | None = None
    duration_ms: int | None = None
    counted_input: int | None = None
    counted_output: int | None = None
    upstream_nanos: int | None = None
    cache_percent: int | None = None
    _text: bytes = field(default=b"", init=False, repr=False, compare=False)

    @property
    def text(self) -> bytes:
        """The row as JSON, written once for the journal and for the books."""
        if not self._text:
            self._text = dump_json(self.as_row())
        return self._text

    def as_row(self) -> dict[str, Any]:
        if self.act is not Act.SETTLE:
            return {"r": self.request_id, "act": self.act}
        return {
            "r": self.request_id,
            "act": self.act,
            "buckets": self.usage.as_dict(),
            "charge": self.charge_nanos,
            "evidence": self.evidence,
            "outcome": self.outcome,
            "provider": self.provider,
            "first_token_ms": self.first_token_ms,
            "duration_ms": self.duration_ms,
            "counted_input": self.counted_input,
            "counted_output": self.counted_output,
            "upstream": self.upstream_nanos,
            "cache_percent": self.cache_percent,
        }


def parse_closing(row: Mapping[str, Any]) -> Closing:
    """Return the closing that ``as_row`` wrote, from a journal or from quarantine."""
    if row["act"] != Act.SETTLE:
        return Closing(row["r"], Act(row["act"]))
    return Closing(
        row["r"],
        Act.SETTLE,
        usage=Usage(**row["buckets"]),
        charge_nanos=row["charge"],
        evidence=Evidence(row["evidence"]),
        outcome=Outcome(row["outcome"]),
        provider=row["provider"],
        first_token_ms=row["first_token_ms"],
        duration_ms=row["duration_ms"],
        counted_input=row.get("counted_input"),
        counted_output=row.get("counted_output"),
        upstream_nanos=row.get("upstream"),
        cache_percent=row.get("cache_percent"),
    )


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a hold was refused, as the statement found it. Amounts in nanos."""

    why: str
    facts: dict[str, Any]

    def as_error(self) -> TollgateError:
        """Return the error for the caller: which limit, how much, and what would help."""
        match self.why:
            case "credit":
                return _no_credit(self.facts)
            case "budget":
                return _no_budget(self.facts)
            case "key":
                return UnauthenticatedError(
                    "This API key is revoked or has expired.", code="invalid_api_key"
                )
            case "suspended":
                return ForbiddenError(
                    "This organization is suspended; write to your operator.",
                    code="account_suspended",
                )
            case "duplicate":
                return ConflictError(
                    "A request with this Idempotency-Key is still running; wait for its answer.",
                    headers={"retry-after": "1", "retry-after-ms": "1000"},
                )
            case "reused":
                return IdempotencyReusedError(
                    "This Idempotency-Key was used for another request body; use a new key."
                )
            case "unrecorded":
                return UnavailableError(
                    "The server cannot record new requests at the moment; try again shortly.",
                    headers={"retry-after": "5"},
                )
            case _:
                return UnavailableError(
                    "The request could not be admitted; send it again.",
                    headers={"retry-after": "1"},
                )


def _no_credit(facts: dict[str, Any]) -> TollgateError:
    needed, available = (
        render_usd(facts["needed"], places=6),
        render_usd(facts["available"], places=6),
    )
    return NoCreditError(
        f"Not enough credit: this request needs up to ${needed} and ${available} is available. "
        "Add credit, or lower max_tokens.",
        headers={"x-should-retry": "false"},
        details={
            "level": "organization",
            "needed_usd": needed,
            "available_usd": available,
        },
    )


_ADVERBS = {
    "hour": "hourly",
    "day": "daily",
    "week": "weekly",
    "month": "monthly",
    "lifetime": "lifetime",
}


def _no_budget(facts: dict[str, Any]) -> TollgateError:
    """Say which budget on which level binds, its limit, what is used and when it renews."""
    level, model = facts["level"], facts["model"]
    left = max(0, facts["limit"] - facts["settled"] - facts["held"])
    limit, used, held, needed, available = (
        _amount(facts["unit"], amount, places)
        for amount, places in (
            (facts["limit"], 2),
            (facts["settled"], 6),
            (facts["held"], 6),
            (facts["needed"], 6),
            (left, 6),
        )
    )
    scope = f"this {level} for {model}" if model else f"this {level}"
    renews = f"renews at {facts['renews_at']}" if facts.get("renews_at") else "does not renew"
    return BudgetError(
        f"The {_ADVERBS[facts['period']]} budget of {scope} has no room for this request: limit "
        f"{limit}, used {used}, reserved {held}, so {available} is left and up to {needed} is "
        f"needed. The budget {renews}.",
        code=f"{'organization' if level == 'organization' else 'project'}_spend_limit_exceeded",
        headers={"x-should-retry": "false"},
        details={
            "error_code": "enforced_spend_limit_reached",
            "level": level,
            **({"model": model} if model else {}),
            "period": facts["period"],
            "limit": limit,
            "available": available,
        },
    )


def _amount(unit: str, amount: int, places: int) -> str:
    return f"{amount} tokens" if unit == "tokens" else f"${render_usd(amount, places=places)}"
