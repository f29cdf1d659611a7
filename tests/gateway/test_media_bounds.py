"""What is no text is held for at the most that a provider may count for it."""

from typing import Any

import pytest

from billing.models import Hold, UsageEvent
from gateway.catalog import CatalogModel, Deployment
from gateway.chat import ChatRequest, Media, Message
from gateway.estimate import Estimate, estimate
from gateway.tokenizer import prompt_upper_bound
from tests.books import assert_proven
from tests.calls import chat_body, post, wait_for
from tests.stage import Stage

CONTEXT = 128_000
PICTURE = "data:image/png;base64,iVBORw0KGgo="


def bounds_of(*media: Media, kind: str = "openai", **fields: Any) -> tuple[Estimate, int]:
    """Return the bounds of a call with these media, and its prompt by our own count."""
    served_by = (Deployment(1, "p", kind, "", None, 20, 20, 20, 20, "m"),)
    model = CatalogModel("m", "tollgate", 0, CONTEXT, 100, None, served_by, **fields)
    request = ChatRequest("m", (Message("user", "Hello", media=media),), {}, max_tokens=100)
    return estimate(request, model), prompt_upper_bound(request)


# The figures are the vendors' own, for the largest input they take.
@pytest.mark.parametrize(
    ("media", "providers_count"),
    [
        (Media("image", PICTURE), 85 + 170 * 8),  # OpenAI: 2,048 x 768 in tiles of 512
        (Media("image", PICTURE), 3_779),  # OpenAI: 1,536 patches at 2.46
        (Media("image", PICTURE), 4_784),  # Anthropic: 2,576 pixels
        (Media("image", PICTURE, detail="low"), 2_833),  # OpenAI: gpt-4o-mini
        (Media("image", PICTURE), 258 * 16),  # Gemini: 3,072 x 3,072 in crops of 768
        (Media("image", PICTURE, detail="original"), 10_000),
        (Media("audio", "data:audio/wav;base64," + "A" * 30_000), 32 * 30),  # Gemini, 1 KB a second
        (Media("video", "https://acme.example.com/film.mp4"), CONTEXT - 200),
        (Media("document", "https://acme.example.com/terms.pdf"), 100 * 1_200),
    ],
)
def test_a_hold_covers_what_providers_count(media: Media, providers_count: int) -> None:
    bounds, counted = bounds_of(media)

    assert bounds.input_tokens >= providers_count
    assert bounds.input_tokens - bounds.uncounted_media_tokens == counted
    assert bounds.total_tokens == counted + 100


def test_no_more_is_held_than_the_context_has_room_for() -> None:
    pictures = [Media("image", PICTURE)] * 100

    assert bounds_of(*pictures)[0].input_tokens == CONTEXT
    assert bounds_of(*pictures, Media("video", "https://a.example.com/"))[0].input_tokens == CONTEXT


def test_the_built_in_model_counts_as_we_do() -> None:
    bounds, counted = bounds_of(Media("image", PICTURE), kind="simulator")

    assert (bounds.input_tokens, bounds.uncounted_media_tokens) == (counted, 0)


def test_a_model_that_counts_more_for_a_picture_says_so() -> None:
    plain, counted = bounds_of(Media("image", PICTURE), picture_tokens=48_169)
    low, _ = bounds_of(Media("image", PICTURE, detail="low"), picture_tokens=48_169)

    assert plain.input_tokens == counted - 765 + 48_169
    assert low.input_tokens == counted - 765 + 48_169


def test_a_picture_that_a_provider_counts_dearly_is_charged_in_full(stage: Stage) -> None:
    parts = [{"type": "image_url", "image_url": {"url": PICTURE}}]
    figures = {"prompt_tokens": 4_000, "completion_tokens": 1}
    body = {
        **chat_body(max_tokens=5, mock={"chunks": 1, "usage": figures}),
        "messages": [{"role": "user", "content": parts}],
    }

    answer = post(stage.api.url, stage.acme.key_text, body)

    assert answer.status_code == 200
    row: UsageEvent = wait_for(UsageEvent.objects.filter(org_id=stage.acme.org.pk).first)
    held = Hold.objects.get(org_id=stage.acme.org.pk).amount_nanos
    assert (row.evidence, row.input) == ("provider", 4_000)
    assert row.amount_nanos == row.list_nanos <= held
    assert_proven(stage.stores.database_url, stage.journals)
