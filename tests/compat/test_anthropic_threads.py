"""Conversations that the server would keep: not offered, which the official client lives with."""

from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, beta_tool

from billing.models import UsageEvent
from tests.books import assert_proven
from tests.calls import wait_for
from tests.stage import Stage

WEATHER: Any = {"role": "user", "content": "What is the weather in Oslo?"}


@pytest.fixture
def client(stage: Stage) -> Anthropic:
    url = stage.api.url + "/anthropic"
    return Anthropic(api_key=stage.acme.key_text, base_url=url, max_retries=0)


@pytest.mark.parametrize("streamed", [False, True])
def test_the_tool_runner_calls_the_tool_and_sends_the_whole_conversation(
    stage: Stage, client: Anthropic, *, streamed: bool
) -> None:
    asked: list[str] = []

    @beta_tool
    def get_weather(location: str) -> str:
        """Get current weather.

        Args:
            location: the city

        """
        asked.append(location)
        return "snow"

    settings: Any = {"stream": True} if streamed else {}
    final: Any = client.beta.messages.tool_runner(
        model="hacxgpt", max_tokens=1024, messages=[WEATHER], tools=[get_weather], **settings
    ).until_done()

    assert asked == ["Oslo"]
    assert final.content[0].text == "Here is what I found: snow"
    rows = UsageEvent.objects.filter(org_id=stage.acme.org.pk)
    wait_for(lambda: rows.count() == 2, what="a usage row for each turn")
    assert_proven(stage.stores.database_url, stage.journals)


@pytest.mark.parametrize(
    "thread", [{"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}]
)
def test_a_thread_is_refused_in_the_words_the_clients_understand(
    stage: Stage, client: Anthropic, thread: Any
) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.beta.messages.create(
            model="hacxgpt", max_tokens=10, messages=[WEATHER], extra_body={"thread": thread}
        )

    body: Any = caught.value.body
    assert body["error"]["details"] == {"error_code": "thread_unsupported_request"}
    assert body["error"]["message"].startswith("thread: Conversations are not stored here")
    assert not UsageEvent.objects.filter(org_id=stage.acme.org.pk).exists()
    assert stage.acme.account.held_nanos == 0
