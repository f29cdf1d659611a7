"""Providers are called where they may be, whatever their rows and name servers say."""

import asyncio
import socket
from collections.abc import AsyncIterator
from ipaddress import IPv4Network
from typing import Any

import aiohappyeyeballs
import pytest
from aiohttp.resolver import ThreadedResolver
from django.conf import LazySettings

from gateway.catalog import Deployment
from gateway.models import Provider
from gateway.offers import create_provider
from gateway.providers.http import ProviderPool, post_json
from kernel.errors import BadRequestError, UpstreamError

LOOPBACK = [IPv4Network("127.0.0.0/8")]
SECRET = {"authorization": "Bearer sk-provider"}
PATIENT = Deployment(1, "acme", "openai", "", None, 20, 20, 20, 20, "m")


class Trap:
    """A server on loopback that counts who connects, and answers 200."""

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        writer.close()


class Names:
    """A name server that says the same of every name."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(self, host: str, port: int, *_: Any, **__: Any) -> list[dict[str, Any]]:
        found = {"hostname": host, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
        return [{**found, "host": address} for address in self.addresses]


class Dialled:
    """Notes which addresses would have been connected to, and connects to none."""

    def __init__(self) -> None:
        self.hosts: list[str] = []

    async def connect(self, addr_infos: list[Any], **_: Any) -> socket.socket:
        self.hosts += [address[0] for *_, address in addr_infos]
        raise ConnectionRefusedError


@pytest.fixture
async def trap() -> AsyncIterator[Trap]:
    counting = Trap()
    async with await asyncio.start_server(counting.serve, "127.0.0.1", 0) as server:
        counting.port = server.sockets[0].getsockname()[1]
        yield counting


async def call(url: str, networks: list[IPv4Network]) -> None:
    async with ProviderPool(networks) as pool:
        upstream = await post_json(pool, url, b"{}", SECRET, PATIENT, streams=False)
        await upstream.aclose()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "localhost", "[::ffff:127.0.0.1]"]
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_private_address_is_not_connected_to(trap: Trap, host: str, scheme: str) -> None:
    with pytest.raises(UpstreamError, match="cannot be reached"):
        await call(f"{scheme}://{host}:{trap.port}/", [])

    assert trap.connections == 0


async def test_a_network_that_is_named_is_called(trap: Trap) -> None:
    await call(f"http://127.0.0.1:{trap.port}/", LOOPBACK)

    assert trap.connections == 1


async def test_a_name_that_leads_inside_is_not_connected_to(
    trap: Trap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ThreadedResolver, "resolve", Names("127.0.0.1").resolve)

    with pytest.raises(UpstreamError, match="cannot be reached"):
        await call(f"https://models.example.com:{trap.port}/", [])

    assert trap.connections == 0


async def test_a_name_that_leads_into_a_named_network_is_called_in_the_clear(
    trap: Trap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ThreadedResolver, "resolve", Names("127.0.0.1").resolve)

    await call(f"http://models.example.com:{trap.port}/", LOOPBACK)

    assert trap.connections == 1


@pytest.mark.parametrize("addresses", [("1.1.1.1",), ("127.0.0.1", "1.1.1.1")])
async def test_a_public_name_gets_no_credential_in_the_clear_where_networks_are_named(
    trap: Trap, monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]
) -> None:
    names, dialled = Names(*addresses), Dialled()
    monkeypatch.setattr(ThreadedResolver, "resolve", names.resolve)
    monkeypatch.setattr(aiohappyeyeballs, "start_connection", dialled.connect)
    async with ProviderPool(LOOPBACK) as pool:
        address = f"models.example.com:{trap.port}/"
        with pytest.raises(UpstreamError, match="cannot be reached"):
            await post_json(pool, "https://" + address, b"{}", SECRET, PATIENT, streams=False)
        assert set(dialled.hosts) == set(addresses), "which is remembered of the name"
        dialled.hosts.clear()
        with pytest.raises(UpstreamError, match="cannot be reached"):
            await post_json(pool, "http://" + address, b"{}", SECRET, PATIENT, streams=False)

    assert dialled.hosts == []
    assert trap.connections == 0


@pytest.mark.django_db
@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com/v1",
        "https://127.0.0.1/v1",
        "https://169.254.169.254/",
        "https://[::1]/v1",
        "https://user:secret@api.example.com/v1",
        "ftp://api.example.com",
        "",
    ],
)
def test_a_provider_at_an_address_that_may_not_be_called_is_not_created(
    settings: LazySettings, url: str
) -> None:
    settings.PROVIDER_NETWORKS = []

    with pytest.raises(BadRequestError):
        create_provider("inside", kind="openai", base_url=url, credential=None, actor="test")

    assert not Provider.objects.filter(name="inside").exists()
