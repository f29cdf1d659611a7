"""The live feed: members hear of their own organization, twice a second at most."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import connection, connections

from config.asgi import application
from gateway.live import FORBIDDEN, PAUSE_S, LiveConsumer
from kernel.clock import monotonic
from tests.pages.conftest import Cast


@pytest.fixture
def live_cast(database: str, request: pytest.FixtureRequest) -> Cast:
    """Redis's channels are shared by all tests of a run, so organizations get ids of their own."""
    with connection.cursor() as cursor:
        start = secrets.randbelow(10**12) + 10**6
        cursor.execute(f"alter sequence accounts_organization_id_seq restart with {start}")
    people: Cast = request.getfixturevalue("cast")
    return people


@pytest_asyncio.fixture(autouse=True)
async def fresh_thread(live_cast: Cast) -> AsyncIterator[None]:
    """The thread of the consumers' queries outlives a test; its connections must not."""
    await sync_to_async(connections.close_all)()
    yield
    await sync_to_async(connections.close_all)()


def feed(user: object, query: str = "") -> WebsocketCommunicator:
    communicator = WebsocketCommunicator(LiveConsumer.as_asgi(), f"/live/{query}")
    cast("dict[str, Any]", communicator.scope)["user"] = user
    return communicator


async def tell(org_id: int) -> None:
    layer = get_channel_layer()
    assert layer is not None
    await layer.group_send(f"org.{org_id}", {"type": "calls.changed"})


async def test_a_member_hears_when_calls_of_their_organization_change(live_cast: Cast) -> None:
    page = feed(live_cast.alice)
    assert (await page.connect())[0]

    await tell(live_cast.acme.org.pk)

    assert await page.receive_json_from(timeout=2) == {"type": "calls.changed"}
    await page.disconnect()


async def test_a_member_hears_nothing_of_another_organization(live_cast: Cast) -> None:
    page = feed(live_cast.mallory)
    await page.connect()

    await tell(live_cast.acme.org.pk)

    assert await page.receive_nothing(timeout=0.8)
    await page.disconnect()


@pytest.mark.parametrize("who", ["nobody", "mallory"])
async def test_strangers_are_turned_away(live_cast: Cast, who: str) -> None:
    user = AnonymousUser() if who == "nobody" else live_cast.mallory

    answer = await feed(user, f"?org={live_cast.acme.org.public_id}").connect()

    assert answer == (False, FORBIDDEN)


async def test_a_page_hears_at_most_two_a_second_of_a_burst_and_always_its_end(
    live_cast: Cast,
) -> None:
    page = feed(live_cast.alice)
    await page.connect()
    began = monotonic()

    for _ in range(40):
        await tell(live_cast.acme.org.pk)
        await asyncio.sleep(0.01)
    burst_s = monotonic() - began
    heard = [await page.receive_json_from(timeout=2) for _ in range(2)]
    while not await page.receive_nothing(timeout=0.8):
        heard.append(await page.receive_json_from(timeout=2))

    assert heard[0] == {"type": "calls.changed"}
    # the first at once, then one each half a second for as long as the burst took, and the last
    assert len(heard) <= 2 + int(burst_s / PAUSE_S)
    await page.disconnect()


async def test_what_a_browser_sends_is_ignored(live_cast: Cast) -> None:
    page = feed(live_cast.alice)
    await page.connect()

    await page.send_to(text_data="not json at all")
    await tell(live_cast.acme.org.pk)

    assert await page.receive_json_from(timeout=2) == {"type": "calls.changed"}
    await page.disconnect()


async def test_another_sites_page_cannot_listen(live_cast: Cast) -> None:
    session = await asyncio.to_thread(lambda: live_cast.signed_in(live_cast.alice).cookies)
    cookie = f"{settings.SESSION_COOKIE_NAME}={session[settings.SESSION_COOKIE_NAME].value}"

    async def connect_from(origin: str) -> Any:
        headers = [(b"origin", origin.encode()), (b"cookie", cookie.encode())]
        page = WebsocketCommunicator(application, "/live/", headers=headers)
        answer = await page.connect()
        await page.disconnect()
        return answer[0]

    assert await connect_from("http://127.0.0.1:8000")
    assert not await connect_from("https://mallory.example")
