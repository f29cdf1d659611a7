"""Load shedding: a process with enough to do refuses new calls and finishes the open ones."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from billing.models import Hold, UsageEvent
from gateway.lag import LOOK_S, LoopLag
from tests.books import assert_proven
from tests.calls import RawStream, chat_body, post, wait_for
from tests.servers import running_api
from tests.stage import PATIENT, Stage


def test_one_stall_is_no_overload_and_stall_after_stall_is() -> None:
    lag = LoopLag(0.25)
    behind = []

    for late_s in (0.4, 0.4, 0.4, 0.0, 0.0):
        lag.note(late_s)
        behind.append(lag.is_too_much)

    assert behind == [False, True, True, False, False]


async def test_a_loop_that_is_kept_from_its_work_is_behind() -> None:
    lag = LoopLag(0.25)
    lag.start()

    keep_from_work(seconds=LOOK_S + 1.0)
    await asyncio.sleep(0.01)

    assert lag.average_s >= 0.5
    lag.stop()


def keep_from_work(*, seconds: float) -> None:
    time.sleep(seconds)


def test_beyond_the_most_calls_at_once_new_ones_are_refused_and_open_ones_go_on(
    stage: Stage,
) -> None:
    with running_api(
        stage.stores.database_url,
        stage.stores.redis_url,
        stage.folder,
        port=None,
        **{**PATIENT, "MAX_CALLS_IN_FLIGHT": "1"},
    ) as api:
        key = stage.acme.key_text
        slow = chat_body("mock", stream=True, mock={"chunks": 40, "delay_ms": 25})
        stream = RawStream(api.port, key, slow)
        stream.read_words(3)

        refused = post(api.url, key, chat_body("mock"))
        message = {**chat_body("mock"), "max_tokens": 5}
        overloaded = post(api.url, key, message, path="/anthropic/v1/messages")
        ending = stream.read_until(lambda data: b"[DONE]" in data)
        wait_for(lambda: post(api.url, key, chat_body("mock")).status_code == 200)

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.json()["error"] == {
        "message": "The server is busy; try again.",
        "type": "service_unavailable_error",
        "param": None,
        "code": "server_is_overloaded",
    }
    assert (overloaded.status_code, overloaded.headers["retry-after"]) == (529, "1")
    assert overloaded.json()["error"] == {
        "type": "overloaded_error",
        "message": "The server is busy; try again.",
    }
    assert b"data: [DONE]" in ending
    wait_for(lambda: UsageEvent.objects.filter(org_id=stage.acme.org.pk).count() == 2)
    assert_proven(stage.stores.database_url)


def test_a_process_that_is_far_behind_refuses_new_calls_until_it_has_caught_up(
    stage: Stage,
) -> None:
    settings = {"DEBUG": "1", "FAIL": "before_final:sleep=400", "SHED_LAG_MS": "250"}
    key = stage.acme.key_text
    with running_api(
        stage.stores.database_url,
        stage.stores.redis_url,
        stage.folder,
        port=None,
        **{**PATIENT, "HOLD_WAIT_MS": "10000", **settings},
    ) as api:
        with ThreadPoolExecutor(8) as pool:
            statuses = {
                answer.status_code
                for answer in pool.map(lambda _: post(api.url, key, chat_body("mock")), range(12))
            }
        wait_for(lambda: post(api.url, key, chat_body("mock")).status_code == 200)

    assert statuses == {200, 503}
    wait_for(lambda: not Hold.objects.filter(org_id=stage.acme.org.pk, state="held").exists())
    assert_proven(stage.stores.database_url)
