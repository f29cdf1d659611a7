"""Upstreams without end: bounded in tokens, bytes and memory, charged for no more than held."""

import gzip
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from billing.models import Hold, UsageEvent
from gateway.idempotency import MOST_BYTES as MOST_KEPT_BYTES
from tests.books import assert_proven
from tests.calls import chat_body, frames, post, text_of, wait_for
from tests.factories import offer_evil
from tests.fakes.hostile import STREAM, HostileUpstream
from tests.fakes.upstream import HEAD, WORD, frame, http_chunk
from tests.stage import House, Stage, open_house

MIB = 2**20
MOST_PER_STREAM = 2 * MIB
MESSAGES = "/anthropic/v1/messages"
MOST_TOKENS = 100
# the bound by our own count, and a count's worth of words that came together
MOST_WORDS = 4 * (MOST_TOKENS + 16) + 1000


def endless_words() -> Iterator[bytes]:
    """A stream that is right in everything and never ends."""
    yield HEAD + http_chunk(frame("up-1", {"role": "assistant", "content": ""}))
    words = http_chunk(frame("up-1", {"content": WORD})) * 4
    for _ in range(2**18):
        yield words


def endless_silence() -> Iterator[bytes]:
    """A stream of chunks that say nothing, after two words."""
    yield HEAD + http_chunk(frame("up-1", {"content": WORD * 2}))
    silence = http_chunk(frame("up-1", {"content": ""}) * 512)
    for _ in range(2**14):
        yield silence


