"""What the other dialect cannot say is refused by the caller's own field."""

from typing import Any

import pytest

from gateway.dialects.anthropic import outgoing as to_anthropic
from gateway.dialects.openai import outgoing as to_openai
from tests.gateway.dialects import anthropic_asking, asking
from tests.gateway.translation.saying import HELLO, anthropic_body, refused

WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA="


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (
            [
                HELLO,
                {
                    "role": "user",
                    "content": [
                        {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}
                    ],
                },
            ],
            "messages[1].content[0].video_url",
        ),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}
                    ],
                },
            ],
            "messages[0].content[0].input_audio",
        ),
        ([{"role": "user", "content": ""}], "messages[0].content"),
        ([{"role": "system", "content": ""}], "messages[0].content"),
        (
            [
                {
                    "role": "assistant",
                    "content": None,
                    "function_call": {"name": "f", "arguments": "{"},
                },
                HELLO,
            ],
            "messages[0].function_call.arguments",
        ),
        (
            [
                HELLO,
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "call_1",
                            "type": "function",
                            "function": {"name": "f", "arguments": "{"},
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "call_1", "content": "x"},
            ],
            "messages[1].tool_calls[0].function.arguments",
        ),
        ([HELLO, {"role": "function", "name": "f", "content": "x"}], "messages[1].name"),
    ],
)
def test_what_anthropic_cannot_be_told_is_refused_by_its_field(messages: Any, param: str) -> None:
    assert refused(to_anthropic.render_request, asking.ask(messages=messages)) == param


def test_log_probabilities_anthropic_does_not_say_are_refused() -> None:
    assert refused(to_anthropic.render_request, asking.ask(logprobs=True)) == "logprobs"
    assert "logprobs" not in anthropic_body(logprobs=False)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "document",
                                "source": {"type": "url", "url": "https://example.com/a.pdf"},
                            }
                        ],
                    }
                ]
            },
            "messages.0.content.0.source",
        ),
        (
            {"tools": [{"name": "f" * 65, "input_schema": {"type": "object"}}]},
            "tools.0.name",
        ),
        (
            {"tools": [{"name": f"f{n}", "input_schema": {"type": "object"}} for n in range(129)]},
            "tools",
        ),
    ],
)
def test_what_openai_cannot_be_told_is_refused_by_its_field(fields: Any, param: str) -> None:
    assert refused(to_openai.render_request, anthropic_asking.ask(**fields)) == param
