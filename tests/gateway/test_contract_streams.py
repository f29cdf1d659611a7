"""The wire contract of streams, on live paths: frames, their order, and what they add up to.

Every kind of answer is asked for as a stream and whole; both must say the same.
"""

from typing import Any

import jsonschema_rs
import orjson
import pytest
import requests

from gateway.openapi import build_document
from tests.calls import post
from tests.gateway.dialects.anthropic_asking import WEATHER as ANTHROPICS_WEATHER
from tests.gateway.dialects.asking import WEATHER
from tests.stage import Stage

DOCUMENT = build_document()
STORY = [{"role": "user", "content": "Tell me a story"}]
ASKS_WEATHER = [{"role": "user", "content": "What is the weather in San Francisco?"}]
SCHEMA = {
    "type": "object",
    "properties": {"color": {"enum": ["red", "green"]}, "count": {"type": "integer"}},
    "required": ["color", "count"],
}
FUNCTION: Any = WEATHER["function"]
CHATS: dict[str, dict[str, Any]] = {
    "text": {"messages": STORY},
    "seeded": {"messages": STORY, "seed": -7, "temperature": 2},
    "cut": {"messages": STORY, "max_tokens": 5},
    "stopped": {"messages": STORY, "stop": [" the", "."]},
    "several": {"messages": STORY, "n": 3, "max_completion_tokens": 9},
    "call": {"messages": ASKS_WEATHER, "tools": [WEATHER]},
    "demanded": {"messages": STORY, "tools": [WEATHER], "tool_choice": "required"},
    "function": {"messages": ASKS_WEATHER, "functions": [FUNCTION]},
    "json": {"messages": STORY, "response_format": {"type": "json_object"}},
    "schema": {
        "messages": STORY,
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}},
    },
    "thinking": {"messages": STORY, "reasoning_effort": "high"},
    "odds": {"messages": STORY, "logprobs": True, "top_logprobs": 2, "max_tokens": 8},
}


def ask(stage: Stage, path: str, body: dict[str, Any]) -> requests.Response:
    answer = post(
        stage.api.url,
        stage.acme.key_text,
        {"model": "hacxgpt", **body},
        path=path,
        **{"accept-encoding": "gzip, deflate, br, zstd"},
    )
    assert answer.status_code == 200, answer.text
    return answer


def check(schema: str, value: Any) -> None:
    whole = {**DOCUMENT["components"]["schemas"][schema], "components": DOCUMENT["components"]}
    jsonschema_rs.Draft202012Validator(whole).validate(value)


def assert_stream_headers(answer: requests.Response) -> None:
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert "content-length" not in answer.headers
    assert "content-encoding" not in answer.headers
    assert answer.headers["x-request-id"].startswith("req_")


def chunks_of(answer: requests.Response) -> list[dict[str, Any]]:
    """Return the chunks of a chat stream, whose frames are as the contract wants them."""
    assert_stream_headers(answer)
    assert b"\r" not in answer.content
    assert answer.content.endswith(b"\n\n")
    frames = answer.content.removesuffix(b"\n\n").split(b"\n\n")
    assert frames.pop() == b"data: [DONE]"
    assert all(frame.startswith(b"data: ") and b"\n" not in frame for frame in frames)
    return [orjson.loads(frame.removeprefix(b"data: ")) for frame in frames]


