"""Gemini behind its OpenAI-compatible endpoint: its habits, met as any other provider's.

It numbers no pieces of calls, ends calls with ``stop``, says figures in every chunk, counts
thoughts in the total alone, and signs them in ``extra_content``, which it wants back.
"""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from openai import OpenAI

from billing.models import UsageEvent
from billing.prices import text_price
from gateway.deployments import change_model
from gateway.offers import create_model, create_provider
from tests.books import assert_proven
from tests.calls import HELLO, frames, post, text_of, wait_for
from tests.stage import House, Stage, open_house

MODEL = "gemini-2.5-pro-served"
THEIRS = "gemini-2.5-pro"
SIGNED = {"google": {"thought_signature": "c2lnbmVk"}}
TOOL: Any = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object"}},
}
WEATHER = {"id": "function-call-1", "type": "function", "extra_content": SIGNED}


def chunk(delta: dict[str, Any], spoken: int, finish: str | None = None) -> dict[str, Any]:
    """A chunk as it comes: figures in each, the total with 40 tokens of thoughts."""
    return {
        "choices": [{"delta": {"role": "assistant", **delta}, "finish_reason": finish, "index": 0}],
        "created": 1_750_000_000,
        "id": "AbCdEfGh",
        "model": THEIRS,
        "object": "chat.completion.chunk",
        "usage": {
            "completion_tokens": spoken,
            "prompt_tokens": 9,
            "total_tokens": spoken + 49,
        },
    }


TEXT = [chunk({"content": "Hello"}, 1), chunk({"content": " there"}, 2, "stop")]
CALLS = [
    chunk(
        {"tool_calls": [{**WEATHER, "function": {"name": "get_weather", "arguments": '{"a":'}}]}, 3
    ),
    chunk({"tool_calls": [{"function": {"arguments": "1}"}}]}, 4),
    chunk({"tool_calls": [{"function": {"name": "get_weather", "arguments": "{}"}}]}, 6),
    chunk({}, 6, "stop"),
]


@dataclass
class Gemini:
    """What it was asked: path, key and body of each request."""

    url: str = ""
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    def answer(self, body: Any) -> bytes:
        said = CALLS if "tools" in body else TEXT
        if body.get("stream"):
            lines = [f"data: {json.dumps(each)}\n\n" for each in said]
            return "".join([*lines, "data: [DONE]\n\n"]).encode()
        message: dict[str, Any] = {"role": "assistant", "content": "Hello there"}
        if said is CALLS:
            function = {"name": "get_weather", "arguments": '{"a":1}'}
            message = {"role": "assistant", "tool_calls": [{**WEATHER, "function": function}]}
        whole = {**TEXT[-1], "object": "chat.completion"}
        whole["choices"] = [{"finish_reason": "stop", "index": 0, "message": message}]
        return json.dumps(whole).encode()


@pytest.fixture(scope="module")
def gemini() -> Iterator[Gemini]:
    known = Gemini()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            known.asked.append((self.path, self.headers["authorization"], body))
            content = known.answer(body)
            self.send_response(200)
            kind = "text/event-stream" if body.get("stream") else "application/json"
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        known.url = f"http://127.0.0.1:{server.server_port}/v1beta/openai"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield known
        server.shutdown()


@pytest.fixture(scope="module")
def house(
    django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory, gemini: Gemini
) -> Iterator[House]:
    def prepare() -> None:
        create_provider(
            "gemini", kind="openai", base_url=gemini.url + "/", credential="AIza-key", actor="test"
        )
        price = text_price(1_000_000_000, 2_000_000_000)
        create_model(MODEL, provider="gemini", upstream_model=THEIRS, price=price, actor="test")
        change_model(MODEL, {"thinks_unseen": True}, actor="test")

    folder = tmp_path_factory.mktemp("house")
    with open_house(django_db_blocker, folder, prepare=prepare) as opened:
        yield opened


