"""Stripe, and the only file that knows it: what we ask of it, and what its webhooks say.

Asked over its form-encoded API, every request under one deadline and with the top-up's id as its
idempotency key, so that asking again after a lost answer changes nothing
(https://docs.stripe.com/api/idempotent_requests: kept for at least 24 hours). Events are believed
by their signature alone (https://docs.stripe.com/webhooks#verify-manually).
"""

import asyncio
import hashlib
import hmac
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
from django.conf import settings

from billing.models import TopUp
from kernel import clock
from kernel.errors import BadRequestError, TollgateError, UnavailableError, UpstreamError
from kernel.log import logger
from kernel.money import NANOS_PER_CENT

VERSION = "2024-06-20"
TOLERANCE_S = 300
DEADLINE_S = 10
MOST_ANSWER_BYTES = 262_144
# Asking waits in a thread of a process that has few for its readers.
MOST_AT_ONCE = 4
HTTP_DECLINED = 402
_HEX_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_ID = re.compile(r"[A-Za-z0-9_]{1,120}", re.ASCII)
_asking = threading.BoundedSemaphore(MOST_AT_ONCE)
log = logger(__name__)


class PaymentsOffError(BadRequestError):
    default_code = "payments_off"


class DeclinedError(TollgateError):
    """The payment was refused for good; ``code`` is the provider's."""

    http_status = 402
    kind = "insufficient_quota"
    default_code = "card_declined"


class News(StrEnum):
    """What an event says."""

    PAID = "paid"
    FAILED = "failed"
    EXPIRED = "expired"
    DECLINED = "declined"
    REFUNDED = "refunded"
    DISPUTED = "disputed"


# What we listen to: what it says, and which field has the amount.
_EVENTS = {
    "checkout.session.completed": (News.PAID, "amount_total"),
    "checkout.session.async_payment_succeeded": (News.PAID, "amount_total"),
    "checkout.session.async_payment_failed": (News.FAILED, "amount_total"),
    "checkout.session.expired": (News.EXPIRED, "amount_total"),
    "payment_intent.succeeded": (News.PAID, "amount_received"),
    "payment_intent.payment_failed": (News.DECLINED, "amount"),
    "payment_intent.canceled": (News.DECLINED, "amount"),
    "charge.refunded": (News.REFUNDED, "amount_refunded"),
    "charge.dispute.created": (News.DISPUTED, "amount"),
}


@dataclass(frozen=True, slots=True)
class PaymentNews:
    """One event in our words. ``top_up_id`` is "" for what is not ours or does not say.

    ``amount_nanos`` None is an amount that cannot be read. ``REFUNDED`` amounts are totals of a
    payment so far, ``DISPUTED`` ones add up.
    """

    event_id: str
    kind: News
    top_up_id: str = ""
    payment_intent: str = ""
    amount_nanos: int | None = None
    currency: str = ""
    customer: str = ""
    payment_method: str = ""


@dataclass(frozen=True, slots=True)
class Checkout:
    id: str
    url: str


@dataclass(frozen=True, slots=True)
class Charge:
    """A payment as the provider has it now; ``is_over`` says that it never will be paid."""

    payment_intent: str
    is_paid: bool
    is_over: bool
    amount_nanos: int | None
    currency: str


def are_payments_on() -> bool:
    return bool(settings.STRIPE_SECRET_KEY and settings.STRIPE_WEBHOOK_SECRET)


def check_payments_on() -> None:
    """Refuse, at every door, while there is no payment provider."""
    if not are_payments_on():
        raise PaymentsOffError(
            "Payments are switched off here; ask the operator for credit or redeem a code."
        )


