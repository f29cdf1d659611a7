"""Drift: providers' figures beside our counts, by provider and model, exact to a hundredth."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from billing.database import connect_sync
from billing.drift import Compared, Drift, read_drift, render_percent
from billing.holds import Outcome
from billing.models import UsageEvent
from billing.prices import as_price, current_price
from billing.reconciliation import reconcile
from billing.usage import Evidence, Usage
from kernel import clock
from tests.books import run_tick, settlement
from tests.calls import chat_body, post, wait_for
from tests.commands.conftest import here
from tests.commands.manage import Here
from tests.factories import hold_request, make_price, make_tenant
from tests.stage import Stage, house, stage

__all__ = ["here", "house", "stage"]


def use(database: str, calls: int, usage: Usage, *, counted: tuple[int, int], **more: Any) -> None:
    """Settle calls on these figures, with our own count beside them."""
    acme = make_tenant()
    version = current_price("m") or make_price()[0]
    price = as_price(version)
    requests = [hold_request(acme, version, 1_000_000) for _ in range(calls)]
    assert set(run_tick(database, holds=requests).held.values()) == {None}
    closings = [
        replace(
            settlement(request.request_id, price, input_tokens=0, output_tokens=0),
            usage=usage,
            charge_nanos=price.charge(usage),
            counted_input=counted[0],
            counted_output=counted[1],
            **{"evidence": Evidence.PROVIDER, **more},
        )
        for request in requests
    ]
    run_tick(database, closings=closings)


def drifts(database: str) -> list[Drift]:
    now = clock.now()
    with connect_sync(database, "drift", statement_timeout_ms=10_000) as connection:
        return read_drift(connection, now - timedelta(hours=1), now + timedelta(hours=1))


def test_reported_and_counted_tokens_stand_side_by_side(database: str) -> None:
    use(database, 3, Usage(input=80, cached_input=20, output=50), counted=(90, 48))

    (drift,) = drifts(database)

    assert drift.as_row() == {
        "provider": "test",
        "model": "m",
        "requests": 3,
        "compared": 3,
        "prompt_reported": 300,
        "prompt_counted": 270,
        "prompt_diff_percent": "11.11",
        "completion_reported": 150,
        "completion_counted": 144,
        "completion_diff_percent": "4.17",
        "counted_percent": "0.00",
        "estimated_percent": "0.00",
        "charged_usd": "0.0006",
        "cost_usd": None,
        "margin_usd": None,
    }


def test_cost_and_margin_are_of_calls_whose_cost_is_on_file(database: str) -> None:
    usage = Usage(input=100, output=100)
    use(database, 1, usage, counted=(100, 100), upstream_nanos=120_000)
    use(database, 1, usage, counted=(100, 100))

    rows = [drift.as_row() for drift in drifts(database)]

    assert [(row["charged_usd"], row["cost_usd"], row["margin_usd"]) for row in rows] == [
        ("0.0006", "0.00012", "0.00018"),
    ]


def test_what_is_counted_broken_off_or_pictures_is_not_compared_but_shown(database: str) -> None:
    usage = Usage(input=100, output=100)
    use(database, 1, usage, counted=(1, 1), evidence=Evidence.COUNTED)
    use(database, 1, usage, counted=(1, 1), outcome=Outcome.DISCONNECTED)
    use(database, 1, usage._replace(image=1), counted=(1, 1))
    use(database, 1, usage, counted=(100, 100), evidence=Evidence.ESTIMATED)

    (drift,) = drifts(database)

    row = drift.as_row()
    assert (drift.requests, drift.compared) == (4, 0)
    assert (row["counted_percent"], row["estimated_percent"]) == ("25.00", "25.00")
    assert drift.alarms(25) == ()


@pytest.mark.parametrize(
    ("counted", "compared"), [(50, 50), (80, 80), (150, 150), (40, 50), (200, 150)]
)
def test_thinking_is_compared_as_hidden_or_relayed_whichever_fits(
    database: str, counted: int, compared: int
) -> None:
    use(database, 1, Usage(input=1, output=50, reasoning=100), counted=(1, counted))

    (drift,) = drifts(database)

    assert drift.completion == Compared(reported=compared, counted=counted)


@pytest.mark.parametrize(
    ("reported", "alarms"), [(125, []), (126, ["completion"]), (75, []), (74, ["completion"])]
)
def test_an_alarm_is_more_than_the_setting_in_either_direction(
    reported: int, alarms: list[str]
) -> None:
    equal = Compared(100, 100)
    drift = Drift("p", "m", 100, 100, 0, 0, 100, equal, Compared(reported, 100), 0, 0, 0, 0)

    assert [name for name, _ in drift.alarms(25)] == alarms
    assert replace(drift, compared=99).alarms(25) == ()


@pytest.mark.parametrize(
    ("basis_points", "text"), [(0, "0.00"), (5, "0.05"), (-1234, "-12.34"), (10_000, "100.00")]
)
def test_per_cents_are_written_from_integers(basis_points: int, text: str) -> None:
    assert render_percent(basis_points) == text


def test_the_hourly_run_alarms_on_a_hundred_calls_that_differ(database: str) -> None:
    use(database, 100, Usage(input=100, output=126), counted=(100, 100))

    with connect_sync(database, "reconcile", statement_timeout_ms=60_000) as connection:
        done = reconcile(connection, drift_percent=25)

    assert done.differences == ["D1 test m completion tokens: 12600 ≠ 10000"]


def test_the_command_prints_what_the_report_says(
    here: Here, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django.conf.settings.DATABASE_URL", database)
    use(database, 2, Usage(input=10, output=10), counted=(10, 8))

    (row,) = here("drift", "--since", "1h", "--json").json

    assert (row["requests"], row["completion_diff_percent"]) == (2, "25.00")
    assert "completion_diff_percent" in here("drift").out
    assert here.refused("drift", "--since", "soon") == (
        "'soon' is not a duration: write 90s, 15m, 2h or 30d."
    )


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_passes_through_is_counted_to_its_end(stage: Stage, *, stream: bool) -> None:
    script = {"chunks": 300, "delay_ms": 0}
    answer = post(
        stage.api.url,
        stage.acme.key_text,
        chat_body("mock", stream=stream, max_tokens=900, mock=script),
    )
    assert answer.status_code == 200
    assert answer.content

    mine = UsageEvent.objects.filter(org_id=stage.acme.org.pk)
    wait_for(mine.exists)
    event = mine.get()
    assert (event.evidence, event.output, event.counted_output) == ("provider", 300, 300)
