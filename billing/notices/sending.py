"""Sending what was claimed, all at once and each under a deadline, without the database.

A webhook is called at the address its name led to when it was checked (``kernel.addresses``); what
it answers is read up to a bound and thrown away, and a redirect is a failure like any other.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
from django.core.mail import EmailMessage

from kernel import clock
from kernel.addresses import Network, PinnedResolver, RefusedAddressError, check_url
from kernel.errors import BadRequestError
from kernel.log import logger

DEADLINE_S = 10.0
MOST_ANSWER_BYTES = 65_536
REFUSED = "the address may not be called"
log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Post:
    """A webhook's call."""

    url: str
    headers: dict[str, str]
    body: bytes
    networks: Sequence[Network]


@dataclass(frozen=True, slots=True)
class Mail:
    """A letter to one person; ``message_id`` is the same in every attempt."""

    to: str
    subject: str
    text: str
    message_id: str


@dataclass(frozen=True, slots=True)
class Unsendable:
    """What could not even be written, and why."""

    why: str


Message = Post | Mail | Unsendable


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended; ``error`` empty is delivered. No address and no secret stands in it."""

    error: str = ""
    status: int | None = None
    duration_ms: int = 0

    @property
    def is_delivered(self) -> bool:
        return not self.error


def send_all(messages: Sequence[Message]) -> list[Outcome]:
    """Send messages at once and return their outcomes in order; none raises."""

    async def gather() -> list[Outcome]:
        return await asyncio.gather(*(_send(message) for message in messages))

    return asyncio.run(gather())


async def _send(message: Message) -> Outcome:
    started = clock.monotonic()
    try:
        match message:
            case Post():
                error, status = await _post(message)
            case Mail():
                error, status = await asyncio.to_thread(_mail, message), None
            case Unsendable():
                error, status = message.why, None
    except Exception as fault:  # one message's fault is not the others'
        log.error("message_failed", exc_info=fault)
        error, status = type(fault).__name__, None
    return Outcome(error, status, round((clock.monotonic() - started) * 1000))


async def _post(post: Post) -> tuple[str, int | None]:
    """Return what went wrong, if anything, and the status."""
    in_clear = urlsplit(post.url).scheme == "http"
    try:
        check_url(post.url, post.networks)
        resolver = PinnedResolver(post.networks, only_named=in_clear)
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=resolver),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=DEADLINE_S),
            ) as session,
            session.post(
                post.url, data=post.body, headers=post.headers, allow_redirects=False
            ) as answer,
        ):
            await answer.content.read(MOST_ANSWER_BYTES)
            is_fine = 200 <= answer.status < 300  # noqa: PLR2004 # what HTTP calls success
            return ("" if is_fine else f"answered {answer.status}"), answer.status
    except BadRequestError:
        return REFUSED, None
    except TimeoutError:
        return f"no answer within {DEADLINE_S:g} s", None
    except aiohttp.ClientConnectorError as error:
        is_refused = isinstance(error.os_error, RefusedAddressError)
        return (REFUSED if is_refused else "no connection"), None
    except aiohttp.ClientError as error:
        return f"no answer: {type(error).__name__}", None


def _mail(mail: Mail) -> str:
    letter = EmailMessage(
        mail.subject, mail.text, to=[mail.to], headers={"Message-ID": mail.message_id}
    )
    try:
        letter.send()
    except OSError as error:  # every fault of smtplib is one
        return f"the mail server failed: {type(error).__name__}"
    return ""