def packed_zeros() -> Iterator[bytes]:
    """A gigabyte in a megabyte, as one line of a stream."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    yield STREAM + b"content-encoding: gzip\r\n\r\n" + packer.compress(b"data: ")
    for _ in range(1024):
        yield packer.compress(b"0" * MIB)


def packed_answer() -> Iterator[bytes]:
    """A whole answer, packed though nobody asked for that."""
    body = gzip.compress(b'{"choices":[{"message":{"content":"packed"}}]}')
    yield b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n"
    yield b"content-length: %d\r\n\r\n%b" % (len(body), body)


@pytest.fixture(scope="module")
def hostile() -> Iterator[HostileUpstream]:
    attacks = (endless_words, endless_silence, packed_zeros, packed_answer)
    upstream = HostileUpstream({attack.__name__: attack for attack in attacks})
    yield upstream
    upstream.close()


@pytest.fixture(scope="module")
def house(
    django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory, hostile: HostileUpstream
) -> Iterator[House]:
    def prepare() -> None:
        offer_evil(hostile.url)

    with open_house(django_db_blocker, tmp_path_factory.mktemp("house"), prepare=prepare) as opened:
        yield opened


def peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def openai_call(stage: Stage, attack: str, **fields: Any) -> Any:
    body = chat_body("evil", max_tokens=MOST_TOKENS, mock={"attack": attack}, **fields)
    return post(stage.api.url, stage.acme.key_text, body)


def anthropic_call(stage: Stage, attack: str, **fields: Any) -> Any:
    body = chat_body("evil", max_tokens=MOST_TOKENS, metadata={"user_id": attack}, **fields)
    return post(stage.api.url, stage.acme.key_text, body, path=MESSAGES)


def assert_charged_for_the_most_and_no_more(stage: Stage) -> None:
    usage = wait_for(UsageEvent.objects.filter(org_id=stage.acme.org.pk).first)
    assert (usage.outcome, usage.output, usage.evidence) == ("completed", MOST_TOKENS, "counted")
    assert usage.amount_nanos == usage.list_nanos
    assert usage.amount_nanos <= Hold.objects.get(org_id=stage.acme.org.pk).amount_nanos
    assert_proven(stage.stores.database_url, stage.journals)


def assert_let_go(hostile: HostileUpstream, attack: str) -> None:
    assert hostile.sent_bytes[attack] < 32 * MIB, "the connection was let go"


def test_a_stream_that_ignores_its_limit_ends_cleanly_at_a_bound(
    stage: Stage, hostile: HostileUpstream
) -> None:
    answer = openai_call(stage, "endless_words", stream=True)

    chunks = frames(answer.text)
    assert chunks[-1] == "[DONE]"
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"
    assert "x_tollgate" not in chunks[-2]
    assert MOST_TOKENS <= text_of(chunks).count(WORD) <= MOST_WORDS
    assert_charged_for_the_most_and_no_more(stage)
    assert_let_go(hostile, "endless_words")
    assert "upstream_overran" in stage.api.log.read_text()


def test_a_translated_stream_that_ignores_its_limit_ends_cleanly_at_a_bound(
    stage: Stage, hostile: HostileUpstream
) -> None:
    answer = anthropic_call(stage, "endless_words", stream=True)

    assert answer.text.count("event: message_stop\n") == 1
    assert '"stop_reason":"max_tokens"' in answer.text
    assert "budget_exhausted" not in answer.text
    assert MOST_TOKENS <= answer.text.count('"text":" word"') <= MOST_WORDS
    assert_charged_for_the_most_and_no_more(stage)
    assert_let_go(hostile, "endless_words")


def test_a_translated_whole_answer_that_ignores_its_limit_ends_at_a_bound(
    stage: Stage, hostile: HostileUpstream
) -> None:
    answer = anthropic_call(stage, "endless_words").json()

    assert answer["stop_reason"] == "max_tokens"
    assert MOST_TOKENS <= answer["content"][0]["text"].count(WORD) <= MOST_WORDS
    assert_charged_for_the_most_and_no_more(stage)
    assert_let_go(hostile, "endless_words")


@pytest.mark.parametrize("call", [openai_call, anthropic_call])
def test_a_stream_that_says_nothing_without_end_is_an_upstreams_fault(
    stage: Stage, hostile: HostileUpstream, call: Any
) -> None:
    answer = call(stage, "endless_silence", stream=True)

    assert "sent an endless answer" in answer.text
    assert WORD * 2 in answer.text
    usage = wait_for(UsageEvent.objects.filter(org_id=stage.acme.org.pk).first)
    assert (usage.outcome, usage.output) == ("truncated", 2)
    assert hostile.sent_bytes["endless_silence"] < 128 * MIB
    assert_proven(stage.stores.database_url, stage.journals)


@pytest.mark.parametrize("call", [openai_call, anthropic_call])
def test_endless_streams_that_are_to_be_kept_take_bounded_memory(stage: Stage, call: Any) -> None:
    call(stage, "endless_words", stream=True)  # what is allocated once is there
    forget_peak(stage.api.pid)
    before = peak_bytes(stage.api.pid)

    def keep(number: int) -> Any:
        path = MESSAGES if call is anthropic_call else "/v1/chat/completions"
        named = {"metadata": {"user_id": "endless_words"}}
        script = named if call is anthropic_call else {"mock": {"attack": "endless_words"}}
        body = chat_body("evil", max_tokens=MOST_TOKENS, stream=True, **script)
        once = {"idempotency-key": f"k-{number}"}
        return post(stage.api.url, stage.acme.key_text, body, path=path, **once)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(keep, range(4)))

    assert [answer.status_code for answer in answers] == [200] * 4
    assert peak_bytes(stage.api.pid) - before <= 4 * MOST_PER_STREAM
    assert keep(0).headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("attack", ["packed_zeros", "packed_answer"])
def test_a_packed_answer_is_never_unpacked(
    stage: Stage, hostile: HostileUpstream, attack: str, *, stream: bool
) -> None:
    openai_call(stage, attack, stream=stream)  # what is allocated once is there
    forget_peak(stage.api.pid)
    before = peak_bytes(stage.api.pid)

    answer = openai_call(stage, attack, stream=stream)

    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_error")
    assert peak_bytes(stage.api.pid) - before <= MOST_PER_STREAM
    assert not UsageEvent.objects.filter(org_id=stage.acme.org.pk).exists()
    wait_for(lambda: stage.acme.account.held_nanos == 0)
    assert_proven(stage.stores.database_url, stage.journals)


def test_what_is_kept_of_a_stream_is_let_go_once_it_is_too_large() -> None:
    from gateway.call import Call
    from gateway.dialects.openai import DIALECT

    async def send(_: Any) -> None:
        """Take it."""

    call = Call({}, b"", DIALECT, send)
    call.recording = bytearray()
    piece = b"x" * MIB
    for _ in range(MOST_KEPT_BYTES // MIB):
        call.send(piece).close()  # type: ignore[attr-defined] # a coroutine
    kept_bytes = len(call.recording or b"")
    call.send(piece).close()  # type: ignore[attr-defined] # a coroutine
    call.send(piece).close()  # type: ignore[attr-defined] # a coroutine

    assert kept_bytes == MOST_KEPT_BYTES
    assert call.recording is None
