"""Where the addresses of media lead, asked before a provider gets them (ADR 34).

Nothing is loaded here. A provider loads what a caller names, and one in the operator's own network
would load it from there. What an address says by itself was judged by the dialect. Here:

1. Every name is resolved. One with an address that is not public is refused.
2. Redirects are followed, by asking for heads alone, up to five in a row and each judged as the
   first address was; connections go to what was judged.

What gives no answer here is passed on: a provider asks from another network, and says itself what
it cannot load.
"""

import asyncio
import socket
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from enum import StrEnum
from hashlib import blake2b
from typing import Any, TypeVar
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import ResolveResult
from aiohttp.resolver import AsyncResolver
from yarl import URL

from gateway.chat import Media
from kernel import clock
from kernel.addresses import (
    Network,
    RefusedAddressError,
    find_literal,
    is_public_url,
    refuse_private,
)
from kernel.errors import BadRequestError

MOST_ADDRESSES = 500
MOST_REDIRECTS = 5
MOST_URL = 8000
MOST_KNOWN = 20_000
KNOWN_S = 60.0
NAMES_S = 1.0
HEADS_S = 2.0
MOST_AT_ONCE = 64
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
T = TypeVar("T")


class Lookup(StrEnum):
    """How far addresses are looked up."""

    NONE = "none"
    NAMES = "names"
    REDIRECTS = "redirects"


class MediaLookup:
    """One process's lookups, bounded in number and time; close it.

    ``name_servers`` are asked in place of the system's, each as ``address`` or ``address:port``.
    ``networks`` may be reached besides public addresses.
    """

    def __init__(
        self,
        lookup: Lookup,
        *,
        name_servers: Sequence[str] = (),
        networks: Sequence[Network] = (),
    ) -> None:
        self._lookup = lookup
        self._resolver = _Resolver(name_servers, networks)
        # a caller may name hosts by the hundred: none of them feels more than a few of us
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=self._resolver, limit=32, limit_per_host=4),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"user-agent": "Tollgate"},
        )
        self._turns = asyncio.Semaphore(MOST_AT_ONCE)
        self._known: dict[bytes, float] = {}

    async def check(self, media: Iterable[Media]) -> None:
        """Look up the addresses among ``media``, once a minute each.

        Raises:
            BadRequestError: for the first that leads to an address which is not public, or for
                more addresses than are looked up.

        """
        if self._lookup is Lookup.NONE:
            return
        asked = self._find_unknown(media)
        if not asked:
            return
        inside = await self._find_inside([*asked])
        for url, path in asked.items():
            if url in inside:
                raise _refusal("The address leads to one that is not publicly accessible.", path)
        self._remember(asked)

    async def close(self) -> None:
        await self._session.close()
        await self._resolver.close()

    def _find_unknown(self, media: Iterable[Media]) -> dict[str, str]:
        """Return the addresses to look up, each with where it first stood."""
        asked: dict[str, str] = {}
        now = clock.monotonic()
        for each in media:
            url = each.url
            if url[:5].lower() == "data:" or url in asked or self._known.get(_mark(url), 0) > now:
                continue
            if len(asked) == MOST_ADDRESSES:
                raise _refusal(
                    f"A request may name at most {MOST_ADDRESSES} addresses.", each.url_path
                )
            asked[url] = each.url_path
        return asked

    def _remember(self, urls: Iterable[str]) -> None:
        if len(self._known) > MOST_KNOWN:
            self._known.clear()
        until = clock.monotonic() + KNOWN_S
        self._known.update((_mark(url), until) for url in urls)

    async def _find_inside(self, urls: Sequence[str]) -> set[str]:
        """Return those that lead inside, as far as that can be told in time."""
        hosts = {url: _find_host(url) for url in urls}
        names = {host for host in hosts.values() if host and not find_literal(host)}
        judged = await _gather({name: self._is_private(name) for name in names}, NAMES_S)
        inside = {url for url, host in hosts.items() if judged.get(host)}
        if inside or self._lookup is Lookup.NAMES:
            return inside
        followed = {url: self._is_led_inside(url) for url in urls if len(url) <= MOST_URL}
        return {url for url, is_led in (await _gather(followed, HEADS_S)).items() if is_led}

    async def _is_private(self, name: str) -> bool:
        try:
            async with self._turns:
                await self._resolver.resolve(name, family=socket.AF_UNSPEC)
        except RefusedAddressError:
            return True
        except OSError:
            return False
        return False

    async def _is_led_inside(self, url: str) -> bool:
        """Tell whether redirects lead to an address that is not public, or on and on."""
        for _ in range(MOST_REDIRECTS + 1):
            try:
                async with self._session.head(url, allow_redirects=False) as answer:
                    target = answer.headers.get("location")
                    if answer.status not in _REDIRECTS or target is None:
                        return False
            except aiohttp.ClientConnectorError as error:
                return isinstance(error.os_error, RefusedAddressError)
            except (aiohttp.ClientError, OSError, ValueError):  # ValueError: no address after all
                return False
            url = _join(url, target)
            if not is_public_url(url):
                return True
        return True


class _Resolver(AsyncResolver):
    """Asks name servers without a thread: a slow one holds up nobody else's work."""

    def __init__(self, name_servers: Sequence[str], networks: Sequence[Network]) -> None:
        super().__init__(nameservers=[*name_servers] or None, timeout=NAMES_S / 2, tries=2)
        self._networks = networks

    async def resolve(self, *args: Any, **kwargs: Any) -> list[ResolveResult]:
        found = await super().resolve(*args, **kwargs)
        refuse_private(found, self._networks)
        return found


async def _gather(work: Mapping[str, Coroutine[Any, Any, T]], most_s: float) -> dict[str, T]:
    """Return the results that are there in time, by name; what is late is cancelled."""
    if not work:
        return {}
    tasks = {name: asyncio.create_task(each) for name, each in work.items()}
    try:
        await asyncio.wait(tasks.values(), timeout=most_s)
        return {name: task.result() for name, task in tasks.items() if task.done()}
    finally:
        for task in tasks.values():
            task.cancel()


def _find_host(url: str) -> str:
    """Return the host as it would be asked for, empty for an address that is none."""
    try:
        return URL(url).raw_host or ""
    except ValueError:
        return ""


def _join(url: str, target: str) -> str:
    """Return where a redirect leads, empty for what is no address."""
    try:
        return urljoin(url, target)
    except ValueError:
        return ""


def _mark(url: str) -> bytes:
    return blake2b(url.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _refusal(message: str, path: str) -> BadRequestError:
    return BadRequestError(message, param=path, code="invalid_image_url")