def charged(stage: Stage) -> tuple[str, int, int, int, int]:
    usage = wait_for(UsageEvent.objects.filter(org_id=stage.acme.org.pk).first)
    assert_proven(stage.stores.database_url, stage.journals)
    return usage.evidence, usage.input, usage.output, usage.reasoning, usage.amount_nanos


def ask(stage: Stage, path: str = "/v1/chat/completions", **fields: Any) -> Any:
    body = {"model": MODEL, "messages": HELLO, **fields}
    answer = post(stage.api.url, stage.acme.key_text, body, path=path)
    assert answer.status_code == 200, answer.text
    return answer


def test_it_is_asked_below_its_base_url_by_its_own_name_of_the_model(
    stage: Stage, gemini: Gemini
) -> None:
    ask(stage, stream=True)

    path, key, body = gemini.asked[-1]
    assert (path, key) == ("/v1beta/openai/chat/completions", "Bearer AIza-key")
    assert (body["model"], body["stream_options"]) == (THEIRS, {"include_usage": True})


@pytest.mark.parametrize("stream", [True, False])
def test_what_it_thought_is_charged_from_the_total(stage: Stage, *, stream: bool) -> None:
    answer = ask(stage, stream=stream)

    if stream:
        chunks = frames(answer.text)
        assert text_of(chunks) == "Hello there"
        assert all("usage" not in each for each in chunks[:-1])
        assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    else:
        assert answer.json()["choices"][0]["message"]["content"] == "Hello there"
    assert charged(stage) == ("provider", 9, 2, 40, 9 * 1_000 + 42 * 2_000)


def test_the_official_client_reads_its_calls(stage: Stage) -> None:
    client = OpenAI(base_url=stage.api.url + "/v1", api_key=stage.acme.key_text)

    with client.chat.completions.stream(
        model=MODEL, messages=[{"role": "user", "content": "Hello"}], tools=[TOOL]
    ) as stream:
        choice = stream.get_final_completion().choices[0]

    calls = choice.message.tool_calls or []
    assert [(call.function.name, call.function.arguments) for call in calls] == [
        ("get_weather", '{"a":1}'),
        ("get_weather", "{}"),
    ]
    assert calls[0].id == "function-call-1"
    assert (calls[0].model_extra or {})["extra_content"] == SIGNED
    assert choice.finish_reason == "tool_calls"
    assert charged(stage)[:4] == ("provider", 9, 6, 40)


def test_whole_calls_end_as_calls_do_and_keep_what_it_signed(stage: Stage) -> None:
    (choice,) = ask(stage, tools=[TOOL]).json()["choices"]

    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"a":1}'
    assert choice["message"]["tool_calls"][0]["extra_content"] == SIGNED


def test_signed_thoughts_go_back_to_it_as_they_came(stage: Stage, gemini: Gemini) -> None:
    function = {"name": "get_weather", "arguments": "{}"}
    turn = {"role": "assistant", "content": None, "tool_calls": [{**WEATHER, "function": function}]}
    result = {"role": "tool", "tool_call_id": WEATHER["id"], "content": "sunny"}

    ask(stage, messages=[*HELLO, turn, result])

    assert gemini.asked[-1][2]["messages"][1]["tool_calls"][0]["extra_content"] == SIGNED


@pytest.mark.parametrize("stream", [True, False])
def test_a_messages_caller_gets_its_calls_too(stage: Stage, *, stream: bool) -> None:
    tool = {"name": "get_weather", "input_schema": {"type": "object"}}
    path = "/anthropic/v1/messages"

    answer = ask(stage, path, max_tokens=200, tools=[tool], stream=stream)

    if stream:
        assert answer.text.count('"type":"tool_use"') == 2
        assert '"stop_reason":"tool_use"' in answer.text
    else:
        blocks = answer.json()["content"]
        assert [(block["name"], block["input"]) for block in blocks] == [
            ("get_weather", {"a": 1}),
            ("get_weather", {}),
        ]
        assert answer.json()["stop_reason"] == "tool_use"
    assert charged(stage)[:4] == ("provider", 9, 6, 40)
