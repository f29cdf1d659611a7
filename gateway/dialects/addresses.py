"""Which addresses in a request may be handed on: public ones, as far as their text tells.

Resolving names and following redirects is the fetcher's part; the built-in model fetches nothing.
"""

import re
import socket
import unicodedata
from ipaddress import AddressValueError, IPv4Address, IPv6Address, IPv6Network
from urllib.parse import urlsplit

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")
_HOST = re.compile(r"[\w.-]{1,253}")
_PRIVATE_NAME = re.compile(r"(?:.*\.)?(?:localhost|local|internal|intranet|home\.arpa)\.?")
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public_url(url: str) -> bool:
    """Tell whether a URL is http(s) to a host that is not plainly private."""
    if _FORBIDDEN.search(url):
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname
        parts.port  # noqa: B018 # raises for a port that is none
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not host:
        return False
    if ":" in host:
        return _is_public_v6(host)
    host = unicodedata.normalize("NFKC", host).lower()
    if not _HOST.fullmatch(host) or _PRIVATE_NAME.fullmatch(host):
        return False
    return _is_public_name_or_v4(host)


def _is_public_name_or_v4(host: str) -> bool:
    """Old forms count as addresses too: 127.1, 0x7f000001, 2130706433."""
    try:
        packed = socket.inet_aton(host.rstrip("."))
    except OSError:
        return True
    return _is_public_v4(IPv4Address(packed))


def _is_public_v4(address: IPv4Address) -> bool:
    return address.is_global and not address.is_multicast


def _is_public_v6(host: str) -> bool:
    try:
        address = IPv6Address(host.partition("%")[0])
    except AddressValueError:
        return False
    inner = address.ipv4_mapped or address.sixtofour
    if address in _NAT64:
        inner = IPv4Address(int(address) & 0xFFFFFFFF)
    if inner is not None and not _is_public_v4(inner):
        return False
    return address.ipv4_mapped is not None or (address.is_global and not address.is_multicast)
