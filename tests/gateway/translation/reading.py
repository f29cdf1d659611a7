"""The same question in either dialect, and what an answer says, whole or streamed."""

import json
from typing import Any

from tests.calls import frames, text_of


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
        return _read_openai(answer, streamed=streamed)
    return _read_anthropic(answer, streamed=streamed)


def _read_openai(answer: Any, *, streamed: bool) -> dict[str, Any]:
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


def _read_anthropic(answer: Any, *, streamed: bool) -> dict[str, Any]:
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
