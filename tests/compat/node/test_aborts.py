"""Streams that JavaScript's clients leave: settled for what was sent."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.books import assert_proven
from tests.calls import wait_for
from tests.compat.node.play import needs_node, play, usage_of
from tests.stage import House, Stage, open_house

pytestmark = needs_node

STORY_TOKENS = 111


@pytest.fixture(scope="module")
def house(django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A story takes half a minute here: a client that is held up for seconds still leaves early."""
    folder = tmp_path_factory.mktemp("house")
    with open_house(django_db_blocker, folder, SIMULATOR_TOKENS_PER_S="4") as opened:
        yield opened


@pytest.mark.parametrize(
    ("client", "provider"),
    [
        ("openai", ""),
        ("anthropic", ""),
        ("vercel", "compatible"),
        ("vercel", "chat"),
        ("vercel", "responses"),
        ("vercel", "messages"),
    ],
)
def test_an_aborted_stream_is_settled_for_what_was_sent(
    stage: Stage, client: str, provider: str
) -> None:
    said = play(stage, client, "aborted", PROVIDER=provider)

    assert said["pieces"] >= 3
    if client == "anthropic":
        assert said["kinds"][0] == "APIUserAbortError"
    [event] = usage_of(stage)
    assert event.outcome == "disconnected"
    assert 3 <= event.output < STORY_TOKENS
    wait_for(lambda: stage.acme.account.held_nanos == 0)
    assert_proven(stage.stores.database_url, stage.journals)