def open_checkout(top_up: TopUp) -> Checkout:
    """Have a page made where the top-up can be paid; asked again, the same page.

    Raises:
        UpstreamError, UnavailableError: when the provider does not answer, or refuses.

    """
    form = {
        "mode": "payment",
        "client_reference_id": top_up.org.public_id,
        "metadata[top_up]": top_up.public_id,
        "payment_intent_data[metadata][top_up]": top_up.public_id,
        "line_items[0][quantity]": "1",
        "line_items[0][price_data][currency]": "usd",
        "line_items[0][price_data][unit_amount]": str(top_up.amount_nanos // NANOS_PER_CENT),
        "line_items[0][price_data][product_data][name]": "API credit",
        "success_url": f"{settings.PUBLIC_WEB_URL}/",
        "cancel_url": f"{settings.PUBLIC_WEB_URL}/",
    }
    if top_up.saves_card:
        form["customer_creation"] = "always"
        form["payment_intent_data[setup_future_usage]"] = "off_session"
    answer = _ask("POST", "/v1/checkout/sessions", form, idem_key=top_up.public_id)
    return Checkout(_id(answer.get("id")), _text(answer.get("url"), 4000))


def charge_saved_card(top_up: TopUp) -> Charge:
    """Charge the saved card for a top-up without its owner there; asked again, the same charge.

    Raises:
        DeclinedError: when it was refused for good.
        UpstreamError, UnavailableError: when nobody knows; ask again within 24 hours.

    """
    form = {
        "amount": str(top_up.amount_nanos // NANOS_PER_CENT),
        "currency": "usd",
        "customer": top_up.customer,
        "payment_method": top_up.payment_method,
        "off_session": "true",
        "confirm": "true",
        "error_on_requires_action": "true",
        "metadata[top_up]": top_up.public_id,
    }
    return _charge(_ask("POST", "/v1/payment_intents", form, idem_key=top_up.public_id))


def read_charge(payment_intent: str) -> Charge:
    """Return how a payment stands that was still under way.

    Raises:
        UpstreamError, UnavailableError: when the provider does not answer.

    """
    return _charge(_ask("GET", f"/v1/payment_intents/{quote(payment_intent, safe='')}", {}))


def check_signature(header: str, body: bytes) -> None:
    """Refuse an event that is not signed with the webhook's secret, now.

    Raises:
        PaymentsOffError: without a secret: under an empty one anybody could sign.
        BadRequestError: for any other fault of the signature, all alike.

    """
    check_payments_on()
    times = [value for name, value in _pairs(header) if name == "t"]
    signatures = [value for name, value in _pairs(header) if name == "v1"]
    bad = BadRequestError("The signature is wrong.", code="invalid_signature")
    if len(times) != 1 or not re.fullmatch(r"\d{1,12}", times[0], re.ASCII):
        raise bad
    secret = settings.STRIPE_WEBHOOK_SECRET.encode()
    due = hmac.new(secret, times[0].encode() + b"." + body, hashlib.sha256).hexdigest()
    # every signature is compared, each in constant time
    matches = [hmac.compare_digest(due, s) for s in signatures if _HEX_SHA256.fullmatch(s)]
    if not any(matches) or abs(clock.now_s() - int(times[0])) > TOLERANCE_S:
        raise bad


def parse_event(body: bytes) -> PaymentNews | None:
    """Return what a signed event says, or None for one that is nothing to us.

    Raises:
        BadRequestError: when it is no event.

    """
    try:
        event = orjson.loads(body)
        event_id, kind = _id(event["id"]), _text(event["type"], 120)
        about = event["data"]["object"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise BadRequestError("The body is not an event.") from error
    if not event_id or not isinstance(about, dict):
        raise BadRequestError("The body is not an event.")
    if kind not in _EVENTS:
        return None
    if kind == "checkout.session.completed" and about.get("payment_status") != "paid":
        return None  # some methods pay later; another event says so then
    news, amount = _EVENTS[kind]
    return _news(event_id, news, about, amount)


def _news(event_id: str, kind: News, about: dict[str, Any], amount: str) -> PaymentNews:
    metadata = about.get("metadata")
    is_intent = about.get("object") == "payment_intent"
    return PaymentNews(
        event_id,
        kind,
        _id(metadata.get("top_up")) if isinstance(metadata, dict) else "",
        _id(about.get("id" if is_intent else "payment_intent")),
        _nanos(about.get(amount)),
        _text(about.get("currency"), 8),
        _id(about.get("customer")),
        _id(about.get("payment_method")),
    )


def _charge(answer: Mapping[str, Any]) -> Charge:
    status, intent = answer.get("status"), _id(answer.get("id"))
    if not intent:
        raise UpstreamError("The payment provider's answer cannot be read; try again.")
    return Charge(
        intent,
        is_paid=status == "succeeded",
        is_over=status in {"canceled", "requires_payment_method", "requires_action"},
        amount_nanos=_nanos(answer.get("amount_received")),
        currency=_text(answer.get("currency"), 8),
    )


def _ask(
    method: str, path: str, form: Mapping[str, str], *, idem_key: str | None = None
) -> dict[str, Any]:
    """Ask once. What may have happened unseen is an error to be asked again under the same key."""
    check_payments_on()
    if not _asking.acquire(blocking=False):
        raise UnavailableError(
            "The payment provider is being asked a lot; try again.", headers={"retry-after": "2"}
        )
    try:
        status, body = asyncio.run(_exchange(method, path, form, idem_key))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        log.warning("payment_provider_unreachable", error=type(error).__name__)
        raise UpstreamError("The payment provider does not answer; try again.") from error
    finally:
        _asking.release()
    return _read_answer(status, body)


async def _exchange(
    method: str, path: str, form: Mapping[str, str], idem_key: str | None
) -> tuple[int, bytes]:
    headers = {
        "authorization": f"Bearer {settings.STRIPE_SECRET_KEY}",
        "stripe-version": VERSION,
    }
    if idem_key is not None:
        headers["idempotency-key"] = idem_key
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.request(
            method,
            settings.STRIPE_API_URL.rstrip("/") + path,
            data=form or None,
            headers=headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=DEADLINE_S),
        ) as answer,
    ):
        return answer.status, await _read_bounded(answer.content)


async def _read_bounded(stream: aiohttp.StreamReader) -> bytes:
    """Return the answer; of one that is too long only the beginning, which is no JSON then."""
    parts, size = [], 0
    async for part in stream.iter_chunked(16_384):
        parts.append(part)
        size += len(part)
        if size > MOST_ANSWER_BYTES:
            break
    return b"".join(parts)


def _read_answer(status: int, body: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if status == 200 and isinstance(answer, dict):  # noqa: PLR2004 # HTTP
        return answer
    error = answer.get("error") if isinstance(answer, dict) else None
    fault = error if isinstance(error, dict) else {}
    code = _text(fault.get("decline_code") or fault.get("code"), 60) or "card_declined"
    if status == HTTP_DECLINED:
        raise DeclinedError(f"The payment was declined ({code}).", code=code)
    # its sentence may repeat what we sent; its code does not
    log.error("payment_provider_refused", status=status, code=code)
    raise UpstreamError("The payment provider refused to answer; try again.")


def _pairs(header: str) -> list[tuple[str, str]]:
    split = (part.partition("=") for part in header[:4096].split(","))
    return [(name.strip(), value.strip()) for name, _, value in split]


def _nanos(cents: object) -> int | None:
    """Return an amount in nanos; None for what is no amount of cents in range."""
    if type(cents) is not int or not 0 <= cents <= 99_999_999:  # noqa: PLR2004 # Stripe's largest
        return None
    return cents * NANOS_PER_CENT


def _text(value: object, width: int) -> str:
    return value[:width] if isinstance(value, str) else ""


def _id(value: object) -> str:
    return value if isinstance(value, str) and _ID.fullmatch(value) else ""
