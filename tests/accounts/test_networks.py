"""The networks a key may be used from: how they are written, and who is within."""

import pytest

from accounts.networks import MOST_NETWORKS, check_address, parse_networks, read_networks
from kernel.errors import BadRequestError, ForbiddenError


def test_addresses_and_networks_are_spelt_one_way_and_named_once() -> None:
    text = "203.0.113.7, 10.1.2.3/8\n2001:DB8:0::/32 203.0.113.7/32"

    assert parse_networks(text) == ["203.0.113.7/32", "10.0.0.0/8", "2001:db8::/32"]
    assert parse_networks(" , ") == []


@pytest.mark.parametrize(
    "text", ["localhost", "203.0.113", "203.0.113.7/33", "2001:db8::/129", "10.0.0.0-10.0.0.9", "*"]
)
def test_what_is_no_network_is_refused_by_its_text(text: str) -> None:
    with pytest.raises(BadRequestError, match="is no address and no network") as refused:
        parse_networks(f"203.0.113.7 {text}")

    assert repr(text) in refused.value.message


def test_a_key_has_so_many_networks_and_no_more() -> None:
    networks = [f"10.0.0.{number}" for number in range(MOST_NETWORKS)]

    assert len(parse_networks(" ".join(networks))) == MOST_NETWORKS
    with pytest.raises(BadRequestError, match="64 networks at the most"):
        parse_networks(" ".join([*networks, "10.0.1.0"]))


@pytest.mark.parametrize(
    ("address", "is_within"),
    [
        ("203.0.113.200", True),
        ("::ffff:203.0.113.200", True),
        ("203.0.114.1", False),
        ("2001:db8:5::1", True),
        ("2001:db9::1", False),
        ("", False),
        ("testclient", False),
    ],
)
def test_who_is_within_one_of_them_may_come(address: str, *, is_within: bool) -> None:
    networks = read_networks(["203.0.113.0/24", "2001:db8::/32"])

    if is_within:
        check_address(address, networks)
    else:
        with pytest.raises(ForbiddenError) as refused:
            check_address(address, networks)
        assert refused.value.code == "address_not_allowed"
    check_address(address, None)
