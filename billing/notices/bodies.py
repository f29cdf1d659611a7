"""What is posted to webhooks: ``{type, timestamp, data}``, the same in every attempt."""

from collections.abc import Mapping
from typing import Any

import orjson

from billing.models import OutboxEvent
from kernel.money import render_usd


def render_body(event: OutboxEvent) -> bytes:
    return orjson.dumps(
        {
            "type": event.kind,
            "timestamp": event.created_at.isoformat().replace("+00:00", "Z"),
            "data": {
                "organization": None if event.org is None else event.org.public_id,
                **render_amounts(event.payload),
            },
        }
    )


def render_amounts(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event's fields with nanos as decimal strings of dollars, tokens as numbers.

    A budget's ``used`` and ``limit`` are in its ``unit``, which becomes part of their names.
    """
    shown: dict[str, Any] = {}
    for name, value in payload.items():
        if name == "unit":
            continue
        full = f"{name}_{payload['unit']}" if name in {"used", "limit"} else name
        if full.endswith("_nanos"):
            shown[full.removesuffix("_nanos") + "_usd"] = render_usd(int(value), places=2)
        else:
            shown[full] = int(value) if full.endswith("_tokens") else value
    return shown
