"""A process dies at each named point: whatever it was doing, the books are right afterwards."""

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from billing.models import Hold, UsageEvent
from tests.architecture.tree import PACKAGES, sources
from tests.books import assert_proven
from tests.calls import WORD, RawStream, chat_body, frames, post, text_of, transcript, wait_for
from tests.factories import Tenant
from tests.faults.conftest import Field
from tests.servers import Server, running_api
from tests.stage import Stage
from tests.stage import own_house as house

__all__ = ["house"]

WORDS = 560  # half a tranche, so that an extension is asked for
CHECKPOINT_TOKENS = 64
# What a call that ran into the point comes to: nothing, its last checkpoint, or all of it.
NOTHING, CHECKPOINT, ALL = "nothing", "checkpoint", "all"
EXPECTED = {
    "journal_write": NOTHING,
    "after_open": NOTHING,
    "before_hold_commit": NOTHING,
    "after_hold_commit": NOTHING,
    "after_checkpoint": CHECKPOINT,
    "after_extend_commit": CHECKPOINT,
    "after_answer_kept": CHECKPOINT,
    "before_final": CHECKPOINT,
    "after_final_before_last_frame": ALL,
    "after_settle_commit": ALL,
    "during_adoption": CHECKPOINT,
}
CASES = sorted(EXPECTED)


def test_every_failpoint_in_the_source_stands_there_once_and_is_run_here() -> None:
    names = [
        name
        for path in sources(*PACKAGES)
        for name in re.findall(r'failpoints\.reach\(\s*"(\w+)"', path.read_text(encoding="utf-8"))
    ]

    assert sorted(names) == CASES


@dataclass(frozen=True)
class Death:
    """What was seen of the call that ran into the failpoint."""

    request_id: str
    words: int


def body(user: str) -> dict[str, object]:
    script = {"chunks": WORDS, "delay_ms": 3}
    return chat_body(stream=True, max_tokens=4000, user=user, mock=script)


def call_until_death(api: Server, acme: Tenant, user: str) -> Death:
    stream = RawStream(api.port, acme.key_text, body(user), headers={"idempotency-key": "once"})
    with suppress(OSError):
        stream.read_until(lambda _: False)
    assert api.process.wait(timeout=20) == -9, "the point was not reached"
    head, _, received = stream.received.partition(b"\r\n\r\n")
    named = re.search(rb"(?i)x-request-id: (\S+)", head)
    return Death("" if named is None else named[1].decode(), received.count(WORD))


def open_holds(acme: Tenant) -> int:
    return Hold.objects.filter(org_id=acme.org.pk, state="held").count()


def usage_of(acme: Tenant) -> list[UsageEvent]:
    return list(UsageEvent.objects.filter(org_id=acme.org.pk))


@pytest.mark.parametrize("name", [name for name in CASES if name != "during_adoption"])
def test_a_process_killed_at_a_point_leaves_every_promise_true(stage: Stage, name: str) -> None:
    stores = stage.stores
    with running_api(
        stores.database_url,
        stores.redis_url,
        stage.folder,
        port=None,
        DEBUG="1",
        FAIL=f"{name}:kill9",
    ) as doomed:
        death = call_until_death(doomed, stage.acme, name)
    wait_for(lambda: not open_holds(stage.acme), seconds=5, what="the freeing of the hold")

    asked = [e for e in transcript(stage.upstream.url) if e["user"] == name]
    assert_charged_as_expected(stage.acme, EXPECTED[name], death, asked)
    assert_proven(stores.database_url, stage.journals)
    again = post(stage.api.url, stage.acme.key_text, body(name), **{"Idempotency-Key": "once"})
    assert text_of(frames(again.text)) == " word" * WORDS
    wait_for(lambda: not open_holds(stage.acme))
    is_kept = again.headers.get("idempotent-replayed") == "true"
    assert is_kept == (name in {"after_answer_kept", "before_final"} or EXPECTED[name] == ALL)
    whole = [row for row in usage_of(stage.acme) if row.outcome == "completed"]
    assert len(whole) == (0 if is_kept and EXPECTED[name] != ALL else 1)
    assert_proven(stores.database_url, stage.journals)


def test_a_process_killed_while_it_adopts_leaves_the_rest_to_the_next(field: Field) -> None:
    first = field.start_api(DEBUG="1", FAIL="after_checkpoint:kill9")
    death = call_until_death(first, field.acme, "first")
    # the next process finds the journal as it starts, so it may never be ready
    with suppress(AssertionError):
        second = field.start_api(DEBUG="1", FAIL="during_adoption:kill9")
        second.process.wait(timeout=20)
    assert not open_holds(field.acme), "it died after its commit"
    assert len(list(field.journals.glob("*.journal"))) >= 1, "and before it let the journal go"

    field.start_api()

    wait_for(lambda: len(list(field.journals.glob("*.journal"))) == 1, what="the letting go")
    asked = transcript(field.upstream.url)
    assert_charged_as_expected(field.acme, EXPECTED["during_adoption"], death, asked)
    field.prove()


def assert_charged_as_expected(
    acme: Tenant, expected: str, death: Death, asked: list[dict[str, Any]]
) -> None:
    rows = usage_of(acme)
    sent = sum(exchange["chunks_sent"] for exchange in asked)
    if expected == NOTHING:
        assert not rows
        assert (sent, death.words) == (0, 0)
        return
    (row,) = rows
    assert row.request_id == death.request_id
    assert row.amount_nanos <= Hold.objects.get(request_id=row.request_id).amount_nanos
    assert row.output <= sent, "nobody pays for what was not relayed"
    if expected == ALL:
        assert (row.outcome, row.output, row.evidence) == ("completed", WORDS, "provider")
    else:
        assert (row.outcome, row.evidence) == ("interrupted", "counted")
        assert row.output > 0
        # at 3 ms a word 250 ms may be more than 64 tokens
        assert death.words - row.output <= 2 * CHECKPOINT_TOKENS


def test_a_journal_that_cannot_be_written_refuses_new_calls_and_moves_nothing(
    field: Field,
) -> None:
    api = field.start_api(DEBUG="1", FAIL="journal_write:raise")

    answers = [post(api.url, field.acme.key_text, chat_body()) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [503] * 3
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
    assert not Hold.objects.exists()
    assert transcript(field.upstream.url) == []
    field.prove()


def test_a_process_that_pauses_after_its_commits_loses_and_doubles_nothing(field: Field) -> None:
    paused = "after_hold_commit:sleep=250,after_settle_commit:sleep=250"
    api = field.start_api(DEBUG="1", FAIL=paused)

    answers = [post(api.url, field.acme.key_text, chat_body(user="slow")) for _ in range(5)]

    assert [answer.status_code for answer in answers] == [200] * 5
    wait_for(lambda: UsageEvent.objects.count() == 5)
    wait_for(lambda: not Hold.objects.filter(state="held").exists())
    field.prove()
