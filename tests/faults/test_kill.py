"""``kill -9``: what the upstream sent, what the caller got and what the ledger says agree."""

import random

import pytest

from billing.models import CreditGrant, Hold, UsageEvent, UsageReversal
from tests.calls import chat_body, transcript, wait_for
from tests.faults.conftest import Field
from tests.faults.crowd import Caller, Crowd
from tests.servers import Server

CHECKPOINT_TOKENS = 64


def no_open_holds() -> bool:
    return not Hold.objects.filter(state="held").exists()


@pytest.mark.parametrize("seed", [3, pytest.param(11, marks=pytest.mark.long)])
def test_of_50_streams_killed_at_a_random_word_every_ledger_line_lies_between_caller_and_upstream(
    field: Field, seed: int
) -> None:
    doomed = field.start_api()
    dice = random.Random(seed)
    lengths = [dice.randrange(20, 200) for _ in range(50)]
    crowd = Crowd(
        [doomed.port],
        field.acme.key_text,
        range(len(lengths)),
        lambda number: chat_body(
            stream=True,
            user=f"caller-{number}",
            mock={"chunks": lengths[number], "delay_ms": 20},
        ),
    ).start()
    k = dice.randrange(30, 120)
    wait_for(lambda: max(caller.words for caller in crowd.callers) >= k, what="word k")

    doomed.kill()
    callers = crowd.join()
    field.start_api()
    wait_for(no_open_holds, seconds=5, what="the freeing of every hold")

    sent = {e["user"]: e["chunks_sent"] for e in transcript(field.upstream.url)}
    rows = {row.request_id: row for row in UsageEvent.objects.all()}
    assert {caller.status for caller in callers} == {200}
    assert any(not caller.is_whole for caller in callers)
    for caller in callers:
        assert_charged_what_was_relayed(caller, rows.get(caller.request_id), sent)
    assert len(rows) <= len(callers)
    field.prove()


def assert_charged_what_was_relayed(
    caller: Caller, row: UsageEvent | None, sent: dict[str, int]
) -> None:
    charged = 0 if row is None else row.output
    assert charged <= sent[f"caller-{caller.number}"], "nobody pays for what was not relayed"
    if caller.is_whole:
        assert (charged, row is not None and row.outcome) == (caller.words, "completed")
    else:
        assert row is None or row.outcome in {"interrupted", "completed"}
        # at 20 ms a word, 250 ms are a dozen: the 64 leave room for a busy machine
        assert caller.words - charged <= CHECKPOINT_TOKENS


def winner_of(apis: list[Server]) -> Server:
    """Return the process that holds the money of the one call that runs."""
    owner = Hold.objects.get(state="held").owner
    return next(api for api in apis if f"-{api.pid}-" in owner)


def test_of_100_duplicates_whose_winner_is_killed_one_runs_anew_and_all_get_its_answer(
    field: Field,
) -> None:
    apis = field.start_apis(3)
    ports = {api.pid: api.port for api in apis}
    body = chat_body(stream=True, user="twin", mock={"chunks": 150, "delay_ms": 30})
    once = {"idempotency-key": "the-same"}
    first = Crowd(
        [*ports.values()], field.acme.key_text, range(100), lambda _: body, headers=once
    ).start()
    wait_for(lambda: all(caller.status for caller in first.callers), what="100 decisions")
    wait_for(lambda: any(caller.words >= 20 for caller in first.callers))

    winner = winner_of(apis)
    winner.kill()
    survivors = [port for pid, port in ports.items() if pid != winner.pid]
    second = Crowd(
        survivors,
        field.acme.key_text,
        range(100),
        lambda _: body,
        headers=once,
        come_again_on=(409, 503),
    ).start()
    broken = [caller for caller in first.join() if caller.status == 200]
    answers = second.join()

    told = [caller.status for caller in first.callers]
    assert (told.count(200), told.count(409)) == (1, 99)
    assert all(b"retry-after: 1\r\n" in c.received for c in first.callers if c.status == 409)
    assert [caller.is_whole for caller in broken] == [False]
    assert [(caller.status, caller.words) for caller in answers] == [(200, 150)] * 100
    assert sum(b"idempotent-replayed: true" in caller.received for caller in answers) == 99
    before, anew = [e for e in transcript(field.upstream.url) if e["user"] == "twin"]
    assert before["left_at"] <= anew["began_at"], "one at a time"
    wait_for(no_open_holds)
    completed = UsageEvent.objects.filter(outcome="completed")
    interrupted = UsageEvent.objects.filter(outcome="interrupted")
    assert [row.output for row in completed] == [150]
    assert [row.request_id for row in interrupted] == [broken[0].request_id]
    assert interrupted[0].output <= before["chunks_sent"]
    (reversal,) = UsageReversal.objects.all()
    assert reversal.request_id == interrupted[0].request_id
    assert reversal.amount_nanos == interrupted[0].amount_nanos
    grant = CreditGrant.objects.get(org=field.acme.org)
    assert grant.consumed_nanos == completed[0].amount_nanos, "one charge"
    field.prove()
