"""Tollgate as its own upstream: what breaks off, what is refused, and what has no words there."""

from typing import Any

import pytest

from billing.models import UsageEvent
from tests.books import assert_proven
from tests.calls import frames
from tests.gateway.translation.chain import Chain
from tests.gateway.translation.pairs import BOTH_WAYS, PAIRS
from tests.gateway.translation.reading import body_of, events, read


@PAIRS
@BOTH_WAYS
def test_an_upstream_that_breaks_off_is_an_error_in_the_callers_dialect(
    chain: Chain, dialect: str, upstream: str, *, streamed: bool
) -> None:
    acme = chain.tenant()
    body = body_of(dialect, f"{upstream}/hacxgpt-faulty", "Tell me a story", streamed=streamed)

    answer = chain.ask(acme, dialect, body)

    if not streamed:
        assert answer.status_code == 502
        assert UsageEvent.objects.filter(org_id=acme.org.pk).count() == 0
        return
    assert answer.status_code == 200
    if dialect == "openai":
        said = frames(answer.text)
        assert (said[-2]["error"]["code"], said[-1]) == ("upstream_error", "[DONE]")
        assert [c for c in said[:-2] if c["choices"][0]["finish_reason"]] == []
    else:
        last = events(answer.text)[-1]
        assert (last["type"], last["error"]["type"]) == ("error", "api_error")
        assert last["request_id"] == answer.headers["request-id"]
        assert "message_stop" not in answer.text
    usage = chain.usage_of(acme)
    assert (usage.outcome, usage.evidence) == ("truncated", "counted")
    assert usage.output > 10
    assert_proven(chain.second.stores.database_url, chain.second.journals)


@PAIRS
@pytest.mark.parametrize("fault", ["broke", "locked-out", "unknown"])
def test_an_upstreams_refusal_of_us_is_never_the_callers_fault(
    chain: Chain, dialect: str, upstream: str, fault: str
) -> None:
    acme = chain.tenant()
    body = body_of(dialect, f"{upstream}/{fault}", "Hello", streamed=True)

    answer = chain.ask(acme, dialect, body)

    assert answer.status_code == 502
    for secret in ("credit", "key", "no-such", "127.0.0.1"):
        assert secret not in answer.json()["error"]["message"]
    assert UsageEvent.objects.filter(org_id=acme.org.pk).count() == 0
    assert_proven(chain.second.stores.database_url, chain.second.journals)


@BOTH_WAYS
def test_a_json_object_that_is_none_is_the_upstreams_fault(chain: Chain, *, streamed: bool) -> None:
    form = {"response_format": {"type": "json_object"}}
    body = body_of("openai", "anthropic/hacxgpt", "Tell me a story", streamed=streamed, **form)

    answer = chain.ask(chain.tenant(), "openai", body)

    if streamed:
        assert frames(answer.text)[-2]["error"]["code"] == "upstream_error"
    else:
        assert answer.status_code == 502


@pytest.mark.parametrize(
    ("dialect", "upstream", "part", "field"),
    [
        (
            "openai",
            "anthropic",
            {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}},
            "messages[1].content[0].video_url",
        ),
        (
            "anthropic",
            "openai",
            {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
            "messages.0.content.0.source",
        ),
    ],
)
def test_what_cannot_go_across_is_refused_by_its_field(
    chain: Chain, dialect: str, upstream: str, part: Any, field: str
) -> None:
    acme = chain.tenant()
    body = body_of(dialect, f"{upstream}/hacxgpt", "x", streamed=False)
    body["messages"][-1]["content"] = [part]

    answer = chain.ask(acme, dialect, body)

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert field in (error.get("param"), error["message"].partition(":")[0])
    assert error.get("code") == ("unsupported_value" if dialect == "openai" else None)
    assert "cannot be sent to this model" in error["message"]
    assert UsageEvent.objects.filter(org_id=acme.org.pk).count() == 0
    assert_proven(chain.second.stores.database_url, chain.second.journals)


@pytest.mark.parametrize(
    ("dialect", "upstream", "field", "value"),
    [
        ("openai", "openai", "service_tier", "priority"),
        ("openai", "openai", "web_search_options", {}),
        ("openai", "openai", "prediction", {"type": "content", "content": "x"}),
        ("openai", "anthropic", "verbosity", "low"),
        ("anthropic", "anthropic", "speed", "fast"),
        ("anthropic", "anthropic", "inference_geo", "us"),
        ("anthropic", "anthropic", "mcp_servers", [{"name": "x"}]),
        ("anthropic", "openai", "context_management", {"edits": [{"type": "clear_tool_uses"}]}),
    ],
)
def test_what_an_upstream_must_not_or_cannot_be_told_is_refused_and_nothing_moves(
    chain: Chain, dialect: str, upstream: str, field: str, value: Any
) -> None:
    acme = chain.tenant()
    body = body_of(dialect, f"{upstream}/hacxgpt", "x", streamed=True, **{field: value})

    answer = chain.ask(acme, dialect, body)

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert field in (error.get("param"), error["message"].partition(":")[0])
    assert "cannot be sent to this model" in error["message"]
    assert UsageEvent.objects.filter(org_id=acme.org.pk).count() == 0
    assert_proven(chain.second.stores.database_url, chain.second.journals)


def test_what_the_first_provider_has_no_words_for_the_next_may_answer(chain: Chain) -> None:
    acme = chain.tenant()
    body = body_of("anthropic", "both", "x", streamed=False)
    source = {"type": "url", "url": "https://example.com/a.pdf"}
    body["messages"][-1]["content"] = [{"type": "document", "source": source}]

    said = read("anthropic", chain.ask(acme, "anthropic", body), streamed=False)

    assert said["text"].startswith("I have received 1 document.")
    assert chain.usage_of(acme).provider == "anthropic/hacxgpt"


def test_a_field_the_upstream_finds_fault_with_is_named_in_the_same_dialect(chain: Chain) -> None:
    acme = chain.tenant()
    schema = {"type": "object", "properties": {"n": {"type": "string", "pattern": "("}}}
    form = {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    body = body_of("anthropic", "anthropic/hacxgpt", "x", streamed=False, **form)

    answer = chain.ask(acme, "anthropic", body)

    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == (
        "output_config.format.schema: The model's provider did not accept this request."
    )
