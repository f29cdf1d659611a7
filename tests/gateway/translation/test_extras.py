"""Fields that not every upstream can be told: what is sent, and what is refused by its name."""

from typing import Any

import orjson
import pytest

from gateway.chat import ChatRequest
from gateway.dialects.anthropic import outgoing as to_anthropic
from gateway.dialects.extras import say_extras
from gateway.dialects.openai import outgoing as to_openai
from kernel.errors import NotCarriedError
from tests.gateway.dialects import anthropic_asking, asking

HELLO = {"role": "user", "content": "Hello"}
LONG = {"type": "ephemeral", "ttl": "1h"}
SHORT = {"type": "ephemeral", "ttl": "5m"}
PDF = {"type": "url", "url": "https://example.com/a.pdf"}
DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}


def refusal(request: ChatRequest, upstream: str) -> tuple[str | None, str] | None:
    """Return the field that an upstream of a dialect cannot be told, and what is said of it."""
    try:
        say_extras(request, upstream)
    except NotCarriedError as error:
        return error.param, error.message
    return None


def refused_field(request: ChatRequest, upstream: str) -> str | None:
    found = refusal(request, upstream)
    return None if found is None else found[0]


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("prediction", {"type": "content", "content": "x"}, "A prediction"),
        ("web_search_options", {}, "A web search"),
        ("search_parameters", {"mode": "on"}, "A web search"),
        ("enable_search", True, "A web search"),
        ("search_settings", {"country": "de"}, "A web search"),
        ("plugins", [{"id": "web"}], "A plugin"),
        ("provider", {"order": ["dear"]}, "A choice of hosts"),
        ("fallbacks", ["dear"], "A list of other models"),
        ("audio", {"voice": "a", "format": "mp3"}, "A spoken answer"),
        ("best_of", 3, "The best of several answers"),
        ("service_tier", "priority", "The service tier 'priority'"),
        ("service_tier", "performance", "The service tier 'performance'"),
    ],
)
def test_what_a_provider_bills_beside_the_price_is_sent_to_none(
    field: str, value: Any, what: str
) -> None:
    request = asking.ask(**{field: value})

    expected = (field, f"{what} cannot be sent to this model.")
    assert refusal(request, "openai") == refusal(request, "anthropic") == expected
    with pytest.raises(NotCarriedError):
        to_anthropic.render_request(request, "up-1", 5)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("service_tier", "auto"),
        ("service_tier", "default"),
        ("service_tier", "flex"),
        ("service_tier", None),
        ("prediction", None),
        ("enable_search", False),
        ("prompt_cache_key", "k"),
        ("prompt_cache_retention", "24h"),
        ("store", True),
        ("metadata", {"a": "b"}),
        ("seed", 7),
        ("logit_bias", {"5": 1}),
        ("of_tomorrow", {"x": [1]}),
    ],
)
def test_what_costs_nothing_and_says_nothing_is_left_out(field: str, value: Any) -> None:
    request = asking.ask(**{field: value})

    assert refusal(request, "openai") is None
    assert to_anthropic.render_request(request, "up-1", 5) == to_anthropic.render_request(
        asking.ask(), "up-1", 5
    )


def test_how_wordy_an_answer_is_only_openai_can_be_told() -> None:
    request = asking.ask(verbosity="low")

    assert refusal(request, "openai") is None
    assert refusal(request, "anthropic") == (
        "verbosity",
        "A verbosity cannot be sent to this model.",
    )


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"cache_control": LONG}, "cache_control.ttl"),
        (
            {"system": [{"type": "text", "text": "x", "cache_control": LONG}]},
            "system.0.cache_control.ttl",
        ),
        (
            {"tools": [{**anthropic_asking.WEATHER, "cache_control": LONG}]},
            "tools.0.cache_control.ttl",
        ),
        (
            {
                "messages": [
                    HELLO,
                    {"role": "assistant", "content": [anthropic_asking.CALL]},
                    {
                        "role": "user",
                        "content": [
                            {
                                **anthropic_asking.RESULT,
                                "content": [{"type": "text", "text": "x", "cache_control": LONG}],
                            }
                        ],
                    },
                ]
            },
            "messages.2.content.0.content.0.cache_control.ttl",
        ),
        ({"speed": "fast"}, "speed"),
    ],
)
def test_what_costs_more_at_anthropic_is_refused_there_and_left_out_elsewhere(
    fields: Any, param: str
) -> None:
    request = anthropic_asking.ask(**fields)

    assert refused_field(request, "anthropic") == param
    assert refusal(request, "openai") is None
    said = to_openai.render_request(request, "up-1", 5)
    assert b"1h" not in said
    assert b"speed" not in said


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mcp_servers", [{"type": "url", "url": "https://example.com", "name": "x"}]),
        ("inference_geo", "us"),
    ],
)
def test_what_costs_more_at_anthropic_and_others_cannot_do_is_refused(
    field: str, value: Any
) -> None:
    request = anthropic_asking.ask(**{field: value})

    assert refused_field(request, "anthropic") == field
    assert refused_field(request, "openai") == field


@pytest.mark.parametrize(
    "fields",
    [
        {"cache_control": SHORT},
        {"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]},
        {"speed": "standard"},
        {"inference_geo": "global"},
        {"mcp_servers": []},
        {"service_tier": "auto"},
        {"context_management": {"edits": []}},
        {"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}},
        {"messages": [HELLO, {"role": "assistant", "content": ""}]},
        {"messages": [{"role": "user", "content": [{**DOCUMENT, "citations": {}}]}]},
    ],
)
def test_the_usual_fields_go_everywhere(fields: Any) -> None:
    request = anthropic_asking.ask(**fields)

    assert refusal(request, "anthropic") is None
    assert refusal(request, "openai") is None


@pytest.mark.parametrize(
    ("fields", "param", "what"),
    [
        (
            {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}},
            "context_management",
            "An edit of the context",
        ),
        ({"context_management": {"edits": 1}}, "context_management", "An edit of the context"),
        (
            {"messages": [HELLO, {"role": "assistant", "content": "It is"}]},
            "messages.1",
            "The beginning of an answer",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{**DOCUMENT, "citations": {"enabled": True}}]}
                ]
            },
            "messages.0.content.0.citations",
            "The wish for citations",
        ),
    ],
)
def test_what_would_make_another_answer_is_refused_by_its_path(
    fields: Any, param: str, what: str
) -> None:
    request = anthropic_asking.ask(**fields)

    assert refusal(request, "openai") == (param, f"{what} cannot be sent to this model.")
    assert refusal(request, "anthropic") is None
    with pytest.raises(NotCarriedError):
        to_openai.render_request(request, "up-1", 5)


def test_an_empty_beginning_of_an_answer_is_left_out() -> None:
    messages = [HELLO, {"role": "assistant", "content": ""}]

    body = orjson.loads(
        to_openai.render_request(anthropic_asking.ask(messages=messages), "up-1", 5)
    )

    assert body["messages"] == [HELLO]
