"""Mixed load with faults at random: the books stay clean and no process grows.

The short form runs always; ``--long`` runs half an hour, or as many minutes as MIXED_LOAD_MINUTES
says: 50 requests a second, a fault each 20 s.
"""

import os
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis
import requests
from django.db import connection

from billing.models import Hold, UsageEvent
from gateway.models import Provider
from tests.calls import RawStream, chat_body, post, wait_for
from tests.factories import make_tenant
from tests.faults.conftest import Siege
from tests.servers import Server

MINUTES = int(os.environ.get("MIXED_LOAD_MINUTES", "30"))
MOST_GROWTH_KIB_A_MINUTE = 1024
WARM_S = 60
# What a platform under faults may say to callers, some of whom are broke.
EXPECTED = {200, 402, 502, 503, 504}
# What an upstream may do to a call, beside answering well.
SCRIPTS: list[dict[str, object]] = [
    {"stall_after": 5},
    {"fail_after": 3, "delay_ms": 1},
    {"status": 500},
    {"usage": False},
    {"head_after_ms": 1500},
]


class Load:
    """Callers that call, stream and leave until told to stop; some are nearly broke.

    A caller begins a call each ``period_s``, or at once where the last one took longer.
    """

    def __init__(self, ports: list[int], seed: int, *, callers: int, period_s: float) -> None:
        self.ports = ports
        self.stop = threading.Event()
        self.asked = 0
        self.served = 0
        self.unexpected: list[tuple[int, str]] = []
        self.lock = threading.Lock()
        self.period_s = period_s
        self.keys = [
            make_tenant(f"T{n}", credit_usd=usd).key_text
            for n, usd in enumerate(("1000", "0.5", "0.05"))
        ]
        self.threads = [
            threading.Thread(target=self.run, args=(random.Random(seed + n),))
            for n in range(callers)
        ]

    def run(self, dice: random.Random) -> None:
        due_at = time.monotonic() + dice.random() * self.period_s
        while not self.stop.wait(max(0, due_at - time.monotonic())):
            due_at = max(due_at, time.monotonic() - self.period_s) + self.period_s
            with suppress(OSError, requests.RequestException):
                self.one(dice)

    def one(self, dice: random.Random) -> None:
        port, key = dice.choice(self.ports), dice.choice(self.keys)
        script: dict[str, object] = {
            "chunks": dice.randrange(1, 80),
            "delay_ms": dice.choice([0, 0, 2, 10]),
        }
        if dice.random() < 0.1:
            script.update(dice.choice(SCRIPTS))
        streamed = dice.random() < 0.6
        body = chat_body("mock", stream=streamed, max_tokens=200, mock=script)
        with self.lock:
            self.asked += 1
        if streamed and dice.random() < 0.4:
            stream = RawStream(port, key, body)
            stream.socket.settimeout(5)
            stream.read_words(dice.randrange(1, 20))
            stream.leave()
            return
        answer = post(f"http://127.0.0.1:{port}", key, body)
        with self.lock:
            self.served += answer.status_code == 200
            if answer.status_code not in EXPECTED:
                self.unexpected.append((answer.status_code, answer.text[:400]))


@dataclass
class Growth:
    """Resident memory of the processes that live, by the minute of their own life."""

    samples: dict[int, list[tuple[float, int]]] = field(default_factory=dict)

    def sample(self, apis: dict[int, Server]) -> None:
        for api in apis.values():
            with suppress(OSError, IndexError):
                status = Path(f"/proc/{api.pid}/status").read_text()
                kib = int(status.split("VmRSS:")[1].split()[0])
                self.samples.setdefault(api.pid, []).append((time.monotonic(), kib))

    def steepest_kib_a_minute(self) -> int:
        """Return the steepest slope of a process that lived for minutes, its first one left out."""
        slopes = [0]
        for points in self.samples.values():
            warm = [point for point in points if point[0] - points[0][0] >= WARM_S]
            if warm and warm[-1][0] - warm[0][0] >= 2 * WARM_S:
                slopes.append(_slope(warm))
        return max(slopes)


