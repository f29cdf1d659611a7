"""A caller's next model answers where no provider of the first one does, at its own price."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from billing.models import Hold, PriceVersion, UsageEvent
from gateway.offers import alias_model
from kernel.money import render_usd
from tests.books import assert_proven
from tests.calls import RawStream, post, transcript, wait_for
from tests.factories import make_tenant
from tests.gateway.routing.falling_back import (
    CHAT,
    MESSAGES,
    RESPONSES,
    BrokenHouse,
    body_for,
    holds_of,
    open_broken_house,
)
from tests.servers import running_api
from tests.stage import PATIENT, Stage


@pytest.fixture(scope="module")
def house(
    django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrokenHouse]:
    with open_broken_house(django_db_blocker, tmp_path_factory.mktemp("house")) as opened:
        yield opened


def usage_of(stage: Stage) -> UsageEvent:
    def find() -> list[UsageEvent]:
        return list(UsageEvent.objects.filter(org_id=stage.acme.org.pk))

    (event,) = wait_for(find, what="the usage row")
    assert isinstance(event, UsageEvent)
    return event


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
@pytest.mark.parametrize("streamed", [False, True])
def test_the_next_model_answers_and_is_billed_at_its_own_price(
    stage: Stage, house: BrokenHouse, path: str, *, streamed: bool
) -> None:
    house.broken.asked.clear()
    body = body_for(path, "broken", "mock", stream=streamed)

    answer = post(stage.api.url, stage.acme.key_text, body, path=path)

    assert answer.status_code == 200, answer.text
    assert '"model":"mock"' in answer.text
    assert '"broken"' not in answer.text
    assert len(house.broken.asked) == 1
    event = usage_of(stage)
    assert (event.model, event.provider, event.input, event.output) == ("mock", "mock", 9, 64)
    assert event.price_version_id == PriceVersion.objects.get(model="mock").pk
    assert event.amount_nanos == 9 * 1_000 + 64 * 2_000
    assert holds_of(stage) == [("broken", "released"), ("mock", "settled")]
    first, second = Hold.objects.filter(org_id=stage.acme.org.pk).order_by("created_at")
    assert first.price_version_id == PriceVersion.objects.get(model="broken").pk
    assert first.request_id + "2" == second.request_id == answer.headers["x-request-id"]
    assert event.request_id == second.request_id
    assert stage.acme.account.held_nanos == 0
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_replayed_answer_is_the_next_models_and_nobody_is_asked_again(
    stage: Stage, house: BrokenHouse
) -> None:
    body = body_for(CHAT, "broken", "mock")
    first = post(stage.api.url, stage.acme.key_text, body, **{"Idempotency-Key": "once"})
    house.broken.asked.clear()
    asked = len(transcript(stage.upstream.url))

    again = post(stage.api.url, stage.acme.key_text, body, **{"Idempotency-Key": "once"})

    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    assert (house.broken.asked, len(transcript(stage.upstream.url))) == ([], asked)
    assert usage_of(stage).model == "mock"
    assert_proven(stage.stores.database_url, stage.journals)


def test_an_upstream_is_told_of_one_model_and_an_alias_answers_by_its_name(stage: Stage) -> None:
    alias_model("stand-in", "mock", actor="test")
    key = stage.acme.key_text
    names = body_for(CHAT, "stand-in", "mock", user="told-of-one")

    answer = wait_for(
        lambda: [a for a in [post(stage.api.url, key, names)] if a.status_code == 200],
        what="the alias",
    )[0]

    assert answer.json()["model"] == "stand-in"
    assert [e["model"] for e in transcript(stage.upstream.url) if e["user"] == "told-of-one"] == [
        "up-1"
    ]
    assert holds_of(stage)[-1][0] == "mock"


def test_money_that_suffices_for_one_model_suffices_to_fall_back(stage: Stage) -> None:
    """The next hold is granted out of what the one before gives back, in one transaction."""
    body = body_for(CHAT, "broken", "mock", max_tokens=10, mock={"chunks": 5})
    post(stage.api.url, stage.acme.key_text, {**body, "models": ["mock"]})
    needed_nanos = Hold.objects.get(org_id=stage.acme.org.pk).amount_nanos
    poor = make_tenant("Poor", credit_usd=render_usd(needed_nanos))

    answer = post(stage.api.url, poor.key_text, body)

    assert answer.status_code == 200, answer.text
    holds = Hold.objects.filter(org_id=poor.org.pk)
    wait_for(lambda: not holds.filter(state="held").exists(), what="the settlement")
    assert sorted(holds.values_list("model", "state")) == [
        ("broken", "released"),
        ("mock", "settled"),
    ]
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_caller_who_leaves_while_the_next_model_is_asked_pays_nothing(stage: Stage) -> None:
    body = body_for(CHAT, "broken", "mock", stream=True, mock={"head_after_ms": 60_000})
    stream = RawStream(stage.api.port, stage.acme.key_text, body)
    wait_for(lambda: ("mock", "held") in holds_of(stage), what="the second hold")

    stream.leave()

    wait_for(lambda: holds_of(stage) == [("broken", "released"), ("mock", "released")])
    assert not UsageEvent.objects.filter(org_id=stage.acme.org.pk).exists()
    assert_proven(stage.stores.database_url, stage.journals)


def test_a_process_that_dies_between_two_models_leaves_no_money_held(stage: Stage) -> None:
    stores = stage.stores
    body = body_for(CHAT, "broken", "mock", mock={"head_after_ms": 60_000})
    addresses = (stores.database_url, stores.redis_url)
    with (
        ThreadPoolExecutor(1) as pool,
        running_api(*addresses, stage.folder, port=None, **PATIENT) as doomed,
    ):
        asking = pool.submit(post, doomed.url, stage.acme.key_text, body)
        wait_for(lambda: ("mock", "held") in holds_of(stage), what="the second hold")
        doomed.kill()
        assert asking.exception(timeout=20) is not None

    wait_for(lambda: holds_of(stage) == [("broken", "released"), ("mock", "released")])
    assert stage.acme.account.held_nanos == 0
    assert not UsageEvent.objects.filter(org_id=stage.acme.org.pk).exists()
    assert_proven(stage.stores.database_url, stage.journals)
