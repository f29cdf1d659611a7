"""The networks a key may be used from: read as people write them, and asked of an address."""

from collections.abc import Sequence
from ipaddress import ip_address, ip_network

from kernel.addresses import Network, is_allowed
from kernel.errors import BadRequestError, ForbiddenError

MOST_NETWORKS = 64


def parse_networks(text: str) -> list[str]:
    """Return the addresses and networks in a text, between commas or blanks, each spelt one way.

    Raises:
        BadRequestError: for what is neither, and for more than ``MOST_NETWORKS``.

    """
    found: dict[str, None] = {}
    for word in text.replace(",", " ").split():
        try:
            found[str(ip_network(word, strict=False))] = None
        except ValueError as error:
            raise BadRequestError(
                f"{word[:60]!r} is no address and no network, such as 203.0.113.7 or 2001:db8::/32."
            ) from error
    if len(found) > MOST_NETWORKS:
        raise BadRequestError(f"A key has {MOST_NETWORKS} networks at the most.")
    return list(found)


def read_networks(stored: Sequence[str] | None) -> tuple[Network, ...] | None:
    """Return a key's networks; None for a key that may be used from everywhere."""
    return None if stored is None else tuple(map(ip_network, stored))


def check_address(address: str, networks: Sequence[Network] | None) -> None:
    """Refuse a caller from elsewhere; one whose address is not known is from elsewhere.

    Raises:
        ForbiddenError: not within one of the networks.

    """
    if networks is None:
        return
    try:
        is_within = is_allowed(ip_address(address), networks, only_named=True)
    except ValueError:
        is_within = False
    if not is_within:
        raise ForbiddenError(
            "This API key may not be used from this address.", code="address_not_allowed"
        )
