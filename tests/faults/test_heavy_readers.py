"""Reports crowd in and statements hang: the data plane goes on, and nothing waits for ever."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import requests

from accounts.keys import KeySpec, mint_key
from accounts.management.commands.console_role import make_console_role
from billing.models import Hold, PriceVersion, UsageEvent
from billing.pricing import Price
from kernel import clock
from tests.books import run_tick, settlement
from tests.calls import chat_body, post, transcript, wait_for
from tests.factories import Tenant, hold_request
from tests.faults.conftest import Field
from tests.faults.crowd import Crowd

ROWS = 5000
BATCH = 250


def fill(field: Field) -> None:
    """Write thousands of calls into the books, as the platform itself would."""
    version = PriceVersion.objects.filter(model="mock").latest("pk")
    price = Price(version.pk, version.as_prices())
    for _ in range(ROWS // BATCH):
        requests_ = [hold_request(field.acme, version, 30_000) for _ in range(BATCH)]
        run_tick(field.stores.database_url, holds=requests_)
        closings = [
            settlement(request.request_id, price, input_tokens=3, output_tokens=4)
            for request in requests_
        ]
        run_tick(field.stores.database_url, closings=closings)


@contextmanager
def readers(url: str, tenant: Tenant, count: int) -> Iterator[list[int]]:
    """Ask for reports by the minute, ``count`` at once, to the end; yield their statuses."""
    key = mint_key(tenant.project, KeySpec(kind="admin"), actor="test").text
    since = int((clock.now() - timedelta(hours=20)).timestamp())
    path = f"{url}/v1/organization/usage/completions?start_time={since}&bucket_width=1m&limit=1440"
    statuses: list[int] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            answer = requests.get(
                f"{path}&group_by=project_id&group_by=model&group_by=api_key_id",
                headers={"authorization": f"Bearer {key}"},
                timeout=30,
            )
            statuses.append(answer.status_code)

    threads = [threading.Thread(target=read) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        stop.set()
        for thread in threads:
            thread.join(40)


def test_a_hundred_reports_at_once_refuse_no_call(field: Field) -> None:
    api = field.start_api()
    fill(field)

    with readers(api.url, field.acme, 100) as statuses:
        wait_for(lambda: len(statuses) >= 20, seconds=30, what="the first reports")
        crowd = Crowd(
            [api.port],
            field.acme.key_text,
            range(50),
            lambda _: chat_body(stream=True, mock={"chunks": 50, "delay_ms": 20}),
        ).start()
        with ThreadPoolExecutor(4) as pool:
            plain = list(
                pool.map(
                    lambda _: (
                        post(
                            api.url, field.acme.key_text, chat_body(mock={"chunks": 2})
                        ).status_code
                    ),
                    range(60),
                )
            )
        callers = crowd.join()

    assert plain == [200] * 60
    assert [(c.status, c.words, c.refusals) for c in callers] == [(200, 50, 0)] * 50
    assert set(statuses) <= {200, 503}, "more than a few at once are told to come again"
    assert statuses.count(200) >= 20
    wait_for(lambda: UsageEvent.objects.count() == ROWS + 110)
    field.prove()


def test_readers_who_use_up_their_connections_leave_the_calls_theirs(field: Field) -> None:
    name = f"console_{field.acme.key.public_id.lower()}"
    address = field.stores.database_url.replace("//tollgate@", f"//{name}@")
    make_console_role(field.stores.database_url, name, "", most=2)
    api = field.start_api(CONSOLE_DATABASE_URL=address)
    key = mint_key(field.acme.project, KeySpec(kind="admin"), actor="test").text
    report = f"{api.url}/v1/organization/costs?start_time=1"

    def read() -> requests.Response:
        return requests.get(report, headers={"authorization": f"Bearer {key}"}, timeout=30)

    try:
        before = read().status_code
        with psycopg.connect(address), psycopg.connect(address):
            refused = read()
            calls = [
                post(api.url, field.acme.key_text, chat_body(mock={"chunks": 2})) for _ in range(5)
            ]
        after = read().status_code
    finally:
        drop_role(field.stores.database_url, name)

    assert (before, refused.status_code, refused.headers["retry-after"], after) == (
        200,
        503,
        "1",
        200,
    )
    assert [call.status_code for call in calls] == [200] * 5
    wait_for(lambda: UsageEvent.objects.count() == 5)
    field.prove()


def drop_role(database_url: str, name: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(psycopg.sql.SQL("drop role {}").format(psycopg.sql.Identifier(name)))


@contextmanager
def locked(database_url: str, statement: str) -> Iterator[psycopg.Connection[Any]]:
    """Hold a lock that the data plane needs; yield a connection that can look at who waits."""
    with (
        psycopg.connect(database_url) as locker,
        psycopg.connect(database_url, autocommit=True) as watcher,
    ):
        locker.execute(statement.encode())
        yield watcher


def waiting(watcher: psycopg.Connection[Any]) -> bool:
    query = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = %s"
    return watcher.execute(query, (watcher.info.dbname,)).fetchone() is not None


def test_a_hold_that_hangs_is_refused_and_its_statement_ends_by_itself(field: Field) -> None:
    api = field.start_api()
    lock = "select 1 from billing_billingaccount for update"

    with locked(field.stores.database_url, lock) as watcher, ThreadPoolExecutor(1) as pool:
        calling = pool.submit(post, api.url, field.acme.key_text, chat_body())
        wait_for(lambda: waiting(watcher), what="the writer's waiting")
        assert calling.result().status_code == 503
        # two seconds by its settings, the rest is for a busy machine
        wait_for(lambda: not waiting(watcher), seconds=8, what="the end of the statement")

    wait_for(lambda: post(api.url, field.acme.key_text, chat_body()).status_code == 200, seconds=10)
    wait_for(lambda: not Hold.objects.filter(state="held").exists())
    assert UsageEvent.objects.count() == 1
    field.prove()


def test_where_stored_answers_cannot_be_asked_a_keyed_call_is_refused_in_time(
    field: Field,
) -> None:
    api = field.start_api()
    lock = "lock table billing_idempotentanswer in access exclusive mode"
    once = {"Idempotency-Key": "once"}
    body = chat_body(mock={"chunks": 2})

    with locked(field.stores.database_url, lock):
        refused = post(api.url, field.acme.key_text, body, **once)

    assert refused.status_code == 503
    assert transcript(field.upstream.url) == []
    wait_for(lambda: post(api.url, field.acme.key_text, body, **once).status_code == 200)
    wait_for(lambda: UsageEvent.objects.count() == 1)
    field.prove()
