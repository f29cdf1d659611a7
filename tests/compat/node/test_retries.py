"""What JavaScript's clients try again, and how our refusals steer that."""

import json
from typing import Any

import pytest

from tests.compat.node.play import needs_node, play
from tests.stage import Stage

pytestmark = needs_node

BOTH = pytest.mark.parametrize("client", ["openai", "anthropic"])
Case = tuple[int, dict[str, str]]


def tried(stage: Stage, client: str, *cases: Case) -> list[tuple[int, list[float]]]:
    """Return how often a client asked for each answer, and the pauses it made, in milliseconds."""
    told = json.dumps([{"status": status, "headers": headers} for status, headers in cases])
    played: list[dict[str, Any]] = play(stage, "retries", client, CASES=told)
    return [(each["requests"], each["waits"]) for each in played]


@BOTH
def test_these_are_tried_twice_more_after_growing_pauses(stage: Stage, client: str) -> None:
    broken = 0

    for requests, waits in tried(
        stage,
        client,
        *((status, {}) for status in (broken, 408, 409, 429, 500, 502, 503, 504, 529)),
    ):
        assert requests == 3
        assert 375 <= waits[0] <= 500
        assert 750 <= waits[1] <= 1000


@BOTH
def test_these_are_never_tried_again(stage: Stage, client: str) -> None:
    final = (400, 401, 402, 403, 404, 405, 413, 422, 499)

    assert tried(stage, client, *((status, {}) for status in final)) == [(1, [])] * len(final)


@BOTH
def test_our_word_on_it_outweighs_the_status(stage: Stage, client: str) -> None:
    stopped, forced = tried(
        stage,
        client,
        (429, {"x-should-retry": "false", "retry-after": "1"}),
        (402, {"x-should-retry": "true"}),
    )

    assert (stopped, forced[0]) == ((1, []), 3)


@BOTH
@pytest.mark.parametrize("headers", [{"retry-after": "60"}, {"retry-after-ms": "60000"}])
def test_a_minute_is_waited_as_told(stage: Stage, client: str, headers: dict[str, str]) -> None:
    assert tried(stage, client, (429, headers)) == [(3, [60_000, 60_000])]


def test_beyond_a_minute_one_client_waits_as_it_likes_and_the_other_as_told(stage: Stage) -> None:
    later: Case = (429, {"retry-after": "86400"})

    [(requests, waits)] = tried(stage, "openai", later)
    assert requests == 3
    assert max(waits) <= 1000

    assert tried(stage, "anthropic", later) == [(3, [86_400_000, 86_400_000])]


def test_vercels_sdk_goes_by_the_status_alone_and_waits_up_to_a_minute(stage: Stage) -> None:
    final = (400, 401, 402, 403, 404, 422)
    again = (408, 409, 429, 500, 503)

    told = tried(
        stage,
        "vercel",
        *((status, {}) for status in (*final, *again)),
        (429, {"x-should-retry": "false"}),
        (402, {"x-should-retry": "true"}),
        (429, {"retry-after": "59"}),
        (429, {"retry-after": "61"}),
    )

    assert told[:6] == [(1, [])] * 6
    assert told[6:11] == [(3, [2000, 4000])] * 5
    assert told[11:] == [
        (3, [2000, 4000]),
        (1, []),
        (3, [59_000, 59_000]),
        (3, [2000, 4000]),
    ]
