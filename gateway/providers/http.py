"""Calling out over HTTP: one connection pool, no redirects, errors in the platform's words."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache, partial
from typing import Any, Literal, Self, cast

import aiohttp
import orjson
from aiohttp.connector import Connection as Lease
from yarl import URL

from gateway.catalog import Deployment
from gateway.providers.connection import ProviderConnection
from gateway.providers.faults import (
    BeyondContextError,
    OverloadedError,
    OwnKeyRefusedError,
    find_field,
    is_beyond_context,
)
from kernel.addresses import (
    Network,
    PinnedResolver,
    RefusedAddressError,
    find_literal,
    is_allowed,
)
from kernel.deadlines import Deadline
from kernel.errors import (
    BadRequestError,
    TollgateError,
    UpstreamError,
    UpstreamTimeoutError,
)
from kernel.log import logger

MOST_CONNECTIONS = 8192
MOST_ERROR_BYTES = 64 * 1024
# What a caller who stops reading may be billed for and not get is two of these and two buffers.
MOST_PIECE_BYTES = 32 * 1024
# Anthropic says 400 of an account without credit, OpenAI 429: nothing a caller can mend.
_ACCOUNT = re.compile(r"credit balance", re.IGNORECASE)
_NO_QUOTA = {"insufficient_quota", "billing_hard_limit_reached"}
# A megabyte that is packed may be a gigabyte, and what streams is small and wanted at once.
_HEADERS = (
    "user-agent: Tollgate\r\naccept: */*\r\naccept-encoding: identity\r\n"
    "content-type: application/json\r\n"
)
_UNSENDABLE = re.compile(r"[^\t\x20-\x7e]")
log = logger(__name__)


class ProviderPool:
    """The process's own connections, to public addresses and ``networks``; close it."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._connector = GuardedConnector(networks)
        self._target = lru_cache(maxsize=1024)(_find_target)

    async def ask(
        self, url: str, body: bytes, headers: Mapping[str, str], *, connect_s: int
    ) -> tuple[Lease, ProviderConnection]:
        """Post a body and return its connection once the head of the answer is there.

        Raises:
            aiohttp.ClientError, OSError, TimeoutError: when there is no connection.
            TollgateError: when the answer does not begin.

        """
        target = self._target(url)
        head = _render_head(target, headers, len(body))
        lease = await self._connector.connect(target, [], _time_to_connect(connect_s))
        connection = cast("ProviderConnection", lease.protocol)  # made by its connector
        try:
            connection.ask(head, body)
            while not connection.check_head():
                await connection.arrival()
        except BaseException:
            lease.close()
            raise
        return lease, connection

    async def close(self) -> None:
        await self._connector.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _find_target(url: str) -> aiohttp.ClientRequest:
    """Return what a connector is asked with: where to go, and whether by TLS."""
    return aiohttp.ClientRequest("POST", URL(url), loop=asyncio.get_running_loop())


def _render_head(target: aiohttp.ClientRequest, headers: Mapping[str, str], length: int) -> bytes:
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if any(_UNSENDABLE.search(value) for value in headers.values()):
        log.error("credential_unsendable", host=target.host)
        raise UpstreamError("The model's provider cannot be reached.")
    return (
        f"POST {target.url.raw_path_qs} HTTP/1.1\r\nhost: {target.headers['host']}\r\n"
        f"{_HEADERS}{lines}content-length: {length}\r\n\r\n"
    ).encode("ascii")


class ProviderConnector(aiohttp.TCPConnector):
    """Connects to where its resolver leads, and keeps connections of our own make."""

    def __init__(self, resolver: PinnedResolver) -> None:
        super().__init__(
            limit=MOST_CONNECTIONS, keepalive_timeout=30, ttl_dns_cache=60, resolver=resolver
        )
        # it has what the connector uses of its own protocol, and no more
        self._factory = partial(ProviderConnection, self._loop)  # type: ignore[arg-type,assignment]


