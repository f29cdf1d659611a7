"""How much of a stream is held for at first: all of it where tokens may be used unseen."""

from typing import Any

import pytest
from django.db import transaction

from billing.models import Hold
from billing.prices import text_price
from gateway.catalog import CatalogModel, Deployment
from gateway.deployments import change_model
from gateway.estimate import estimate
from gateway.offers import create_model
from tests.calls import chat_body, post, wait_for
from tests.factories import ACTOR, make_tenant
from tests.gateway.dialects import anthropic_asking, asking
from tests.stage import Stage

MOST = 4_096
THINKING: Any = {"thinking": {"type": "enabled", "budget_tokens": 1_024}, "max_tokens": MOST}
ADAPTIVE: Any = {"thinking": {"type": "adaptive"}, "max_tokens": MOST}
LEFT_OUT: Any = {"thinking": {"type": "adaptive", "display": "omitted"}, "max_tokens": MOST}
SILENT: Any = {"thinking": {"type": "disabled"}, "max_tokens": MOST}
PLAIN: Any = {"max_tokens": MOST}


def model(*kinds: str, thinks_unseen: bool = False) -> CatalogModel:
    deployments = [Deployment(1, kind, kind, "", None, *(1, 1, 1, 1, "m")) for kind in kinds]
    return CatalogModel(
        "m", "tollgate", 0, 128_000, MOST, None, deployments, thinks_unseen=thinks_unseen
    )


@pytest.mark.parametrize(
    ("effort", "thinks_unseen", "held"),
    [
        (None, False, 1_024),
        ("high", False, MOST),
        ("none", False, 1_024),
        (None, True, MOST),
        ("high", True, MOST),
        ("none", True, 1_024),
    ],
)
def test_a_stream_to_a_model_that_may_think_unseen_is_held_in_full(
    effort: str | None, held: int, *, thinks_unseen: bool
) -> None:
    fields = {} if effort is None else {"reasoning_effort": effort}
    request = asking.ask(stream=True, max_tokens=MOST, **fields)

    bounds = estimate(request, model("openai", thinks_unseen=thinks_unseen))

    assert (bounds.first_output_tokens, bounds.output_tokens) == (held, MOST)


@pytest.mark.parametrize(
    ("fields", "kinds", "thinks_unseen", "held"),
    [
        (PLAIN, ["openai"], False, 1_024),
        (PLAIN, ["openai"], True, MOST),
        (THINKING, ["anthropic"], False, 1_024),
        (THINKING, ["simulator"], False, 1_024),
        (THINKING, ["anthropic", "openai"], False, MOST),
        (ADAPTIVE, ["anthropic"], False, 1_024),
        (ADAPTIVE, ["openai"], False, MOST),
        (LEFT_OUT, ["anthropic"], False, MOST),
        (ADAPTIVE, ["anthropic"], True, MOST),
        (SILENT, ["openai"], False, 1_024),
        (SILENT, ["openai"], True, MOST),  # such a server is not told of it
        ({**PLAIN, "output_config": {"effort": "high"}}, ["openai"], False, MOST),
        ({**PLAIN, "output_config": {"effort": "high"}}, ["anthropic"], False, 1_024),
    ],
)
def test_thinking_is_seen_by_callers_of_messages_where_all_who_serve_them_show_it(
    fields: Any, kinds: list[str], held: int, *, thinks_unseen: bool
) -> None:
    request = anthropic_asking.ask(stream=True, **fields)

    assert estimate(request, model(*kinds, thinks_unseen=thinks_unseen)).first_output_tokens == held


def test_a_model_that_is_marked_to_think_unseen_has_its_streams_held_in_full(stage: Stage) -> None:
    with transaction.atomic():
        create_model(
            "thinker",
            provider="mock",
            upstream_model="up-1",
            price=text_price(1_000_000_000, 2_000_000_000),
            actor=ACTOR,
        )
        change_model("thinker", {"thinks_unseen": True}, actor=ACTOR)
    seen, unseen, capped = make_tenant("A"), make_tenant("B"), make_tenant("C")
    body = chat_body("thinker", stream=True, mock={"chunks": 1})
    wait_for(lambda: post(stage.api.url, stage.acme.key_text, body).status_code == 200)

    post(stage.api.url, seen.key_text, chat_body(stream=True, mock={"chunks": 1}))
    post(stage.api.url, unseen.key_text, body)
    post(stage.api.url, capped.key_text, {**body, "max_tokens": 2_000})

    held = [Hold.objects.get(org_id=t.org.pk).amount_nanos for t in (seen, unseen, capped)]
    prompt = held[0] - 1_024 * 2_000
    assert 0 < prompt < 50_000
    assert held[1:] == [prompt + 8_192 * 2_000, prompt + 2_000 * 2_000]
