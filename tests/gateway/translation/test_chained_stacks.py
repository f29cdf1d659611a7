"""Tollgate as its own upstream, in all four pairs of dialects."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from anthropic import Anthropic
from openai import OpenAI

from billing.models import UsageEvent
from tests.books import assert_proven
from tests.calls import frames, text_of, wait_for
from tests.gateway.dialects import asking as openai
from tests.gateway.dialects.anthropic_asking import WEATHER
from tests.gateway.translation.chain import Chain, open_chain

WEATHER_TOOL: Any = WEATHER
OPENAI_TOOL: Any = openai.WEATHER
PAIRS = pytest.mark.parametrize(
    ("dialect", "upstream"),
    [
        ("openai", "openai"),
        ("openai", "anthropic"),
        ("anthropic", "openai"),
        ("anthropic", "anthropic"),
    ],
)
BOTH_WAYS = pytest.mark.parametrize("streamed", [False, True])
ACROSS = pytest.mark.parametrize(
    ("dialect", "upstream"), [("openai", "anthropic"), ("anthropic", "openai")]
)


@pytest.fixture(scope="module")
def chain(django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with open_chain(django_db_blocker, tmp_path_factory.mktemp("chain")) as opened:
        yield opened


def body_of(dialect: str, model: str, text: str, *, streamed: bool, **fields: Any) -> Any:
    """The same question in either dialect."""
    messages: list[Any] = [{"role": "user", "content": text}]
    body: dict[str, Any] = {"model": model, "stream": streamed, **fields}
    if dialect == "openai":
        system: list[Any] = [{"role": "system", "content": "You are a helpful assistant."}]
        return {"messages": [*system, *messages], **body}
    return {
        "system": "You are a helpful assistant.",
        "messages": messages,
        "max_tokens": 1024,
        **body,
    }


def events(text: str) -> list[dict[str, Any]]:
    """Parse an Anthropic stream; each event's name is its type."""
    found = []
    for frame in text.split("\n\n"):
        if frame:
            name, data = frame.split("\n")
            event = json.loads(data.removeprefix("data: "))
            assert name == f"event: {event['type']}"
            found.append(event)
    return found


def read(dialect: str, answer: Any, *, streamed: bool) -> dict[str, Any]:
    """Return what an answer says: its text, its thinking, its calls, why it ended."""
    assert answer.status_code == 200, answer.text
    if dialect == "openai":
        return read_openai(answer, streamed=streamed)
    return read_anthropic(answer, streamed=streamed)


def read_openai(answer: Any, *, streamed: bool) -> dict[str, Any]:
    if not streamed:
        choice = answer.json()["choices"][0]
        message = choice["message"]
        calls = message.get("tool_calls", [])
        return {
            "text": message["content"] or "",
            "thinking": message.get("reasoning_content", ""),
            "calls": [
                (call["function"]["name"], json.loads(call["function"]["arguments"]))
                for call in calls
            ],
            "end": choice["finish_reason"],
        }
    said = frames(answer.text)
    assert said[-1] == "[DONE]"
    deltas = [chunk["choices"][0]["delta"] for chunk in said[:-1] if chunk["choices"]]
    names: list[str] = []
    arguments: list[str] = []
    for delta in deltas:
        for call in delta.get("tool_calls", []):
            if "name" in call["function"]:
                names.append(call["function"]["name"])
                arguments.append("")
            assert call["index"] == len(names) - 1
            arguments[-1] += call["function"]["arguments"]
    ends = [c["choices"][0]["finish_reason"] for c in said[:-1] if c["choices"]]
    assert [end for end in ends[:-1] if end] == []
    return {
        "text": text_of(said),
        "thinking": "".join(delta.get("reasoning_content", "") for delta in deltas),
        "calls": [(name, json.loads(text)) for name, text in zip(names, arguments, strict=True)],
        "end": ends[-1],
    }


def read_anthropic(answer: Any, *, streamed: bool) -> dict[str, Any]:
    message = answer.json() if not streamed else _accumulate(events(answer.text))
    blocks = message["content"]
    return {
        "text": "".join(block["text"] for block in blocks if block["type"] == "text"),
        "thinking": "".join(b["thinking"] for b in blocks if b["type"] == "thinking"),
        "calls": [(b["name"], b["input"]) for b in blocks if b["type"] == "tool_use"],
        "end": message["stop_reason"],
    }


