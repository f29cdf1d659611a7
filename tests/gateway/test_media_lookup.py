"""Addresses of media are looked up: names and redirects that lead inside are refused."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from ipaddress import IPv4Network

import pytest
from aiohttp import web

from gateway import media_lookup
from gateway.chat import Media
from gateway.media_lookup import MOST_ADDRESSES, MOST_REDIRECTS, Lookup, MediaLookup
from kernel import clock
from kernel.errors import BadRequestError
from tests.fakes.name_server import NameServer, running_name_server

LOOPBACK = [IPv4Network("127.0.0.0/8")]
PUBLIC = "93.184.215.14"


@pytest.fixture(scope="module")
def listening() -> Iterator[NameServer]:
    with running_name_server() as name_server:
        yield name_server


@pytest.fixture
def names(listening: NameServer) -> NameServer:
    listening.names.clear()
    listening.asked.clear()
    return listening


@dataclass
class Pictures:
    """A server of pictures. ``led`` says where a path is redirected; ``asked`` notes the heads."""

    port: int = 0
    led: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    is_over: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str) -> str:
        return f"http://pictures.example:{self.port}{path}"

    async def serve(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.path))
        if request.path == "/hang":
            await self.is_over.wait()
        if request.path in self.led:
            return web.Response(status=302, headers={"location": self.led[request.path]})
        return web.Response(body=b"a picture", headers={"set-cookie": "a=b"})


@pytest.fixture
async def pictures(names: NameServer) -> AsyncIterator[Pictures]:
    serving = Pictures()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", serving.serve)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    serving.port = runner.addresses[0][1]
    names.names["pictures.example"] = ["127.0.0.1"]
    yield serving
    serving.is_over.set()
    await runner.cleanup()


async def check(names: NameServer, *urls: str, lookup: Lookup = Lookup.NAMES) -> None:
    """Look up addresses as a new process would; loopback may be reached for redirects alone."""
    networks = LOOPBACK if lookup is Lookup.REDIRECTS else []
    looking = MediaLookup(lookup, name_servers=[names.address], networks=networks)
    try:
        await looking.check(picture(url, place) for place, url in enumerate(urls))
    finally:
        await looking.close()


def picture(url: str, place: int = 0) -> Media:
    return Media("image", url, url_path=f"messages[{place}].url")


async def follow(names: NameServer, url: str) -> None:
    await check(names, url, lookup=Lookup.REDIRECTS)


@pytest.mark.parametrize(
    "addresses",
    [
        ["10.0.0.5"],
        ["127.0.0.1"],
        ["169.254.169.254"],
        ["100.64.0.1"],
        ["0.0.0.0"],
        ["::1"],
        ["fd00:ec2::254"],
        ["fe80::1"],
        ["::ffff:10.0.0.5"],
        ["64:ff9b::a00:5"],
        [PUBLIC, "192.168.1.1"],
        [PUBLIC, "fd00::5"],
    ],
)
async def test_a_name_with_an_address_that_is_not_public_is_refused(
    names: NameServer, addresses: list[str]
) -> None:
    names.names["inside.example"] = addresses

    with pytest.raises(BadRequestError) as refused:
        await check(names, "data:image/png;base64,AAAA", "https://inside.example/a.png")

    assert refused.value.code == "invalid_image_url"
    assert refused.value.param == "messages[1].url"
    assert "not publicly accessible" in refused.value.message


@pytest.mark.parametrize("addresses", [[PUBLIC], [PUBLIC, "2606:4700:4700::1111"]])
async def test_a_public_name_is_passed_on(names: NameServer, addresses: list[str]) -> None:
    names.names["outside.example"] = addresses

    await check(names, "https://outside.example/a.png")

    assert "outside.example" in names.asked


async def test_what_cannot_be_looked_up_is_the_providers_to_judge(names: NameServer) -> None:
    names.names["silent.example"] = []

    await check(names, "https://nobody.example/", "https://silent.example/")

    assert {"nobody.example", "silent.example"} <= {*names.asked}


async def test_a_slow_name_hides_no_other(names: NameServer) -> None:
    names.names |= {"silent.example": [], "inside.example": ["10.0.0.5"]}

    with pytest.raises(BadRequestError) as refused:
        await check(names, "https://silent.example/", "https://inside.example/")

    assert refused.value.param == "messages[1].url"


async def test_a_name_in_another_script_is_asked_for_as_it_would_be_called(
    names: NameServer,
) -> None:
    names.names["xn--bcher-kva.example"] = ["10.0.0.5"]

    with pytest.raises(BadRequestError):
        await check(names, "https://bücher.example/")


async def test_an_address_is_looked_up_once_a_minute(
    names: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    names.names |= {"outside.example": [PUBLIC]}
    looking = MediaLookup(Lookup.NAMES, name_servers=[names.address])
    lookups: list[str] = []
    ask = looking._is_private

    async def noting(name: str) -> bool:
        lookups.append(name)
        return await ask(name)

    monkeypatch.setattr(looking, "_is_private", noting)
    same = picture("https://outside.example/a.png")
    try:
        await looking.check([same, same])
        await looking.check([same])
        assert lookups == ["outside.example"]

        later = clock.monotonic() + media_lookup.KNOWN_S
        monkeypatch.setattr(clock, "monotonic", lambda: later)
        await looking.check([same])
        assert lookups == ["outside.example"] * 2
    finally:
        await looking.close()


async def test_more_addresses_than_are_looked_up_are_refused(names: NameServer) -> None:
    names.names["outside.example"] = [PUBLIC]
    urls = [f"https://outside.example/{n}" for n in range(MOST_ADDRESSES + 1)]

    await check(names, *urls[1:], urls[1])
    with pytest.raises(BadRequestError, match="at most 500 addresses") as refused:
        await check(names, *urls)

    assert refused.value.param == f"messages[{MOST_ADDRESSES}].url"


async def test_nobody_is_asked_where_an_operator_says_so(names: NameServer) -> None:
    names.names["inside.example"] = ["10.0.0.5"]

    await check(names, "https://inside.example/", lookup=Lookup.NONE)

    assert names.asked == []


@pytest.mark.parametrize(
    "target",
    [
        "http://10.0.0.1/a.png",
        "//127.0.0.1/a.png",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://2130706433/",
        "http://localhost/",
        "http://metadata/",
        "http://inside.example/a.png",
        "ftp://pictures.example/a.png",
        "file:///etc/passwd",
        "http://[",
        "http://pictures.example:99999/",
    ],
)
async def test_a_redirect_to_what_is_not_public_is_refused(
    names: NameServer, pictures: Pictures, target: str
) -> None:
    names.names["inside.example"] = ["10.0.0.9"]
    pictures.led |= {"/first": pictures.url("/second"), "/second": target}

    with pytest.raises(BadRequestError) as refused:
        await follow(names, pictures.url("/first"))

    assert refused.value.code == "invalid_image_url"
    assert pictures.asked == [("HEAD", "/first"), ("HEAD", "/second")]


async def test_a_redirect_to_another_public_address_is_passed_on(
    names: NameServer, pictures: Pictures
) -> None:
    pictures.led |= {"/first": "/second?size=1", "/second": pictures.url("/a.png")}

    await follow(names, pictures.url("/first"))

    assert pictures.asked == [("HEAD", "/first"), ("HEAD", "/second"), ("HEAD", "/a.png")]


async def test_a_few_redirects_are_followed_and_no_more(
    names: NameServer, pictures: Pictures
) -> None:
    pictures.led |= {f"/{n}": f"/{n + 1}" for n in range(MOST_REDIRECTS + 1)}

    await follow(names, pictures.url("/1"))
    pictures.asked.clear()
    with pytest.raises(BadRequestError):
        await follow(names, pictures.url("/0"))

    assert len(pictures.asked) == MOST_REDIRECTS + 1


async def test_a_server_that_does_not_answer_is_the_providers_to_judge(
    names: NameServer, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_lookup, "HEADS_S", 0.2)

    await follow(names, pictures.url("/hang"))
    await follow(names, "http://pictures.example:1/refused")

    assert pictures.asked == [("HEAD", "/hang")]


@pytest.mark.parametrize(
    ("answer", "is_fine"),
    [
        (b"garbage\r\n\r\n", True),
        (b"", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 5\r\n\r\nabcde", True),
        (b"HTTP/1.1 302 Found\r\nx: %b\r\n\r\n" % (b"a" * 100_000), True),
        (b"HTTP/1.1 302 Found\r\nlocation: \x00\xff\r\n\r\n", True),
        (b"HTTP/1.1 302 Found\r\nlocation: http://a\xff.example/\r\n\r\n", False),
        (b"HTTP/1.1 302 Found\r\nlocation: http://%b/\r\n\r\n" % (b"a." * 4000), False),
        (b"HTTP/1.1 302 Found\r\nlocation:\r\n\r\n", False),
    ],
)
async def test_a_hostile_answer_is_judged_as_any_other(
    names: NameServer, answer: bytes, *, is_fine: bool
) -> None:
    names.names["pictures.example"] = ["127.0.0.1"]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://pictures.example:{server.sockets[0].getsockname()[1]}/"
        with nullcontext() if is_fine else pytest.raises(BadRequestError):
            await follow(names, url)


async def test_redirects_are_not_followed_where_only_names_are_looked_up(
    names: NameServer, pictures: Pictures
) -> None:
    names.names["pictures.example"] = [PUBLIC]

    await check(names, pictures.url("/first"), lookup=Lookup.NAMES)

    assert pictures.asked == []
