"""Webhook endpoints in the document. All need an admin key."""

from billing.notices.kinds import KINDS
from gateway.dialects.schemas import BOOLEAN, STRING, array_of, nullable, object_of, word
from gateway.openapi.parts import COUNT, SECONDS, Operation, in_path, in_query, ref

_KINDS = word(*(name for name, kind in KINDS.items() if not kind.is_ours))
_ENDPOINT = {
    "object": word("webhook_endpoint"),
    "id": STRING,
    "url": STRING,
    "kinds": array_of(_KINDS),
    "description": STRING,
    "status": word("enabled", "disabled"),
    "disabled_why": nullable(STRING),
    "failing_since": nullable(SECONDS),
    "created_at": SECONDS,
}
_DELIVERY = object_of(
    {
        "object": word("webhook_delivery"),
        "id": STRING,
        "event": STRING,
        "type": STRING,
        "status": word("due", "delivered", "given_up"),
        "created_at": SECONDS,
        "next_attempt_at": nullable(SECONDS),
        "attempts": array_of(
            object_of(
                {
                    "number": COUNT,
                    "at": SECONDS,
                    "status": nullable(COUNT),
                    "duration_ms": nullable(COUNT),
                    "error": nullable(STRING),
                },
                {},
            )
        ),
    },
    {},
)
SCHEMAS = {
    "WebhookRequest": {
        **object_of(
            {"url": {**STRING, "pattern": "^https?://", "description": "A public address."}},
            {"kinds": array_of(_KINDS), "description": {**STRING, "maxLength": 200}},
        ),
        "additionalProperties": False,
    },
    "RotateRequest": {
        **object_of({}, {"overlap": {**STRING, "description": "Such as `24h` or `30m`."}}),
        "additionalProperties": False,
    },
    "Webhook": object_of(_ENDPOINT, {}),
    "Webhooks": object_of(
        {"object": word("list"), "data": array_of(ref("Webhook")), "has_more": BOOLEAN}, {}
    ),
    "MadeWebhook": object_of(
        {**_ENDPOINT, "secret": {**STRING, "description": "Shown this once."}}, {}
    ),
    "DeletedWebhook": object_of(
        {"object": word("webhook_endpoint"), "id": STRING, "deleted": BOOLEAN}, {}
    ),
    "Delivery": _DELIVERY,
    "Deliveries": object_of(
        {"object": word("list"), "data": array_of(ref("Delivery")), "has_more": BOOLEAN}, {}
    ),
}
_READ = (400, 401, 403, 500, 503)
_FOUND = (*_READ, 404)
_WRITE = (*_FOUND, 408, 409, 413)
_ID = in_path("webhook_id", "The endpoint's id.")
_DELIVERY_ID = in_path("delivery_id", "The delivery's id.")
_TAG = "Webhooks"
_ONE = "/v1/organization/webhooks/{webhook_id}"
PATHS = {
    "/v1/organization/webhooks": {
        "get": Operation("listWebhooks", _TAG, "List endpoints", "Webhooks", _READ),
        "post": Operation(
            "createWebhook",
            _TAG,
            "Add an endpoint; its secret is shown once",
            "MadeWebhook",
            _WRITE,
            body="WebhookRequest",
            example={"url": "https://hooks.example.com/tollgate", "kinds": ["topup.paid"]},
        ),
    },
    _ONE: {
        "get": Operation(
            "getWebhook", _TAG, "Find an endpoint", "Webhook", _FOUND, parameters=[_ID]
        ),
        "delete": Operation(
            "deleteWebhook", _TAG, "Remove an endpoint", "DeletedWebhook", _WRITE, parameters=[_ID]
        ),
    },
    f"{_ONE}/rotate": {
        "post": Operation(
            "rotateWebhook",
            _TAG,
            "Make a new secret; the old one signs too for an overlap",
            "MadeWebhook",
            _WRITE,
            body="RotateRequest",
            example={"overlap": "24h"},
            parameters=[_ID],
            needs_body=False,
        )
    },
    f"{_ONE}/enable": {
        "post": Operation(
            "enableWebhook",
            _TAG,
            "Call a disabled endpoint again",
            "Webhook",
            _WRITE,
            parameters=[_ID],
        )
    },
    f"{_ONE}/test": {
        "post": Operation(
            "testWebhook", _TAG, "Send a test event", "Delivery", _WRITE, parameters=[_ID]
        )
    },
    f"{_ONE}/deliveries": {
        "get": Operation(
            "listDeliveries",
            _TAG,
            "List what was sent, newest first",
            "Deliveries",
            _FOUND,
            parameters=[_ID, in_query("after", STRING, "The id of the last one before.")],
        )
    },
    f"{_ONE}/deliveries/{{delivery_id}}/resend": {
        "post": Operation(
            "resendDelivery",
            _TAG,
            "Send it once more",
            "Delivery",
            _WRITE,
            parameters=[_ID, _DELIVERY_ID],
        )
    },
}