def _accumulate(said: list[dict[str, Any]]) -> dict[str, Any]:
    message: dict[str, Any] = said[0]["message"]
    assert message["usage"]["input_tokens"] > 0
    is_open = False
    for event in said[1:]:
        match event["type"]:
            case "content_block_start":
                assert not is_open
                assert event["index"] == len(message["content"])
                is_open, pieces = True, [""]
                message["content"].append(event["content_block"])
            case "content_block_delta":
                block, delta = message["content"][event["index"]], event["delta"]
                name = delta["type"].removesuffix("_delta")
                if name == "input_json":
                    pieces.append(delta["partial_json"])
                else:
                    block[name] += delta[name]
            case "content_block_stop":
                is_open = False
                if message["content"][-1]["type"] == "tool_use":
                    message["content"][-1]["input"] = json.loads("".join(pieces) or "{}")
            case "message_delta":
                message |= event["delta"]
                message["usage"] |= event["usage"]
            case _:
                pass
    assert [event["type"] for event in said[-2:]] == ["message_delta", "message_stop"]
    assert not is_open
    return message


@PAIRS
@BOTH_WAYS
def test_a_question_is_answered_and_metered_alike(
    chain: Chain, dialect: str, upstream: str, *, streamed: bool
) -> None:
    acme = chain.tenant()
    body = body_of(
        dialect, f"{upstream}/hacxgpt", "What is the capital of France?", streamed=streamed
    )

    said = read(dialect, chain.ask(acme, dialect, body), streamed=streamed)

    assert said["text"] == "The capital of France is Paris."
    assert said["end"] == ("stop" if dialect == "openai" else "end_turn")
    usage = chain.usage_of(acme)
    assert (usage.input, usage.output, usage.reasoning) == (25, 7, 0)
    assert (usage.evidence, usage.outcome) == ("provider", "completed")
    assert_proven(chain.second.stores.database_url, chain.second.journals)


@PAIRS
@BOTH_WAYS
def test_a_limit_cuts_and_the_reason_is_translated(
    chain: Chain, dialect: str, upstream: str, *, streamed: bool
) -> None:
    body = body_of(
        dialect, f"{upstream}/hacxgpt", "Tell me a story", streamed=streamed, max_tokens=5
    )

    said = read(dialect, chain.ask(chain.tenant(), dialect, body), streamed=streamed)

    assert said["end"] == ("length" if dialect == "openai" else "max_tokens")
    assert len(said["text"]) > 5


@PAIRS
@BOTH_WAYS
def test_tools_are_called_and_their_results_read(
    chain: Chain, dialect: str, upstream: str, *, streamed: bool
) -> None:
    acme, model = chain.tenant(), f"{upstream}/hacxgpt"
    tools = [openai.WEATHER] if dialect == "openai" else [WEATHER]
    question = "What is the weather in Paris and London?"
    body = body_of(dialect, model, question, streamed=streamed, tools=tools)

    said = read(dialect, chain.ask(acme, dialect, body), streamed=streamed)

    assert said["calls"] == [
        ("get_weather", {"location": "Paris"}),
        ("get_weather", {"location": "London"}),
    ]
    assert said["end"] == ("tool_calls" if dialect == "openai" else "tool_use")
    assert said["text"] == ""
    body["messages"] += _results(dialect)
    answered = read(dialect, chain.ask(acme, dialect, body), streamed=streamed)
    assert answered["text"] == "Here is what I found: 12 degrees"


def _results(dialect: str) -> list[Any]:
    if dialect == "openai":
        return [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [openai.CALL, {**openai.CALL, "id": "call_2"}],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "15 degrees"},
            {"role": "tool", "tool_call_id": "call_2", "content": "12 degrees"},
        ]
    call = {"type": "tool_use", "name": "get_weather", "input": {"location": "Paris"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "15 degrees"}
    return [
        {"role": "assistant", "content": [{**call, "id": "toolu_1"}, {**call, "id": "toolu_2"}]},
        {
            "role": "user",
            "content": [result, {**result, "tool_use_id": "toolu_2", "content": "12 degrees"}],
        },
    ]


@PAIRS
@BOTH_WAYS
def test_thinking_is_shown_and_metered_in_its_own_bucket(
    chain: Chain, dialect: str, upstream: str, *, streamed: bool
) -> None:
    acme = chain.tenant()
    wish: dict[str, Any] = {"reasoning_effort": "low"}
    if dialect == "anthropic":
        wish = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2048}
    body = body_of(dialect, f"{upstream}/hacxgpt", "What is 2+2?", streamed=streamed, **wish)

    said = read(dialect, chain.ask(acme, dialect, body), streamed=streamed)

    assert said["thinking"].startswith('The last message says: "What is 2+2?".')
    assert said["text"] == "2+2 equals 4."
    usage = chain.usage_of(acme)
    assert (usage.output, usage.reasoning) == (6, 33)


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


