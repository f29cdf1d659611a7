"""Providers are called over TLS, on the loop that serves: whole, streamed, held up, and again."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import aiohttp
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from yarl import URL

from gateway.catalog import Deployment
from gateway.providers import http
from gateway.providers.http import ProviderPool, post_json
from kernel import clock
from kernel.errors import UpstreamError

LOOPBACK = [IPv4Network("127.0.0.0/8")]
PATIENT = Deployment(1, "acme", "openai", "", None, 20, 20, 20, 20, "m")
MUCH = 4 << 20


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of its own for 127.0.0.1, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Acme")])
    now = clock.now()
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    signed = (
        builder.not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "acme.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


class Provider:
    """Counts its connections, and answers each request with as many bytes as it has itself."""

    def __init__(self) -> None:
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % length)
            writer.write(body)
            await writer.drain()


def scene(
    certificate: Path,
    play: Callable[[ProviderPool, str, Provider], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
    *,
    trusts: bool = True,
) -> None:
    """Let a provider serve over TLS, and play against it on uvloop."""
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(certificate)
    calling = ssl.create_default_context(cafile=str(certificate) if trusts else None)

    def find_target(url: str) -> aiohttp.ClientRequest:
        loop = asyncio.get_running_loop()
        return aiohttp.ClientRequest("POST", URL(url), loop=loop, ssl=calling)

    async def run() -> None:
        provider = Provider()
        server = await asyncio.start_server(provider.serve, "127.0.0.1", 0, ssl=serving)
        port = server.sockets[0].getsockname()[1]
        async with ProviderPool(LOOPBACK) as pool:
            await play(pool, f"https://127.0.0.1:{port}/v1", provider)
        server.close()

    monkeypatch.setattr(http, "_find_target", find_target)
    uvloop.run(run())


async def ask(pool: ProviderPool, url: str, body: bytes, *, pause_s: float = 0.0) -> bytes:
    upstream = await post_json(pool, url, body, {}, PATIENT, streams=True)
    await asyncio.sleep(pause_s)
    said = b""
    while piece := await upstream.read():
        said += piece
    await upstream.aclose()
    return said


def test_calls_over_tls_share_a_connection(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(pool: ProviderPool, url: str, provider: Provider) -> None:
        for text in (b"{}", b'{"a":1}', b"[]"):
            assert await ask(pool, url, text) == text
        assert provider.connections == 1

    scene(certificate, play, monkeypatch)


def test_much_goes_both_ways_though_nobody_reads_for_a_while(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(pool: ProviderPool, url: str, provider: Provider) -> None:
        body = bytes(range(256)) * (MUCH // 256)
        assert await ask(pool, url, body, pause_s=0.3) == body

    scene(certificate, play, monkeypatch)


def test_an_answer_that_is_left_half_read_ends_its_connection(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(pool: ProviderPool, url: str, provider: Provider) -> None:
        upstream = await post_json(pool, url, b"x" * MUCH, {}, PATIENT, streams=True)
        await upstream.read()
        await upstream.aclose()
        assert await ask(pool, url, b"{}") == b"{}"
        assert provider.connections == 2

    scene(certificate, play, monkeypatch)


def test_a_certificate_that_nobody_vouches_for_is_not_spoken_to(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(pool: ProviderPool, url: str, provider: Provider) -> None:
        with pytest.raises(UpstreamError, match="cannot be reached"):
            await ask(pool, url, b"{}")

    scene(certificate, play, monkeypatch, trusts=False)
