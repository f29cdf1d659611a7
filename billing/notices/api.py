"""Webhook endpoints for customers' programs, with an admin key of the organization."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api_views import AdminKeyedView, key_of, read_object
from billing.models import Delivery, WebhookEndpoint
from billing.notices.endpoints import (
    OVERLAP,
    EndpointSpec,
    MadeEndpoint,
    access_delivery,
    access_endpoint,
    create_endpoint,
    delete_endpoint,
    enable_endpoint,
    endpoints_of,
    resend,
    rotate_secret,
    send_test,
)
from billing.payments.api import actor_of
from kernel.cli import parse_duration
from kernel.errors import BadRequestError

MOST_LISTED = 100


class WebhooksView(AdminKeyedView):
    http_method_names = ("get", "head", "post")

    def get(self, request: Request) -> Response:
        rows = [render_endpoint(each) for each in endpoints_of(key_of(request).org)]
        return Response({"object": "list", "data": rows, "has_more": False})

    def post(self, request: Request) -> Response:
        body = read_object(request, known=("url", "kinds", "description"))
        spec = EndpointSpec(
            _text(body, "url", ""), _texts(body, "kinds"), _text(body, "description", "")
        )
        made = create_endpoint(key_of(request).org, spec, actor=actor_of(request))
        return Response(_render_made(made))


class WebhookView(AdminKeyedView):
    http_method_names = ("get", "head", "delete")

    def get(self, request: Request, public_id: str) -> Response:
        return Response(render_endpoint(_endpoint(request, public_id)))

    def delete(self, request: Request, public_id: str) -> Response:
        delete_endpoint(_endpoint(request, public_id), actor=actor_of(request))
        return Response({"object": "webhook_endpoint", "id": public_id, "deleted": True})


class RotateView(AdminKeyedView):
    http_method_names = ("post",)

    def post(self, request: Request, public_id: str) -> Response:
        body = read_object(request, known=("overlap",)) if request.body else {}
        wanted = _text(body, "overlap", "")
        overlap = parse_duration(wanted) if wanted else OVERLAP
        endpoint = _endpoint(request, public_id)
        return Response(
            _render_made(rotate_secret(endpoint, overlap=overlap, actor=actor_of(request)))
        )


class EnableView(AdminKeyedView):
    http_method_names = ("post",)

    def post(self, request: Request, public_id: str) -> Response:
        endpoint = _endpoint(request, public_id)
        return Response(render_endpoint(enable_endpoint(endpoint, actor=actor_of(request))))


class TestView(AdminKeyedView):
    http_method_names = ("post",)

    def post(self, request: Request, public_id: str) -> Response:
        return Response(render_delivery(send_test(_endpoint(request, public_id))))


class DeliveriesView(AdminKeyedView):
    http_method_names = ("get", "head")

    def get(self, request: Request, public_id: str) -> Response:
        endpoint = _endpoint(request, public_id)
        after = request.query_params.get("after")
        rows = endpoint.deliveries.select_related("event").prefetch_related("tries")
        if after is not None:
            rows = rows.filter(pk__lt=access_delivery(endpoint, after).pk)
        found = list(rows.order_by("-id")[: MOST_LISTED + 1])
        return Response(
            {
                "object": "list",
                "data": [render_delivery(row) for row in found[:MOST_LISTED]],
                "has_more": len(found) > MOST_LISTED,
            }
        )


class ResendView(AdminKeyedView):
    http_method_names = ("post",)

    def post(self, request: Request, public_id: str, delivery_id: str) -> Response:
        delivery = access_delivery(_endpoint(request, public_id), delivery_id)
        return Response(render_delivery(resend(delivery)))


def render_endpoint(endpoint: WebhookEndpoint) -> dict[str, Any]:
    return {
        "object": "webhook_endpoint",
        "id": endpoint.public_id,
        "url": endpoint.url,
        "kinds": endpoint.kinds,
        "description": endpoint.description,
        "status": "enabled" if endpoint.disabled_at is None else "disabled",
        "disabled_why": endpoint.disabled_why or None,
        "failing_since": _seconds(endpoint.failing_since),
        "created_at": _seconds(endpoint.created_at),
    }


def render_delivery(delivery: Delivery) -> dict[str, Any]:
    is_due = delivery.state == Delivery.State.DUE
    return {
        "object": "webhook_delivery",
        "id": delivery.public_id,
        "event": delivery.event.public_id,
        "type": delivery.event.kind,
        "status": delivery.state,
        "created_at": _seconds(delivery.created_at),
        "next_attempt_at": _seconds(delivery.next_at) if is_due else None,
        "attempts": [
            {
                "number": each.number,
                "at": _seconds(each.started_at),
                "status": each.status,
                "duration_ms": each.duration_ms,
                "error": each.error or None,
            }
            for each in sorted(delivery.tries.all(), key=lambda each: each.number)
        ],
    }


def _render_made(made: MadeEndpoint) -> dict[str, Any]:
    return {**render_endpoint(made.endpoint), "secret": made.secret}


def _endpoint(request: Request, public_id: str) -> WebhookEndpoint:
    return access_endpoint(key_of(request).org, public_id)


def _text(body: Mapping[str, Any], name: str, default: str) -> str:
    value = body.get(name, default)
    if not isinstance(value, str):
        raise BadRequestError(f"{name} is text.", param=name)
    return value


def _texts(body: Mapping[str, Any], name: str) -> list[str]:
    values = body.get(name, [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise BadRequestError(f"{name} is a list of texts.", param=name)
    return values


def _seconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp())
