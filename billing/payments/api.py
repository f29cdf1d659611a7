"""What programs ask about credit that comes in: top-ups for customers, the provider's webhook."""

from collections.abc import Mapping
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api_views import AdminKeyedView, ProgramView, key_of, read_object
from accounts.models import Organization
from billing.models import AutoTopUp, TopUp
from billing.payments import stripe
from billing.payments.auto import AutoTopUpSpec, end_auto_top_up, set_auto_top_up
from billing.payments.codes import redeem_code
from billing.payments.events import IGNORED, apply_event
from billing.payments.top_ups import start_top_up
from kernel.errors import BadRequestError, InvalidAmountError, NotFoundError, TooLargeError
from kernel.money import parse_usd, render_usd

MOST_EVENT_BYTES = 262_144
MOST_LISTED = 100


class TopUpsView(AdminKeyedView):
    http_method_names = ("get", "head", "post")

    def get(self, request: Request) -> Response:
        after = request.query_params.get("after")
        top_ups = TopUp.objects.filter(org_id=key_of(request).org_id).order_by("-id")
        if after is not None:
            top_ups = top_ups.filter(pk__lt=_access_top_up(key_of(request).org, after).pk)
        rows = list(top_ups[: MOST_LISTED + 1])
        return Response(
            {
                "object": "list",
                "data": [render_top_up(row) for row in rows[:MOST_LISTED]],
                "has_more": len(rows) > MOST_LISTED,
            }
        )

    def post(self, request: Request) -> Response:
        body = read_object(request, known=("amount", "save_card"))
        saves_card = body.get("save_card", False)
        if not isinstance(saves_card, bool):
            raise BadRequestError("save_card is true or false.", param="save_card")
        top_up = start_top_up(
            key_of(request).org,
            read_usd(body, "amount"),
            saves_card=saves_card,
            actor=actor_of(request),
        )
        return Response(render_top_up(top_up))


class TopUpView(AdminKeyedView):
    http_method_names = ("get", "head")

    def get(self, request: Request, public_id: str) -> Response:
        return Response(render_top_up(_access_top_up(key_of(request).org, public_id)))


class AutoTopUpView(AdminKeyedView):
    http_method_names = ("get", "head", "post", "delete")

    def get(self, request: Request) -> Response:
        auto = AutoTopUp.objects.filter(org_id=key_of(request).org_id).first()
        return Response(render_auto_top_up(auto))

    def post(self, request: Request) -> Response:
        body = read_object(request, known=("threshold", "amount", "monthly_cap", "cool_down_s"))
        spec = AutoTopUpSpec(
            read_usd(body, "threshold"),
            read_usd(body, "amount"),
            read_usd(body, "monthly_cap"),
            body.get("cool_down_s", 3600),
        )
        auto = set_auto_top_up(key_of(request).org, spec, actor=actor_of(request))
        return Response(render_auto_top_up(auto))

    def delete(self, request: Request) -> Response:
        auto = end_auto_top_up(key_of(request).org, actor=actor_of(request))
        return Response(render_auto_top_up(auto))


class RedeemView(AdminKeyedView):
    http_method_names = ("post",)

    def post(self, request: Request) -> Response:
        text = read_object(request, known=("code",)).get("code")
        if not isinstance(text, str) or not text:
            raise BadRequestError("Give the code as text.", param="code")
        grant = redeem_code(key_of(request).org, text, actor=actor_of(request))
        return Response(
            {
                "object": "credit",
                "id": grant.pk,
                "kind": grant.kind,
                "amount": render_usd(grant.granted_nanos, places=2),
                "currency": "usd",
                "models": grant.allowed_models,
                "expires_at": None
                if grant.expires_at is None
                else int(grant.expires_at.timestamp()),
            }
        )


class StripeWebhookView(ProgramView):
    """Opened by a signature over the body; nothing else in it is believed."""

    http_method_names: Any = ("post",)
    authentication_classes: Any = ()

    def post(self, request: Request) -> Response:
        body = request.read(MOST_EVENT_BYTES + 1)
        if len(body) > MOST_EVENT_BYTES:
            raise TooLargeError(f"An event has at most {MOST_EVENT_BYTES} bytes.")
        stripe.check_signature(request.headers.get("stripe-signature", ""), body)
        news = stripe.parse_event(body)
        return Response({"outcome": IGNORED if news is None else apply_event(news)})


def actor_of(request: Request) -> str:
    """Return how the audit trail names a key."""
    return f"key {key_of(request).public_id}"


def read_usd(body: Mapping[str, Any], name: str) -> int:
    """Return an amount above zero, given as text.

    Raises:
        BadRequestError: for none, a number, or anything but plain dollars.

    """
    if name not in body:
        raise BadRequestError(
            f'Give {name}, for example "25.00".', code="missing_required_parameter", param=name
        )
    try:
        return parse_usd(body[name], minimum=1)
    except InvalidAmountError as error:
        raise BadRequestError(error.message, param=name) from error


def render_top_up(top_up: TopUp) -> dict[str, Any]:
    is_open = top_up.state == TopUp.State.OPEN
    return {
        "object": "topup",
        "id": top_up.public_id,
        "amount": render_usd(top_up.amount_nanos, places=2),
        "currency": "usd",
        "source": top_up.source,
        "status": top_up.state,
        "checkout_url": top_up.checkout_url or None if is_open else None,
        "failure": top_up.failure or None,
        "returned": render_usd(top_up.returned_nanos, places=2),
        "created_at": int(top_up.created_at.timestamp()),
        "closed_at": None if top_up.closed_at is None else int(top_up.closed_at.timestamp()),
    }


def render_auto_top_up(auto: AutoTopUp | None) -> dict[str, Any]:
    if auto is None:
        return {"object": "auto_topup", "active": False}
    return {
        "object": "auto_topup",
        "active": auto.is_active,
        "threshold": render_usd(auto.threshold_nanos, places=2),
        "amount": render_usd(auto.amount_nanos, places=2),
        "monthly_cap": render_usd(auto.monthly_cap_nanos, places=2),
        "cool_down_s": auto.cool_down_s,
        "failures": auto.failures,
    }


def _access_top_up(org: Organization, public_id: str) -> TopUp:
    top_up = TopUp.objects.filter(org=org, public_id=public_id).first()
    if top_up is None:
        raise NotFoundError("No such top-up.", code="not_found")
    return top_up