class GuardedConnector(ProviderConnector):
    """Connects to allowed addresses only, whatever a provider's row or a name server says.

    Names are judged as they are resolved, and the connection goes to what was judged. Connections
    in the clear have a pool and a memory of names of their own, where public addresses are none.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        super().__init__(PinnedResolver(networks))
        self._clear = ProviderConnector(PinnedResolver(networks, only_named=True))
        self._networks = networks
        self._may_call = lru_cache(maxsize=1024)(self._judge)

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 # aiohttp's own signature
    ) -> Lease:
        """Refuse addresses that need no resolving, and what would leave the house in the clear."""
        in_clear = req.url.scheme != "https"
        if not self._may_call(req.url.host or "", in_clear=in_clear):
            raise RefusedAddressError("The provider's address may not be called.")
        if in_clear:
            return await self._clear.connect(req, traces, timeout)
        return await super().connect(req, traces, timeout)

    async def close(self, *, abort_ssl: bool = False) -> None:
        await self._clear.close(abort_ssl=abort_ssl)
        await super().close(abort_ssl=abort_ssl)

    def _judge(self, host: str, *, in_clear: bool) -> bool:
        """Tell whether a host may be called, as its spelling says; names are resolved later."""
        literal = find_literal(host)
        if literal is None:
            return bool(self._networks) or not in_clear
        return is_allowed(literal, self._networks, only_named=in_clear)


@cache
def _time_to_connect(connect_s: int) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=connect_s)


class HttpUpstream:
    """An answer that has begun.

    ``read_s`` bounds the wait for each piece. Where an answer streams, the watch over the call
    knows better, and a timer set anew for every chunk was a good part of what relaying it cost.
    """

    __slots__ = ("_connection", "_is_full", "_lease", "_read_s")
    speaks_events: Literal[False] = False

    def __init__(self, lease: Lease, connection: ProviderConnection, read_s: int | None) -> None:
        self._lease: Lease | None = lease
        self._connection = connection
        self._read_s = read_s
        self._is_full = False

    def take_whole(self) -> bytes | None:
        """Return a body that has arrived already, as much as a connection buffers at the most."""
        body = self._connection.take_whole()
        if body is not None:
            self._release()
        return body

    async def read(self) -> bytes:
        """Return what has arrived, at once and in bounded pieces; empty at the end.

        Raises:
            UpstreamError, UpstreamTimeoutError: when it breaks or stalls.

        """
        if self._is_full:
            # more waits already: without a turn of the loop the server would buffer it all before
            # it could say that the caller does not read
            await asyncio.sleep(0)
        connection = self._connection
        while (piece := connection.take(MOST_PIECE_BYTES)) is None:
            await connection.arrival(self._read_s)
        self._is_full = len(piece) == MOST_PIECE_BYTES
        if not piece:
            self._release()
        return piece

    def _release(self) -> None:
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    async def aclose(self) -> None:
        # no release: a half-read answer must end the upstream's work, so its connection goes
        if self._lease is not None:
            self._lease.close()
            self._lease = None


async def post_json(
    pool: ProviderPool,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    deployment: Deployment,
    *,
    streams: bool,
) -> HttpUpstream:
    """Send a JSON body and return the answer once its status is good.

    Raises:
        TollgateError: for everything else, in the platform's words.

    """
    slowest_s = max(deployment.read_timeout_s, deployment.first_token_timeout_s)
    read_s = None if streams else max(slowest_s, deployment.stall_timeout_s)
    try:
        with Deadline(deployment.read_timeout_s):
            lease, connection = await pool.ask(
                url, body, headers, connect_s=deployment.connect_timeout_s
            )
    except TimeoutError as error:
        raise UpstreamTimeoutError("The model's provider did not answer in time.") from error
    except (aiohttp.ClientError, OSError) as error:
        log.warning("upstream_not_reached", error=type(error).__name__)
        raise UpstreamError("The model's provider cannot be reached.") from error
    upstream = HttpUpstream(lease, connection, read_s)
    if connection.status != 200:  # noqa: PLR2004 # OK
        raise await _refused(upstream, connection, is_own_key=deployment.key_owner is not None)
    if connection.headers.get(b"content-encoding", b"identity").lower() == b"identity":
        return upstream
    await upstream.aclose()
    log.warning("upstream_packed_its_answer", provider=deployment.provider)
    raise UpstreamError("The model's provider sent an answer that nobody asked to be packed.")


async def _read_error(upstream: HttpUpstream) -> Mapping[str, Any]:
    text = b""
    try:
        with Deadline(2):
            while len(text) < MOST_ERROR_BYTES and (piece := await upstream.read()):
                text += piece
        error = orjson.loads(text).get("error")
    except (TollgateError, TimeoutError, ValueError, AttributeError):
        return {}
    finally:
        await upstream.aclose()
    return error if isinstance(error, dict) else {}


def _come_back_s(headers: Mapping[bytes, bytes]) -> int | None:
    """Return when to ask again, where that is said in whole seconds; a date is not believed."""
    said = headers.get(b"retry-after", b"").strip()
    return int(said) if re.fullmatch(rb"[0-9]{1,6}", said) else None


def _is_about_account(status: int, error: Mapping[str, Any]) -> bool:
    """Tell whether a refusal is of the credential, or of the account behind it."""
    match status:
        case 401 | 402 | 403:
            return True
        case 400:
            return _ACCOUNT.search(str(error.get("message"))) is not None
        case 429:
            return not _NO_QUOTA.isdisjoint({str(error.get("code")), str(error.get("type"))})
        case _:
            return False


async def _refused(
    upstream: HttpUpstream, connection: ProviderConnection, *, is_own_key: bool
) -> TollgateError:
    status, headers = connection.status, connection.headers
    error = await _read_error(upstream)
    log.warning("upstream_refused", status=status, is_own_key=is_own_key)
    is_about_account = _is_about_account(status, error)
    if is_own_key and is_about_account:
        return OwnKeyRefusedError()
    match status:
        case 400 if is_about_account:
            return UpstreamError("The model's provider failed to answer.")
        case 400 if is_beyond_context(error):
            return BeyondContextError()
        case 400 | 413 | 422:
            return BadRequestError(
                "The model's provider did not accept this request.", param=find_field(error)
            )
        case 408 | 504:
            return UpstreamTimeoutError("The model's provider did not answer in time.")
        case 429 | 503 | 529:
            return OverloadedError(_come_back_s(headers))
        case _:
            return UpstreamError("The model's provider failed to answer.")
