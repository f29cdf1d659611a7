"""The list of models, by pages as this dialect's clients ask for them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import orjson

from gateway.dialects.anthropic.fields import refusal
from gateway.dialects.base import ListedModel
from gateway.dialects.offers import render_offer

MOST_LISTED = 1000
USUALLY_LISTED = 20


def render_model(model: ListedModel) -> bytes:
    """Return one model."""
    return orjson.dumps(_model(model))


def render_models(models: Sequence[ListedModel], query: bytes) -> bytes:
    """Return the page that ``limit``, ``after_id`` and ``before_id`` ask for.

    Raises:
        BadRequestError: for a limit out of range, or an id that is not in the list.

    """
    asked = {
        name: values[-1]
        for name, values in parse_qs(query.decode("latin-1"), keep_blank_values=True).items()
    }
    limit = _limit(asked)
    names = [model.name for model in models]
    if "before_id" in asked:
        end = _place(asked, "before_id", names)
        start = max(0, end - limit)
        has_more = start > 0
    else:
        start = _place(asked, "after_id", names) + 1 if "after_id" in asked else 0
        end = start + limit
        has_more = end < len(models)
    page = [_model(model) for model in models[start:end]]
    return orjson.dumps(
        {
            "data": page,
            "has_more": has_more,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
        }
    )


def _limit(asked: Mapping[str, str]) -> int:
    text = asked.get("limit", str(USUALLY_LISTED))
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MOST_LISTED):  # noqa: PLR2004 # digits of 1000
        raise refusal("limit", f"Input should be between 1 and {MOST_LISTED}")
    return int(text)


def _place(asked: Mapping[str, str], name: str, names: Sequence[str]) -> int:
    if asked[name] not in names:
        raise refusal(name, "There is no such model in this list")
    return names.index(asked[name])


def _model(model: ListedModel) -> dict[str, Any]:
    created_at = datetime.fromtimestamp(model.created, UTC)
    return {
        "type": "model",
        "id": model.name,
        "display_name": model.name,
        "created_at": created_at.isoformat().replace("+00:00", "Z"),
        "lifecycle": "active",
        "max_input_tokens": model.context_tokens,
        "max_tokens": model.max_output_tokens,
        "x_tollgate": render_offer(model),
    }
