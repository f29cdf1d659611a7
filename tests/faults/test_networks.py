"""Networks that lose answers, cut and slice: what is not known to be done is done once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from billing.models import Hold, UsageEvent
from gateway.models import Provider
from tests.calls import WORD, RawStream, chat_body, frames, post, text_of, transcript, wait_for
from tests.fakes.fault_proxy import FaultProxy
from tests.faults.conftest import Field
from tests.servers import Server, free_port, running_api

SOCKET = ".s.PGSQL.5432"


@contextmanager
def api_behind(field: Field, database: Path) -> Iterator[Server]:
    """Start an api process that reaches PostgreSQL through the socket in another folder."""
    url = field.stores.database_url.partition("host=")[0] + f"host={database}"
    with running_api(url, field.stores.redis_url, field.folder, port=None) as api:
        yield api


@pytest.fixture
def network(field: Field, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultProxy]:
    folder = tmp_path_factory.mktemp("pg")
    real = field.stores.database_url.partition("host=")[2]
    with FaultProxy(str(folder / SOCKET), f"{real}/{SOCKET}") as proxy:
        yield proxy


def no_open_holds() -> bool:
    return not Hold.objects.filter(state="held").exists()


def test_a_hold_and_a_settlement_whose_answers_are_lost_are_each_undone_and_done_once(
    field: Field, network: FaultProxy
) -> None:
    with api_behind(field, Path(str(network._listen)).parent) as api:
        stream = RawStream(
            api.port,
            field.acme.key_text,
            chat_body(stream=True, mock={"chunks": 60, "delay_ms": 20}),
        )
        stream.read_words(5)

        network.mode = "lose_answers"
        refused = post(api.url, field.acme.key_text, chat_body(user="refused"))
        wait_for(lambda: Hold.objects.count() == 2, what="the hold that nobody heard of")
        ended = stream.read_until(lambda data: b"[DONE]" in data)
        lost = network.lost_bytes
        network.cut()
        wait_for(no_open_holds, what="the closing of both")

        assert refused.status_code == 503
        assert lost > 0
        assert ended.count(WORD) == 60
        wait_for(lambda: UsageEvent.objects.count() == 1)
        assert (UsageEvent.objects.get().outcome, UsageEvent.objects.get().output) == (
            "completed",
            60,
        )
        assert [e for e in transcript(field.upstream.url) if e["user"] == "refused"] == []
        wait_for(
            lambda: post(api.url, field.acme.key_text, chat_body()).status_code == 200,
            what="the next call",
        )
    field.prove()


def test_a_database_whose_connections_are_reset_time_and_again_loses_and_doubles_nothing(
    field: Field, network: FaultProxy
) -> None:
    with api_behind(field, Path(str(network._listen)).parent) as api:
        statuses = []
        for number in range(30):
            statuses.append(post(api.url, field.acme.key_text, chat_body()).status_code)
            if number % 5 == 4:
                network.cut()
        served = statuses.count(200)

        assert set(statuses) <= {200, 503}
        assert served >= 20
        wait_for(no_open_holds)
        wait_for(lambda: UsageEvent.objects.count() == served)
    field.prove()


def test_an_upstream_whose_bytes_come_one_by_one_or_late_is_relayed_whole(field: Field) -> None:
    port = free_port()
    with FaultProxy(port, field.upstream.port) as proxy:
        Provider.objects.filter(name="mock").update(base_url=f"http://127.0.0.1:{port}/v1")
        api = field.start_api()

        proxy.mode = "slice"
        sliced = post(api.url, field.acme.key_text, chat_body(stream=True, mock={"chunks": 20}))
        proxy.mode, proxy.delay_s = "pass", 0.3
        late = post(api.url, field.acme.key_text, chat_body(mock={"chunks": 20}))

    assert text_of(frames(sliced.text)) == " word" * 20
    assert late.json()["choices"][0]["message"]["content"] == " word" * 20
    wait_for(lambda: UsageEvent.objects.count() == 2)
    assert {row.output for row in UsageEvent.objects.all()} == {20}
    field.prove()


def test_a_network_that_is_cut_in_mid_stream_ends_it_and_what_was_relayed_is_charged(
    field: Field,
) -> None:
    port = free_port()
    with FaultProxy(port, field.upstream.port) as proxy:
        Provider.objects.filter(name="mock").update(
            base_url=f"http://127.0.0.1:{port}/v1", stall_timeout_s=1
        )
        api = field.start_api()
        body = chat_body(stream=True, mock={"chunks": 500, "delay_ms": 10})
        streams = [RawStream(api.port, field.acme.key_text, body) for _ in range(2)]
        for stream in streams:
            stream.read_words(10)

        proxy.cut()
        cut = streams[0].read_until(lambda data: b"[DONE]" in data)
        streams[1].read_until(lambda data: b"[DONE]" in data)
        hanging = RawStream(api.port, field.acme.key_text, body)
        hanging.read_words(10)
        proxy.mode = "black_hole"
        hung = hanging.read_until(lambda data: b"[DONE]" in data)

    for ended in (cut, hung):
        assert b'"code":"upstream_error"' in ended
    assert b"stopped answering" in hung
    wait_for(no_open_holds)
    rows = UsageEvent.objects.order_by("occurred_at")
    assert [row.outcome for row in rows] == ["truncated"] * 3
    relayed = sorted(stream.received.count(WORD) for stream in (*streams, hanging))
    assert sorted(row.output for row in rows) == relayed
    field.prove()