def gathered(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add up a stream's choices as clients do, and check each one's order."""
    choices: list[dict[str, Any]] = []
    for chunk in chunks:
        for choice in chunk["choices"]:
            assert choice["index"] <= len(choices), "a lower choice comes first"
            delta = choice["delta"]
            if choice["index"] == len(choices):
                assert delta.pop("role") == "assistant"
                assert set(delta) == {"content"}
                assert choice["finish_reason"] is None
                message = {"role": "assistant", "content": delta["content"], "refusal": None}
                choices.append({"message": message, "odds": [], "end": None})
                continue
            _add(choices[choice["index"]], choice)
    return choices


def _add(gathering: dict[str, Any], choice: dict[str, Any]) -> None:
    assert gathering["end"] is None, "nothing comes after the end of a choice"
    gathering["end"] = choice["finish_reason"]
    message, delta = gathering["message"], choice["delta"]
    assert "role" not in delta
    assert delta.get("content", "") is not None
    assert (delta == {}) is (choice["finish_reason"] is not None)
    for name in ("content", "reasoning_content"):
        if name in delta:
            message[name] = (message.get(name) or "") + delta[name]
    gathering["odds"] += (choice["logprobs"] or {}).get("content") or []
    if "function_call" in delta:
        call = message.setdefault("function_call", {"name": "", "arguments": ""})
        call["name"] += delta["function_call"].get("name", "")
        call["arguments"] += delta["function_call"]["arguments"]
    for piece in delta.get("tool_calls", []):
        calls = message.setdefault("tool_calls", [])
        if piece["index"] == len(calls):
            assert piece["function"]["arguments"] == ""
            calls.append({"id": piece["id"], "type": piece["type"], "function": piece["function"]})
        else:
            assert set(piece) == {"index", "function"}
            assert set(piece["function"]) == {"arguments"}
            calls[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]


def without_ids(message: dict[str, Any]) -> dict[str, Any]:
    if "tool_calls" not in message:
        return message
    assert all(call["id"].startswith("call_") for call in message["tool_calls"])
    return {**message, "tool_calls": [{**call, "id": ""} for call in message["tool_calls"]]}


@pytest.mark.parametrize("kind", CHATS)
def test_a_chat_stream_keeps_its_order_and_adds_up_to_the_whole_answer(
    stage: Stage, kind: str
) -> None:
    path = "/v1/chat/completions"
    whole = ask(stage, path, CHATS[kind]).json()
    body = {**CHATS[kind], "stream": True, "stream_options": {"include_usage": True}}

    *chunks, last = chunks_of(ask(stage, path, body))

    for chunk in (*chunks, last):
        check("ChatCompletionChunk", chunk)
        for name in ("id", "created", "model", "object", "system_fingerprint"):
            assert chunk[name] == last[name]
    assert last["id"] != whole["id"]
    assert (last["model"], last["object"]) == (whole["model"], "chat.completion.chunk")
    assert all(chunk["usage"] is None and len(chunk["choices"]) == 1 for chunk in chunks)
    assert (last["choices"], last["usage"]) == ([], whole["usage"])
    choices = gathered(chunks)
    assert [each["end"] for each in choices] == [c["finish_reason"] for c in whole["choices"]]
    assert [without_ids(each["message"]) for each in choices] == [
        without_ids(choice["message"]) for choice in whole["choices"]
    ]
    assert [each["odds"] for each in choices] == [
        (choice["logprobs"] or {"content": []})["content"] for choice in whole["choices"]
    ]
    check("ChatCompletion", whole)


def test_without_the_wish_no_chunk_has_usage_or_no_choice(stage: Stage) -> None:
    chunks = chunks_of(ask(stage, "/api/chat/completions", {"messages": STORY, "stream": True}))

    assert all("usage" not in chunk and len(chunk["choices"]) == 1 for chunk in chunks)


MESSAGES: dict[str, dict[str, Any]] = {
    "text": {"messages": STORY},
    "cut": {"messages": STORY, "max_tokens": 5},
    "stopped": {"messages": STORY, "stop_sequences": [" the"]},
    "call": {"messages": ASKS_WEATHER, "tools": [ANTHROPICS_WEATHER]},
    "demanded": {
        "messages": STORY,
        "tools": [ANTHROPICS_WEATHER],
        "tool_choice": {"type": "tool", "name": "get_weather"},
    },
    "thinking": {"messages": STORY, "thinking": {"type": "enabled", "budget_tokens": 1024}},
    "schema": {
        "messages": STORY,
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    },
}


@pytest.mark.parametrize("kind", MESSAGES)
def test_a_messages_stream_keeps_its_order_and_adds_up_to_the_whole_answer(
    stage: Stage, kind: str
) -> None:
    path, body = "/anthropic/v1/messages", {"max_tokens": 2048, **MESSAGES[kind]}
    whole = ask(stage, path, body).json()
    answer = ask(stage, path, {**body, "stream": True})

    assert_stream_headers(answer)
    begun, *between, closing, end = named(answer)

    assert begun["type"] == "message_start"
    assert begun["message"]["content"] == []
    assert begun["message"]["stop_reason"] is None
    assert begun["message"]["usage"]["input_tokens"] == whole["usage"]["input_tokens"]
    assert closing["type"] == "message_delta"
    for name in ("stop_reason", "stop_sequence"):
        assert closing["delta"][name] == whole[name]
    assert closing["usage"]["output_tokens"] == whole["usage"]["output_tokens"]
    assert end == {"type": "message_stop"}
    assert [bare(block) for block in blocks_of(between)] == [
        bare(block) for block in whole["content"]
    ]
    check("Message", whole)


def named(answer: requests.Response) -> list[dict[str, Any]]:
    """Return the events of a stream, each of which is named as its data say."""
    assert b"\r" not in answer.content
    events = []
    for frame in answer.text.removesuffix("\n\n").split("\n\n"):
        name, _, data = frame.partition("\n")
        event = orjson.loads(data.removeprefix("data: "))
        assert (name, data[:6]) == (f"event: {event['type']}", "data: ")
        events.append(event)
    return events


def blocks_of(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add up the blocks of a message; they follow one another from 0."""
    blocks: list[dict[str, Any]] = []
    is_open = False
    for event in events:
        if event["type"] == "ping":
            continue
        if event["type"] == "content_block_start":
            assert (event["index"], is_open) == (len(blocks), False)
            blocks.append({**event["content_block"], "json": ""})
            is_open = True
        elif event["type"] == "content_block_stop":
            assert (event["index"], is_open) == (len(blocks) - 1, True)
            is_open = False
        else:
            assert (event["type"], event["index"]) == ("content_block_delta", len(blocks) - 1)
            assert is_open
            delta = {name: text for name, text in event["delta"].items() if name != "type"}
            for name, text in delta.items():
                known = "json" if name == "partial_json" else name
                blocks[-1][known] += text
    assert not is_open
    for block in blocks:
        text = block.pop("json")
        if block["type"] == "tool_use":
            assert block["input"] == {}
            block["input"] = orjson.loads(text)
    return blocks


def bare(block: dict[str, Any]) -> dict[str, Any]:
    assert block["type"] != "tool_use" or block["id"].startswith("toolu_")
    return {name: value for name, value in block.items() if name != "id"}


RESPONSES: dict[str, dict[str, Any]] = {
    "text": {"input": "Tell me a story"},
    "cut": {"input": "Tell me a story", "max_output_tokens": 5},
    "call": {
        "input": "What is the weather in San Francisco?",
        "tools": [{"type": "function", **FUNCTION}],
    },
    "thinking": {"input": "Tell me a story", "reasoning": {"effort": "high"}},
    "schema": {
        "input": "Tell me a story",
        "text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}},
    },
}


@pytest.mark.parametrize("kind", RESPONSES)
def test_a_responses_stream_keeps_its_order_and_adds_up_to_the_whole_answer(
    stage: Stage, kind: str
) -> None:
    whole = ask(stage, "/v1/responses", RESPONSES[kind]).json()
    answer = ask(stage, "/v1/responses", {**RESPONSES[kind], "stream": True})

    assert_stream_headers(answer)
    events = named(answer)

    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1]["type"] == f"response.{whole['status']}"
    ended = events[-1]["response"]
    assert [unnamed(each) for each in ended["output"]] == [
        unnamed(each) for each in whole["output"]
    ]
    assert ended["usage"] == whole["usage"]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == ended["output"]
    texts: dict[str, str] = {}
    for event in events:
        if event["type"].endswith(".delta"):
            texts[event["item_id"]] = texts.get(event["item_id"], "") + event["delta"]
    assert texts == {each["id"]: text_of(each) for each in ended["output"]}
    check("Response", whole)
    check("Response", ended)


def unnamed(output: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in output.items() if name not in ("id", "call_id")}


def text_of(output: dict[str, Any]) -> str:
    if output["type"] == "function_call":
        return str(output["arguments"])
    return "".join(part["text"] for part in output["content"])
