"""Settings from the environment. An odd value stops the start with one clear line."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NoReturn
from urllib.parse import unquote, urlsplit

from kernel.errors import InvalidAmountError
from kernel.failpoints import arm
from kernel.money import parse_usd


def text(name: str, default: str | None = None) -> str:
    """Return a setting's text; a setting without a default must be given."""
    value = os.environ.get(name, "").strip() or default
    if value is None:
        _stop(name, "is not set; start the stack with ./tollgate up or see .env.example")
    return value


def integer(name: str, default: int, *, low: int, high: int) -> int:
    """Return a whole number between ``low`` and ``high``, both allowed."""
    value = os.environ.get(name, "").strip()
    if not value:
        return default
    if not re.fullmatch(r"\d{1,12}", value, re.ASCII) or not low <= int(value) <= high:
        _stop(name, f"must be a whole number from {low} to {high}", value)
    return int(value)


def boolean(name: str, *, default: bool) -> bool:
    value = os.environ.get(name, "").strip().lower()
    if not value:
        return default
    if value not in {"0", "1", "true", "false", "yes", "no"}:
        _stop(name, "must be 1 or 0", value)
    return value in {"1", "true", "yes"}


def choice(name: str, default: str, allowed: Sequence[str]) -> str:
    value = text(name, default)
    if value not in allowed:
        _stop(name, f"must be one of {', '.join(allowed)}", value)
    return value


def words(name: str, default: Sequence[str] = ()) -> list[str]:
    """Return a comma-separated list."""
    value = os.environ.get(name, "")
    return [word.strip() for word in value.split(",") if word.strip()] or list(default)


def url(name: str, schemes: Sequence[str], default: str | None = None) -> str:
    """Return an address whose scheme is one of ``schemes``."""
    value = text(name, default)
    if value.partition("://")[0] not in schemes or "://" not in value:
        _stop(name, f"must start with {' or '.join(s + '://' for s in schemes)}", value)
    return value


def usd(name: str, default: str) -> int:
    """Return an amount of dollars, zero or more, in nanos."""
    value = text(name, default)
    try:
        return parse_usd(value, minimum=0)
    except InvalidAmountError:
        _stop(name, "must be dollars with at most nine decimals, for example 12.50", value)


def networks(name: str) -> list[IPv4Network | IPv6Network]:
    """Return networks, from ``10.0.0.0/8,fd00::/8``."""
    try:
        return [ip_network(word) for word in words(name)]
    except ValueError:
        _stop(name, "must be networks such as 10.0.0.0/8,fd00::/8", os.environ.get(name))


def name_servers(name: str) -> list[str]:
    """Return addresses of name servers, from ``9.9.9.9,127.0.0.1:5353,[2620:fe::fe]``."""
    given = words(name)
    try:
        for parts in (urlsplit(f"//{word}") for word in given):
            ip_address(parts.hostname or "")
            parts.port  # noqa: B018 # raises for a port that is none
    except ValueError:
        _stop(name, "must be addresses such as 9.9.9.9:53,[2620:fe::fe]", os.environ.get(name))
    return given


@dataclass(frozen=True, slots=True)
class Mail:
    """Where mail goes out: a server, or the log where ``host`` is empty."""

    host: str = ""
    port: int = 25
    user: str = ""
    password: str = ""
    is_tls: bool = False
    starts_tls: bool = False


def mail(name: str, default: str) -> Mail:
    """Return a mail server, from ``smtp[s]://user:password@host:port``; ``console:`` is the log.

    ``smtp`` begins in the clear and turns to TLS when a password would be sent; ``smtps`` is TLS
    from its first byte.
    """
    value = text(name, default)
    if value == "console:":
        return Mail()
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme not in {"smtp", "smtps"} or not host:
        _stop(name, "must look like smtp://user:password@host:587, smtps://… or console:")
    is_tls, has_password = parts.scheme == "smtps", bool(parts.password)
    return Mail(
        host=host,
        port=port or (465 if is_tls else 587 if has_password else 25),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        is_tls=is_tls,
        starts_tls=has_password and not is_tls,
    )


def check_together(*names: str) -> None:
    """Stop where some of the settings are given and others are not: half a lock is none."""
    missing = [name for name in names if not os.environ.get(name, "").strip()]
    if missing and len(missing) < len(names):
        _stop(missing[0], f"is empty; set {' and '.join(names)} together, or none of them")


def peppers(name: str) -> dict[int, bytes]:
    """Return key peppers by version, from ``1:<64 hex digits>,2:<64 hex digits>``."""
    found: dict[int, bytes] = {}
    for part in words(name):
        match = re.fullmatch(r"(\d{1,4}):([0-9a-fA-F]{64})", part, re.ASCII)
        if match is None:
            _stop(name, "must look like 1:<64 hex digits>")
        found[int(match[1])] = bytes.fromhex(match[2])
    if not found:
        _stop(name, "is not set; start the stack with ./tollgate up or see .env.example")
    return found


def failpoints(name: str, *, allowed: bool) -> None:
    """Arm the failpoints a test asks for; never where people are served."""
    value = os.environ.get(name, "").strip()
    if value and not allowed:
        _stop(name, "is for tests and needs DEBUG=1", value)
    try:
        arm(value)
    except ValueError:
        _stop(name, "must look like name:kill9, name:raise or name:sleep=<milliseconds>", value)


def _stop(name: str, reason: str, value: str | None = None) -> NoReturn:
    shown = "" if value is None else f"={value[:60]!r}"
    raise SystemExit(f"tollgate: {name}{shown} {reason}.")
