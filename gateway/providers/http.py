"""Calling out over HTTP: one connection pool, no redirects, errors in the platform's words."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, Literal

import aiohttp
import orjson
from aiohttp.connector import Connection

from gateway.catalog import Deployment
from gateway.providers.faults import OverloadedError, OwnKeyRefusedError
from kernel.addresses import (
    Network,
    PinnedResolver,
    RefusedAddressError,
    find_literal,
    is_allowed,
)
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
_FIELD = re.compile(r"[a-z_][a-z0-9_.]{0,99}(?=: )")
# Anthropic says 400 of an account without credit, OpenAI 429: nothing a caller can mend.
_ACCOUNT = re.compile(r"credit balance", re.IGNORECASE)
_NO_QUOTA = {"insufficient_quota", "billing_hard_limit_reached"}
# A megabyte that is packed may be a gigabyte, and what streams is small and wanted at once.
_HEADERS = {"content-type": "application/json", "accept-encoding": "identity"}
log = logger(__name__)


def open_session(networks: Sequence[Network]) -> aiohttp.ClientSession:
    """Return the process's own pool, which calls public addresses and ``networks``; close it."""
    return aiohttp.ClientSession(
        connector=GuardedConnector(networks),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


class GuardedConnector(aiohttp.TCPConnector):
    """Connects to allowed addresses only, whatever a provider's row or a name server says.

    Names are judged as they are resolved, and the connection goes to what was judged. Connections
    in the clear have a pool and a memory of names of their own, where public addresses are none.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        super().__init__(
            limit=MOST_CONNECTIONS,
            keepalive_timeout=30,
            ttl_dns_cache=60,
            resolver=PinnedResolver(networks),
        )
        self._clear = aiohttp.TCPConnector(
            limit=MOST_CONNECTIONS,
            keepalive_timeout=30,
            ttl_dns_cache=60,
            resolver=PinnedResolver(networks, only_named=True),
        )
        self._networks = networks
        self._may_call = lru_cache(maxsize=1024)(self._judge)

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 # aiohttp's own signature
    ) -> Connection:
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
def _deadlines(connect_s: int, read_s: int | None) -> aiohttp.ClientTimeout:
    """Return what a provider's operator lets it take until it answers, and between two reads.

    Where an answer streams, no read has a time of its own: the watch over the call knows better,
    and a timer set anew for every chunk was a good part of what relaying it cost. The watch knows
    the time for the whole answer too.
    """
    return aiohttp.ClientTimeout(total=None, connect=connect_s, sock_read=read_s)


class HttpUpstream:
    """An answer that has begun with a good status."""

    speaks_events: Literal[False] = False

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield what has arrived, at once, in bounded pieces.

        Raises:
            UpstreamError, UpstreamTimeoutError: when it breaks or stalls.

        """
        content = self._response.content
        try:
            while data := await content.read(MOST_PIECE_BYTES):
                yield data
                if len(data) == MOST_PIECE_BYTES:
                    # more waits already: without a turn of the loop the server would buffer it all
                    # before it could say that the caller does not read
                    await asyncio.sleep(0)
        except (aiohttp.SocketTimeoutError, TimeoutError) as error:
            raise UpstreamTimeoutError("The model's provider stopped answering.") from error
        except aiohttp.ClientError as error:
            raise UpstreamError("The model's provider broke off its answer.") from error

    async def aclose(self) -> None:
        # not release(): a half-read answer must end the upstream's work, so its connection goes;
        # of a whole one it has gone back by now
        if self._response.connection is not None:
            self._response.close()


async def post_json(
    session: aiohttp.ClientSession,
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
        async with asyncio.timeout(deployment.read_timeout_s):
            response = await session.post(
                url,
                data=aiohttp.BytesPayload(body),
                headers={**_HEADERS, **headers},
                timeout=_deadlines(deployment.connect_timeout_s, read_s),
                allow_redirects=False,
            )
    except (aiohttp.ConnectionTimeoutError, aiohttp.SocketTimeoutError, TimeoutError) as error:
        raise UpstreamTimeoutError("The model's provider did not answer in time.") from error
    except (aiohttp.ClientError, OSError) as error:
        log.warning("upstream_not_reached", error=type(error).__name__)
        raise UpstreamError("The model's provider cannot be reached.") from error
    if response.status == 200:  # noqa: PLR2004 # OK
        if response.headers.get("content-encoding", "identity").lower() == "identity":
            return HttpUpstream(response)
        response.close()
        log.warning("upstream_packed_its_answer", provider=deployment.provider)
        raise UpstreamError("The model's provider sent an answer that nobody asked to be packed.")
    raise await _refused(response, is_own_key=deployment.key_owner is not None)


async def _read_error(response: aiohttp.ClientResponse) -> Mapping[str, Any]:
    try:
        async with asyncio.timeout(2):
            text = await response.content.read(MOST_ERROR_BYTES)
        error = orjson.loads(text).get("error")
    except (aiohttp.ClientError, TimeoutError, ValueError, AttributeError):
        return {}
    return error if isinstance(error, dict) else {}


def _field_of(error: Mapping[str, Any]) -> str | None:
    """Return the field at fault: OpenAI names it apart, Anthropic before the reason."""
    param = error.get("param")
    if param is None:
        named = _FIELD.match(str(error.get("message")))
        return named[0] if named else None
    return param if isinstance(param, str) else None


def _come_back_s(response: aiohttp.ClientResponse) -> int | None:
    """Return when to ask again, where that is said in whole seconds; a date is not believed."""
    said = response.headers.get("retry-after", "").strip()
    return int(said) if re.fullmatch(r"[0-9]{1,6}", said, re.ASCII) else None


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


async def _refused(response: aiohttp.ClientResponse, *, is_own_key: bool) -> TollgateError:
    error = await _read_error(response)
    response.close()
    log.warning("upstream_refused", status=response.status, is_own_key=is_own_key)
    is_about_account = _is_about_account(response.status, error)
    if is_own_key and is_about_account:
        return OwnKeyRefusedError()
    match response.status:
        case 400 if is_about_account:
            return UpstreamError("The model's provider failed to answer.")
        case 400 | 413 | 422:
            return BadRequestError(
                "The model's provider did not accept this request.", param=_field_of(error)
            )
        case 408 | 504:
            return UpstreamTimeoutError("The model's provider did not answer in time.")
        case 429 | 503 | 529:
            return OverloadedError(_come_back_s(response))
        case _:
            return UpstreamError("The model's provider failed to answer.")