@ACROSS
@BOTH_WAYS
def test_a_picture_goes_across(
    chain: Chain, dialect: str, upstream: str, *, streamed: bool
) -> None:
    body = body_of(dialect, f"{upstream}/hacxgpt", "What is this?", streamed=streamed)
    picture: Any = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    document: Any = {
        "type": "file",
        "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"},
    }
    if dialect == "anthropic":
        source = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
        picture = {"type": "image", "source": source}
        source = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
        document = {"type": "document", "source": source}
    text = {"type": "text", "text": "What is this?"}
    body["messages"][-1]["content"] = [picture, text, document]

    said = read(dialect, chain.ask(chain.tenant(), dialect, body), streamed=streamed)

    assert said["text"].startswith("I have received 1 image and 1 document.")


@ACROSS
@BOTH_WAYS
def test_structured_output_goes_across(
    chain: Chain, dialect: str, upstream: str, *, streamed: bool
) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    form: dict[str, Any] = {
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    }
    if dialect == "anthropic":
        form = {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    body = body_of(dialect, f"{upstream}/hacxgpt", "A number?", streamed=streamed, **form)

    said = read(dialect, chain.ask(chain.tenant(), dialect, body), streamed=streamed)

    assert list(json.loads(said["text"])) == ["n"]


@BOTH_WAYS
def test_a_json_object_that_is_none_is_the_upstreams_fault(chain: Chain, *, streamed: bool) -> None:
    form = {"response_format": {"type": "json_object"}}
    body = body_of("openai", "anthropic/hacxgpt", "Tell me a story", streamed=streamed, **form)

    answer = chain.ask(chain.tenant(), "openai", body)

    if streamed:
        assert frames(answer.text)[-2]["error"]["code"] == "upstream_error"
    else:
        assert answer.status_code == 502


@BOTH_WAYS
def test_more_stop_sequences_than_the_upstream_takes_are_cut_here(
    chain: Chain, *, streamed: bool
) -> None:
    acme = chain.tenant()
    stops = {"stop_sequences": ["never", "ever", "and", "never again", " 4, 5"]}
    body = body_of("anthropic", "openai/hacxgpt", "Count from 1 to 30.", streamed=streamed, **stops)

    answer = chain.ask(acme, "anthropic", body)

    said = read("anthropic", answer, streamed=streamed)
    assert (said["text"], said["end"]) == ("1, 2, 3,", "stop_sequence")
    assert '"stop_sequence":" 4, 5"' in answer.text
    usage = chain.usage_of(acme)
    assert (usage.evidence, usage.output) == ("counted", 6)


@BOTH_WAYS
def test_several_choices_are_several_calls_and_one_usage(chain: Chain, *, streamed: bool) -> None:
    acme = chain.tenant()
    body = body_of("openai", "anthropic/hacxgpt", "What is 2+2?", streamed=streamed, n=3)

    answer = chain.ask(acme, "openai", body)

    assert answer.text.count('"finish_reason":"stop"') == 3
    usage = chain.usage_of(acme)
    assert (usage.output, usage.evidence) == (3 * 6, "provider")
    wait_for(lambda: UsageEvent.objects.filter(org_id=acme.org.pk).count() == 1)


@pytest.mark.parametrize(
    ("dialect", "upstream", "part", "field"),
    [
        (
            "openai",
            "anthropic",
            {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}},
            "messages[1].content",
        ),
        (
            "anthropic",
            "openai",
            {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
            "messages",
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


@pytest.mark.parametrize("upstream", ["openai", "anthropic"])
def test_the_official_clients_accumulate_translated_streams(chain: Chain, upstream: str) -> None:
    acme, url = chain.tenant(), chain.second.api.url
    question: Any = [{"role": "user", "content": "What is the weather in Paris and London?"}]
    with Anthropic(api_key=acme.key_text, base_url=url + "/anthropic").messages.stream(
        model=f"{upstream}/hacxgpt", max_tokens=500, messages=question, tools=[WEATHER_TOOL]
    ) as messages:
        message = messages.get_final_message()
    with OpenAI(api_key=acme.key_text, base_url=url + "/v1").chat.completions.stream(
        model=f"{upstream}/hacxgpt",
        messages=question,
        tools=[OPENAI_TOOL],
        stream_options={"include_usage": True},
    ) as chunks:
        completion = chunks.get_final_completion()

    cities = [{"location": "Paris"}, {"location": "London"}]
    assert [block.input for block in message.content if block.type == "tool_use"] == cities
    calls = completion.choices[0].message.tool_calls or []
    assert [json.loads(call.function.arguments) for call in calls] == cities
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == message.usage.input_tokens
    assert completion.usage.completion_tokens == message.usage.output_tokens
