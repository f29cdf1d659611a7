"""What one api process keeps for its calls, and the loops that look after it.

1. ``current_runtime`` opens it once: at lifespan start-up, or with the first call where a server
   has no lifespan (daphne).
2. Loops: bring the journal to disk, adopt dead processes' journals, refresh the catalogue, hear
   news of keys and models, tell live pages what moved.
3. ``stop``: wait for open calls, then for the writer, then let go of journal and pools.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from channels.layers import get_channel_layer
from django.conf import settings
from psycopg import Error as DatabaseError
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from redis.asyncio import Redis
from redis.exceptions import RedisError

from accounts.key_news import KEY_CHANNEL
from billing.adoption import adopt_orphans
from billing.database import connect_sync
from billing.holds import Closing
from billing.journal import Journal
from billing.tick import close_calls
from billing.writer import Writer
from gateway.auth import KeyRing
from gateway.books import Books
from gateway.cache.signatures import Signatures
from gateway.cache.store import AnswerCache
from gateway.call import Registry
from gateway.catalog import Catalog, load_catalog
from gateway.garbage import PAUSE_S, Collector
from gateway.idempotency import AnswerStore
from gateway.lag import LoopLag
from gateway.levels import Defaults
from gateway.limits import RateLimiter
from gateway.media_lookup import Lookup, MediaLookup
from gateway.metrics import Metrics
from gateway.news import CATALOG_CHANNEL
from gateway.providers.anthropic import AnthropicProvider
from gateway.providers.base import Provider
from gateway.providers.http import ProviderPool
from gateway.providers.openai import OpenAIProvider
from gateway.providers.simulator import SimulatorProvider, Speed
from gateway.routing.hints import Hints
from gateway.routing.router import Router
from kernel.ids import random_base62
from kernel.log import logger
from kernel.vault import PROVIDERS, Vault

SYNC_S = 0.1
ADOPT_S = 2.0
REFRESH_S = 5.0
LIVE_S = 0.5
log = logger(__name__)


class Runtime:
    """Lives in one event loop. ``catalog`` is replaced whole; a call keeps its own."""

    def __init__(self) -> None:
        self.pool = _make_pool()
        # whoever asks has a time of their own; the client's would be a task for every command
        self.redis = Redis.from_url(
            settings.REDIS_URL,
            socket_connect_timeout=1,
            socket_timeout=None,
            health_check_interval=0,
        )
        self.owner = f"{socket.gethostname()}-{os.getpid()}-{random_base62(8)}"
        journal = Journal(settings.JOURNAL_DIR, self.owner)
        wait_s = settings.HOLD_WAIT_MS / 1000  # seconds for asyncio, no money
        self.books = Books(journal, Writer(settings.DATABASE_URL, journal), hold_wait_s=wait_s)
        self.keys = KeyRing(self.pool, settings.KEY_PEPPERS, wait_s=wait_s)
        self.answers = AnswerStore(self.pool, settings.SECRET_KEY, wait_s=wait_s)
        self.cache = AnswerCache(
            self.redis, settings.SECRET_KEY, percent=settings.CACHE_PRICE_PERCENT
        )
        self.signatures = Signatures(self.cache)
        self.media = MediaLookup(
            Lookup(settings.MEDIA_LOOKUP), name_servers=settings.MEDIA_NAME_SERVERS
        )
        self.limiter = RateLimiter(
            self.redis,
            processes=settings.API_WORKERS,
            wait_s=settings.LIMITS_WAIT_MS / 1000,  # seconds for asyncio, no money
        )
        self.catalog = Catalog({})
        self.defaults = Defaults(
            rpm=settings.DEFAULT_RPM, tpm=settings.DEFAULT_TPM, most_call_s=settings.MAX_CALL_S
        )
        self.keep_alive_s = settings.KEEP_ALIVE_S
        self.calls = Registry()
        self.metrics = Metrics()
        self.watched_orgs: set[int] = set()
        self.lag = LoopLag(settings.SHED_LAG_MS / 1000)  # seconds for asyncio, no money
        self.is_stopping = False
        self._hints = Hints(self.redis, self.owner)
        self._provider_pool = ProviderPool(settings.PROVIDER_NETWORKS)
        self.router = Router(
            _make_providers(self._provider_pool),
            failures=settings.CIRCUIT_FAILURES,
            tell=self._hints.tell,
        )
        self._collector = Collector(lambda: len(self.calls))
        self._loops: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self.pool.open()
        await self.books.writer.start()
        with suppress(DatabaseError, PoolTimeout):
            self.catalog = await load_catalog(self.pool)
        self._collector.start()
        self.lag.start()
        for work, pause_s in (
            (self._sync_journal, SYNC_S),
            (self._adopt, ADOPT_S),
            (self._refresh, REFRESH_S),
            (self._tell_live_pages, LIVE_S),
            (self._hear_news, 1.0),
            (self._collector.collect, PAUSE_S),
        ):
            self._loops.append(asyncio.create_task(_repeat(work, pause_s), name=work.__name__))

    async def stop(self) -> None:
        self.is_stopping = True
        await self.calls.drain(settings.SHUTDOWN_S)
        await self.books.writer.stop(timeout_s=10)
        await self.limiter.stop()
        await self._hints.stop()
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._collector.stop()
        self.lag.stop()
        self.books.journal.close()
        await self._provider_pool.close()
        await self.media.close()
        await self.redis.aclose()
        await self.pool.close()

    @property
    def is_overloaded(self) -> bool:
        """Tell whether a new call would only make those that are open slower."""
        return len(self.calls) >= settings.MAX_CALLS_IN_FLIGHT or self.lag.is_too_much

    @property
    def is_ready(self) -> bool:
        return self.books.writer.is_connected and bool(self.catalog.models) and not self.is_stopping

    def render_metrics(self) -> bytes:
        return self.metrics.render(
            calls_in_flight=len(self.calls),
            unsettled_backlog=self.books.writer.backlog,
            loop_lag_ms=round(self.lag.average_s * 1000),
            journal_owed=self.books.journal.owed,
            rate_limits_local=self.limiter.fallbacks,
            circuits_open=self.router.open_circuits,
            failovers=self.router.retries.spent,
            failovers_denied=self.router.retries.denied,
            cache_hits=self.cache.hits,
            cache_misses=self.cache.misses,
        )

    async def _sync_journal(self) -> None:
        await asyncio.to_thread(self.books.journal.sync)

    async def _adopt(self) -> None:
        if self.books.writer.is_connected:
            self.metrics.count_adopted(await asyncio.to_thread(_adopt_orphans))

    async def _refresh(self) -> None:
        self.catalog = await load_catalog(self.pool)

    async def _tell_live_pages(self) -> None:
        layer = get_channel_layer()
        while layer is not None and self.watched_orgs:
            org_id = self.watched_orgs.pop()
            async with asyncio.timeout(1):
                await layer.group_send(f"org.{org_id}", {"type": "calls.changed"})

    async def _hear_news(self) -> None:
        """Listen until the connection breaks; what was missed meanwhile is forgotten wholesale."""
        self.keys.forget()
        async with Redis.from_url(settings.REDIS_URL) as redis, redis.pubsub() as news:
            await news.subscribe(KEY_CHANNEL, CATALOG_CHANNEL, self._hints.channel)
            self.keys.forget()
            async for message in news.listen():
                if message["type"] != "message":
                    continue
                if message["channel"] == KEY_CHANNEL.encode():
                    self.keys.forget(message["data"].decode())
                elif message["channel"] == self._hints.channel.encode():
                    self._hints.hear(message["data"], self.router)
                else:
                    await self._refresh()


def _make_pool() -> AsyncConnectionPool:
    options = {"options": "-c jit=off -c statement_timeout=2000", "connect_timeout": 5}
    return AsyncConnectionPool(
        settings.DATABASE_URL,
        kwargs={**options, "autocommit": True},
        min_size=1,
        max_size=4,
        timeout=2,
        open=False,
    )


def _make_providers(pool: ProviderPool) -> Mapping[str, Provider]:
    open_credential = Vault(settings.SECRET_KEY, PROVIDERS).open
    return {
        "openai": OpenAIProvider(pool, open_credential),
        "anthropic": AnthropicProvider(pool, open_credential),
        "simulator": SimulatorProvider(
            Speed.from_settings(settings.SIMULATOR_FIRST_TOKEN_MS, settings.SIMULATOR_TOKENS_PER_S)
        ),
    }


def _adopt_orphans() -> int:
    return adopt_orphans(settings.JOURNAL_DIR, _close_orphans)


def _close_orphans(closings: Sequence[Closing]) -> None:
    with connect_sync(
        settings.DATABASE_URL, "tollgate-adoption", statement_timeout_ms=10_000
    ) as connection:
        close_calls(connection, closings, "adoption")


async def _repeat(work: Callable[[], Awaitable[None]], pause_s: float) -> None:
    """Run ``work`` for ever; a failure is logged and tried again after the pause.

    What nobody foresaw is tried again too: a loop that ended would be missed by nobody, until
    journals are not adopted and prices not renewed.
    """
    name = getattr(work, "__name__", "")
    while True:
        try:
            await work()
        except (DatabaseError, PoolTimeout, RedisError, OSError, TimeoutError) as error:
            log.warning("loop_failed", loop=name, error=type(error).__name__)
        except Exception:
            log.exception("loop_failed", loop=name)
        await asyncio.sleep(pause_s)


_runtime: Runtime | None = None
_starting: asyncio.Lock | None = None


async def current_runtime() -> Runtime:
    """Return this process's runtime, started."""
    global _runtime, _starting  # noqa: PLW0603 # one a process, by design
    if _runtime is not None:
        return _runtime
    _starting = _starting or asyncio.Lock()
    async with _starting:
        if _runtime is None:
            runtime = Runtime()
            await runtime.start()
            _runtime = runtime
    return _runtime


async def stop_runtime() -> None:
    """Stop what was started; nothing to do where nothing was."""
    global _runtime  # one a process, by design
    if _runtime is not None:
        stopping, _runtime = _runtime, None
        await stopping.stop()
