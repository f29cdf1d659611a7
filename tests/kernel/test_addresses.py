"""What may be called: public addresses, named private networks, and nothing in disguise."""

import socket
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kernel.addresses import (
    PinnedResolver,
    RefusedAddressError,
    check_url,
    is_allowed,
    is_public,
    is_public_url,
)
from kernel.errors import BadRequestError

PRIVATE = [
    *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
    *("100.64.0.1", "192.0.0.8", "198.18.0.1", "192.0.2.1", "224.0.0.1", "240.0.0.1"),
    *("255.255.255.255", "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1"),
    *("::ffff:127.0.0.1", "::ffff:a00:1", "::127.0.0.1", "2002:7f00:1::", "2002:a9fe:a9fe::1"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001:db8::1"),
    # Teredo: the server in front, the client in the last four bytes, inverted
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
]
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]


@pytest.mark.parametrize("text", PRIVATE)
def test_a_private_address_is_not_public_in_any_wrapping(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_is_public(text: str) -> None:
    assert is_public(ip_address(text))


def test_a_named_network_may_be_called_and_its_neighbours_may_not() -> None:
    named = [ip_network("10.1.0.0/16"), ip_network("fd00::/8")]

    allowed = [
        is_allowed(ip_address(text), named)
        for text in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::1", "10.2.0.1", "127.0.0.1", "1.1.1.1")
    ]

    assert allowed == [True, True, True, False, False, True]
    assert not is_allowed(ip_address("1.1.1.1"), named, only_named=True)


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.com/", "ftp://example.com/", "https://", "https:///x", "example.com"),
        *("https://127.0.0.1/", "https://127.1/", "https://0x7f000001/", "https://2130706433/"),
        *("https://[::1]/", "https://[::ffff:7f00:1]/", "https://[64:ff9b::7f00:1]/"),
        *("https://localhost/", "https://x.internal/", "https://LOCALHOST./", "https://[::zz]/"),
        *("https://user:password@example.com/", "https://example.com/#part", "https://a b/"),
        *("https://example.com:99999/", "https://exa\nmple.com/", "https://１２７.1/"),
        "https://example.com/" + "x" * 2000,
    ],
)
def test_an_address_that_we_would_not_call_is_refused_as_text(url: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        check_url(url, ())

    assert refused.value.param == "url"


@given(st.text(st.characters(exclude_categories=())))
@example("\ud800.com/")
@example("a.b/\udcff")
def test_whatever_an_address_says_it_is_judged(text: str) -> None:
    assert is_public_url(f"http://{text}") in (True, False)
    with suppress(BadRequestError):
        check_url(f"https://{text}", ())


def test_plain_http_is_for_named_networks_only() -> None:
    named = [ip_network("127.0.0.0/8")]

    check_url("http://127.0.0.1:8080/hooks", named)
    check_url("https://example.com/hooks", named)
    with pytest.raises(BadRequestError):
        check_url("http://1.1.1.1/hooks", named)
    with pytest.raises(BadRequestError):
        check_url("https://10.0.0.1/hooks", named)


def answers(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Make every name lead to these addresses; return the names that were asked for."""
    asked: list[str] = []

    def resolve(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


async def test_a_name_with_one_private_address_is_refused_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = answers(monkeypatch, "1.1.1.1", "169.254.169.254")

    with pytest.raises(RefusedAddressError):
        await PinnedResolver(()).resolve("rebinding.example.com", 443)

    assert asked == ["rebinding.example.com"]


async def test_a_name_is_resolved_once_and_what_was_checked_is_what_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers(monkeypatch, "1.1.1.1", "1.0.0.1")

    found = await PinnedResolver(()).resolve("example.com", 443)

    assert [(each["hostname"], each["host"], each["port"]) for each in found] == [
        ("example.com", "1.1.1.1", 443),
        ("example.com", "1.0.0.1", 443),
    ]


async def test_in_the_clear_a_name_must_lead_into_a_named_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers(monkeypatch, "1.1.1.1")
    named = [ip_network("127.0.0.0/8")]

    assert len(await PinnedResolver(named).resolve("example.com", 443)) == 1
    with pytest.raises(RefusedAddressError):
        await PinnedResolver(named, only_named=True).resolve("example.com", 80)