def _slope(points: list[tuple[float, int]]) -> int:
    """Return the slope of the straight line through the points by least squares, per minute."""
    middle_t = sum(t for t, _ in points) / len(points)
    middle_kib = sum(kib for _, kib in points) / len(points)
    above = sum((t - middle_t) * (kib - middle_kib) for t, kib in points)
    return round(60 * above / sum((t - middle_t) ** 2 for t, _ in points))


class Faults:
    """Everything that is done to the platform, each by its name; each leaves it running."""

    def __init__(self, siege: Siege, apis: dict[int, Server], dice: random.Random) -> None:
        self.siege = siege
        self.apis = apis
        self.dice = dice
        self.all: list[Callable[[], None]] = [
            self.kill_an_api,
            self.kill_redis,
            self.flush_redis,
            self.freeze_redis,
            self.freeze_postgres,
            self.kill_postgres,
        ]

    def kill_an_api(self) -> None:
        # the first process is left alone, so that its memory can be looked at over time
        port = self.dice.choice(sorted(self.apis)[1:])
        self.apis[port].kill()
        self.apis[port] = self.siege.start_api(port=port)

    def kill_redis(self) -> None:
        self.siege.services.redis.kill()
        self.siege.services.restart_redis()

    def flush_redis(self) -> None:
        with redis.Redis.from_url(self.siege.services.redis_url) as store:
            store.flushall()

    def freeze_redis(self) -> None:
        self.siege.services.redis.freeze()
        time.sleep(self.dice.uniform(0.5, 5))
        self.siege.services.redis.thaw()

    def freeze_postgres(self) -> None:
        self.siege.services.postgres.freeze()
        time.sleep(self.dice.uniform(0.5, 5))
        self.siege.services.postgres.thaw()

    def kill_postgres(self) -> None:
        self.siege.services.postgres.kill()
        connection.close()
        self.siege.services.restart_postgres()


@dataclass(frozen=True)
class Storm:
    """How long, how often something breaks, and how many calls come meanwhile."""

    seconds: float
    fault_every_s: float
    callers: int
    period_s: float
    seed: int
    every_fault_first: bool = False


def batter(siege: Siege, storm: Storm) -> tuple[Load, Growth]:
    dice = random.Random(storm.seed)
    Provider.objects.update(stall_timeout_s=2)  # read again within seconds
    second = siege.start_api()
    apis = {siege.api.port: siege.api, second.port: second}
    load = Load(sorted(apis), storm.seed, callers=storm.callers, period_s=storm.period_s)
    faults, growth = Faults(siege, apis, dice), Growth()
    due = list(faults.all) if storm.every_fault_first else []
    for thread in load.threads:
        thread.start()
    began_at = time.monotonic()
    next_fault_at = began_at + storm.fault_every_s
    while time.monotonic() < began_at + storm.seconds:
        time.sleep(0.5)
        growth.sample(apis)
        if time.monotonic() >= next_fault_at:
            next_fault_at += storm.fault_every_s
            (due.pop() if due else dice.choice(faults.all))()
    load.stop.set()
    for thread in load.threads:
        thread.join(timeout=60)

    assert load.unexpected == []
    assert not due, "every fault came at least once"
    wait_for(no_open_holds, seconds=40, what="the end of all calls")
    assert UsageEvent.objects.count() >= load.served
    siege.prove()
    return load, growth


def no_open_holds() -> bool:
    return not Hold.objects.filter(state="held").exists()


@pytest.mark.timeout(300)
def test_half_a_minute_of_mixed_load_with_every_fault_leaves_the_books_clean(
    siege: Siege,
) -> None:
    storm = Storm(28, 4, callers=16, period_s=0.4, seed=7, every_fault_first=True)

    load, _ = batter(siege, storm)

    assert load.served > 50


@pytest.mark.long
@pytest.mark.timeout(MINUTES * 60 + 300)
def test_half_an_hour_at_50_calls_a_second_with_a_fault_each_20_s_leaves_the_books_clean(
    siege: Siege,
) -> None:
    storm = Storm(MINUTES * 60, 20, callers=48, period_s=0.96, seed=11, every_fault_first=True)

    load, growth = batter(siege, storm)

    assert load.asked >= 30 * MINUTES * 60, "callers wait for a broken platform, and go on"
    assert growth.steepest_kib_a_minute() <= MOST_GROWTH_KIB_A_MINUTE
