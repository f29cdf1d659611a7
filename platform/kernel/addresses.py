"""Which addresses may be called: public ones, and private networks that a setting names.

1. As text: ``is_public_url`` for addresses that are handed on, ``check_url`` for those we call.
   Literal addresses are judged here, in every old spelling (127.1, 0x7f000001, 2130706433).
2. Names are resolved by a ``PinnedResolver``. Every answer must be allowed, or none is used; the
   connection then goes to what was checked, so that a name cannot change its mind in between.
3. Redirects would begin anew with an address nobody checked: callers do not follow them.
"""

import re
import socket
import unicodedata
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit

from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver

from kernel.errors import BadRequestError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MOST_URL = 2000
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\\ud800-\udfff]")
_HOST = re.compile(r"[\w.-]{1,253}")
_PRIVATE_NAME = re.compile(r"(?:.*\.)?(?:localhost|local|internal|intranet|home\.arpa)\.?")
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
# Python's releases differ about these: protocol assignments, relays of 6to4.
_CLOSED = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))


class RefusedAddressError(OSError):
    """A name leads to an address that may not be called."""


def is_public(address: Address) -> bool:
    """Tell whether an address is on the public internet, with every IPv4 address inside it too."""
    if isinstance(address, IPv4Address):
        is_closed = any(address in network for network in _CLOSED)
        return address.is_global and not address.is_multicast and not is_closed
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    inner = [*(address.teredo or ()), *([address.sixtofour] if address.sixtofour else ())]
    return (
        address in _GLOBAL_UNICAST
        and address.is_global
        and all(is_public(embedded) for embedded in inner)
    )


def is_allowed(address: Address, networks: Sequence[Network], *, only_named: bool = False) -> bool:
    """Tell whether an address is in a named network or, unless ``only_named``, public."""
    plain = getattr(address, "ipv4_mapped", None) or address
    return any(plain in network for network in networks) or (not only_named and is_public(plain))


def is_public_url(url: str) -> bool:
    """Tell whether a URL is http(s) to a host that is not plainly private, as far as text tells."""
    parts = _split(url)
    if parts is None:
        return False
    host = parts.hostname or ""
    literal = find_literal(host)
    if literal:
        return is_public(literal)
    return "." in host.rstrip(".") and _is_public_name(host)  # without a dot: a machine next door


def check_url(url: str, networks: Sequence[Network]) -> None:
    """Refuse an address that we would not call; names are resolved only when they are called.

    Plain http is for named networks: what leaves the house is encrypted.

    Raises:
        BadRequestError: for another scheme, a name or password in it, a private or odd host.

    """
    parts = _split(url)
    if parts is None or len(url) > MOST_URL or parts.fragment or "@" in parts.netloc:
        raise BadRequestError(
            "Give a whole address, such as https://example.com/hooks.", param="url"
        )
    if parts.scheme != "https" and not networks:
        raise BadRequestError("The address must begin with https://.", param="url")
    literal = find_literal(parts.hostname or "")
    only_named = parts.scheme != "https"
    if literal is not None:
        is_fine = is_allowed(literal, networks, only_named=only_named)
    else:
        is_fine = bool(networks) or _is_public_name(parts.hostname or "")
    if not is_fine:
        raise BadRequestError("The address is private; it cannot be called from here.", param="url")


def find_literal(host: str) -> Address | None:
    """Return the address that a host spells out, in whatever old form; None for a name."""
    host = unicodedata.normalize("NFKC", host).lower()
    if ":" in host:
        return ip_address(host.partition("%")[0])
    try:
        return IPv4Address(socket.inet_aton(host.rstrip(".")))
    except OSError:
        return None


def refuse_private(
    found: Iterable[ResolveResult], networks: Sequence[Network], *, only_named: bool = False
) -> None:
    """Check all addresses that a name has.

    Raises:
        RefusedAddressError: when one of them may not be called.

    """
    for each in found:
        address = ip_address(each["host"].partition("%")[0])
        if not is_allowed(address, networks, only_named=only_named):
            raise RefusedAddressError("The name leads to an address that may not be called.")


class PinnedResolver(ThreadedResolver):
    """Resolves a name once and refuses it when any of its addresses may not be called."""

    def __init__(self, networks: Sequence[Network], *, only_named: bool = False) -> None:
        super().__init__()
        self._networks = networks
        self._only_named = only_named

    async def resolve(self, *args: Any, **kwargs: Any) -> list[Any]:
        found: list[Any] = await super().resolve(*args, **kwargs)
        refuse_private(found, self._networks, only_named=self._only_named)
        return found


def _split(url: str) -> SplitResult | None:
    """Return the parts of an http(s) URL that has a host and no odd characters."""
    if _FORBIDDEN.search(url):
        return None
    try:
        parts = urlsplit(url)
        host = parts.hostname
        parts.port  # noqa: B018 # raises for a port that is none
        if ":" in (host or ""):
            ip_address((host or "").partition("%")[0])
    except ValueError:
        return None
    return parts if parts.scheme in ("http", "https") and host else None


def _is_public_name(host: str) -> bool:
    host = unicodedata.normalize("NFKC", host).lower()
    return bool(_HOST.fullmatch(host)) and not _PRIVATE_NAME.fullmatch(host)
