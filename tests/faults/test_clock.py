"""The clock of a process jumps by an hour, both ways: callers and books see nothing of it."""

from datetime import datetime, timedelta
from pathlib import Path

from django.db import connection

from accounts.keys import KeySpec, mint_key, rotate_key
from billing.budgets import create_budget
from billing.models import BudgetWindow, Hold, UsageEvent
from kernel import clock
from tests.calls import chat_body, post, wait_for
from tests.faults.conftest import Field
from tests.faults.crowd import Crowd
from tests.servers import ROOT

HOUR_S = 3600
FAKE = ROOT / "tests" / "fakes" / "jumping_clock"


def wrong_by_s(url: str, key: str) -> int:
    """Return by how much the process's wall time, which an answer carries, differs from ours."""
    answer = post(url, key, chat_body("hacxgpt", max_tokens=1))
    assert answer.status_code == 200, answer.text
    return int(answer.json()["created"]) - clock.now_s()


def test_a_clock_that_jumps_an_hour_ends_no_stream_and_moves_no_period(
    field: Field, tmp_path: Path
) -> None:
    jump = tmp_path / "jump"
    jump.write_text("0")
    api = field.start_api(
        PYTHONPATH=f"{FAKE}:{ROOT}:{ROOT / 'platform'}", CLOCK_JUMP_FILE=str(jump)
    )
    create_budget(org=field.acme.org, limit_nanos=10**9, period="hour", actor="test")
    ending = mint_key(
        field.acme.project,
        KeySpec(name="ends soon", expires_at=clock.now() + timedelta(minutes=30)),
        actor="test",
    )
    old_text = field.acme.key_text
    rotate_key(field.acme.key, overlap=timedelta(minutes=30), actor="test")
    began_at = clock.now()

    streams = Crowd(
        [api.port],
        old_text,
        range(10),
        lambda _: chat_body(stream=True, mock={"chunks": 120, "delay_ms": 80}),
    ).start()
    wait_for(lambda: all(caller.words for caller in streams.callers), what="all first words")
    for wrong_s in (HOUR_S, -HOUR_S, 0):
        jump.write_text(str(wrong_s))
        while abs(wrong_by_s(api.url, old_text) - wrong_s) > 60:
            assert any(not caller.is_whole for caller in streams.callers), "it never jumped"
        for key in (old_text, ending.text):
            assert post(api.url, key, chat_body(mock={"chunks": 1})).status_code == 200
    callers = streams.join()

    assert [(caller.status, caller.words, caller.is_whole) for caller in callers] == [
        (200, 120, True)
    ] * 10
    wait_for(lambda: not Hold.objects.filter(state="held").exists())
    assert {row.outcome for row in UsageEvent.objects.all()} == {"completed"}
    for row in UsageEvent.objects.all():
        assert began_at - timedelta(seconds=5) <= row.occurred_at <= clock.now()
        assert row.duration_ms is not None
        assert 0 <= row.duration_ms < 60_000
    hours = {window.window_start for window in BudgetWindow.objects.all()}
    assert hours <= {_hour(began_at), _hour(clock.now())}
    with connection.cursor() as cursor:
        cursor.execute("select now() - min(heartbeat) < '1 minute' from billing_journalowner")
        assert cursor.fetchone() == (True,)
    field.prove()


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)
