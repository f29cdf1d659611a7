"""A disk that takes no more: the kernel itself refuses the api process every write to a file."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

from billing.models import Hold, UsageEvent
from tests.calls import RawStream, chat_body, post, wait_for
from tests.faults.conftest import Field

STREAMS, WORDS = 5, 60


@contextmanager
def full_disk(pid: int) -> Iterator[None]:
    """Let a process write no more to files; what it has open stays open."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def test_over_a_full_disk_open_streams_finish_and_are_settled_and_new_calls_are_503(
    field: Field,
) -> None:
    api = field.start_api()
    script = {"chunks": WORDS, "delay_ms": 25}
    streams = [
        RawStream(api.port, field.acme.key_text, chat_body(stream=True, mock=script))
        for _ in range(STREAMS)
    ]
    for stream in streams:
        stream.read_words(3)

    with full_disk(api.pid):
        refused = post(api.url, field.acme.key_text, chat_body())
        endings = [stream.read_until(lambda data: b"[DONE]" in data) for stream in streams]
        wait_for(lambda: UsageEvent.objects.count() == STREAMS)

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert all(b"data: [DONE]" in ending for ending in endings)
    rows = UsageEvent.objects.values_list("outcome", "output", "evidence")
    assert set(rows) == {("completed", WORDS, "provider")}
    wait_for(lambda: not Hold.objects.filter(state="held").exists())
    wait_for(lambda: post(api.url, field.acme.key_text, chat_body()).status_code == 200)
    wait_for(lambda: UsageEvent.objects.count() == STREAMS + 1)
    field.prove()
