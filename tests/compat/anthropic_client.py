"""Anthropic's official client before a stage, and the question most tests ask it."""

from typing import Any

from anthropic import Anthropic

from tests.stage import Stage

STORY: Any = [{"role": "user", "content": "Tell me a story"}]


def client(stage: Stage, key: str | None = None) -> Anthropic:
    url = stage.api.url + "/anthropic"
    return Anthropic(api_key=key or stage.acme.key_text, base_url=url, max_retries=0)
