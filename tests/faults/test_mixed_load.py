"""Mixed load with processes and Redis dying at random: the books stay clean.

The short form runs always; ``--long`` runs ten minutes.
"""

import random
import threading
import time
from contextlib import ExitStack, suppress

import pytest
import requests

from billing.models import Hold, UsageEvent
from tests.books import assert_proven
from tests.calls import RawStream, chat_body, post, wait_for
from tests.factories import make_tenant
from tests.faults.conftest import Siege
from tests.servers import Server, free_port, running_api


class Load:
    """Callers that call, stream and leave until told to stop; some are nearly broke."""

    def __init__(self, siege: Siege, ports: list[int], seed: int) -> None:
        self.siege = siege
        self.ports = ports
        self.stop = threading.Event()
        self.served = 0
        self.lock = threading.Lock()
        self.keys = [
            make_tenant(f"T{n}", credit_usd=usd).key_text
            for n, usd in enumerate(("100", "0.5", "0.05"))
        ]
        self.threads = [
            threading.Thread(target=self.run, args=(random.Random(seed + n),)) for n in range(8)
        ]

    def run(self, dice: random.Random) -> None:
        while not self.stop.is_set():
            with suppress(OSError, requests.RequestException):
                self.one(dice)
            time.sleep(0.02)

    def one(self, dice: random.Random) -> None:
        port, key = dice.choice(self.ports), dice.choice(self.keys)
        script = {"chunks": dice.randrange(1, 80), "delay_ms": dice.choice([0, 0, 2, 10])}
        streamed = dice.random() < 0.6
        body = chat_body("mock", stream=streamed, max_tokens=200, mock=script)
        if streamed and dice.random() < 0.4:
            stream = RawStream(port, key, body)
            stream.read_words(dice.randrange(1, 20))
            stream.leave()
            return
        answer = post(f"http://127.0.0.1:{port}", key, body)
        assert answer.status_code in {200, 402, 503}, answer.text
        with self.lock:
            self.served += answer.status_code == 200


def batter(siege: Siege, *, seconds: float, pause_s: float, seed: int) -> None:
    dice = random.Random(seed)
    ports = [free_port(), free_port()]
    lives: list[ExitStack] = []

    def start(port: int) -> Server:
        life = ExitStack()
        lives.append(life)
        return life.enter_context(
            running_api(
                siege.services.database_url, siege.services.redis_url, siege.folder, port=port
            )
        )

    apis = {port: start(port) for port in ports}
    load = Load(siege, ports, seed)
    for thread in load.threads:
        thread.start()
    deadline = time.monotonic() + seconds
    kills = 0
    while time.monotonic() < deadline:
        time.sleep(pause_s)
        if dice.random() < 0.3:
            siege.services.redis.kill()
            siege.services.restart_redis()
        else:
            port = dice.choice(ports)
            apis[port].kill()
            apis[port] = start(port)
        kills += 1
    load.stop.set()
    for thread in load.threads:
        thread.join(timeout=60)

    wait_for(lambda: not Hold.objects.filter(state="held").exists(), seconds=15)
    for life in lives:
        life.close()
    assert kills >= 3
    assert load.served > 50
    assert UsageEvent.objects.count() >= load.served
    assert_proven(siege.services.database_url, siege.folder / "journal")


def test_half_a_minute_of_mixed_load_with_random_kills_leaves_the_books_clean(
    siege: Siege,
) -> None:
    batter(siege, seconds=30, pause_s=4, seed=7)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_ten_minutes_of_mixed_load_with_random_kills_leave_the_books_clean(siege: Siege) -> None:
    batter(siege, seconds=600, pause_s=10, seed=11)
