"""What a caller reads, byte for byte, in every pair of wires: text, calls, thinking, usage.

``golden/upstream`` is what the providers say, in the forms their vendors send; ``golden/caller`` is
what of it reaches a caller. Only our ids and the time are made the same. Contract §6, §9, §15, §17.
"""

import re
from typing import Any

import pytest

from tests.books import assert_proven
from tests.calls import post
from tests.gateway.translation.recorded import GOLDEN, RECORDINGS
from tests.servers import Server
from tests.stage import Stage
from tests.stage import own_house as house

__all__ = ["house"]

PATHS = {
    "openai": "/v1/chat/completions",
    "anthropic": "/anthropic/v1/messages",
    "responses": "/v1/responses",
}
HELLO = [{"role": "user", "content": "Hello"}]
SCHEMA = {"type": "object", "properties": {"location": {"type": "string"}}}
WEATHER: dict[str, Any] = {"name": "get_weather", "parameters": SCHEMA}
ASKED: dict[str, dict[str, Any]] = {
    "openai": {"messages": HELLO, "tools": [{"type": "function", "function": WEATHER}]},
    "anthropic": {
        "messages": HELLO,
        "max_tokens": 1024,
        "tools": [{"name": "get_weather", "input_schema": SCHEMA}],
    },
    "responses": {"input": "Hello", "tools": [{"type": "function", **WEATHER}]},
}
CREATED = re.compile(rb'("created(?:_at)?":)\d+')


def body_of(caller: str, upstream: str, recording: str, *, streamed: bool) -> dict[str, Any]:
    """Ask as callers do; of chat completions all but the plain text with the figures."""
    body = {"model": f"{upstream}-{recording}", "stream": streamed, **ASKED[caller]}
    if caller == "openai" and streamed and recording != "text":
        body["stream_options"] = {"include_usage": True}
    return body


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("recording", RECORDINGS)
@pytest.mark.parametrize("upstream", ["openai", "anthropic"])
@pytest.mark.parametrize("caller", PATHS)
def test_an_answer_of_each_pair_is_this_byte_for_byte(
    stage: Stage,
    recordings: Server,
    caller: str,
    upstream: str,
    recording: str,
    *,
    streamed: bool,
) -> None:
    body = body_of(caller, upstream, recording, streamed=streamed)

    answer = post(stage.api.url, stage.acme.key_text, body, path=PATHS[caller])

    assert answer.status_code == 200, answer.text
    ours = answer.headers["x-request-id"].removeprefix("req_").encode()
    said = CREATED.sub(rb"\g<1>0", answer.content.replace(ours, b"OURS"))
    ending = "sse" if streamed else "json"
    golden = GOLDEN / "caller" / f"{caller}-{upstream}.{recording}.{ending}"
    assert said == golden.read_bytes()
    assert_proven(stage.stores.database_url, stage.journals)
