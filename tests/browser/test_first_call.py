"""A person's first minutes, in a real browser before the real servers."""

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from accounts.models import Member, User
from billing.organizations import add_member
from gateway.demo import seed_catalog
from tests.conftest import Stores
from tests.factories import ACTOR, make_tenant
from tests.servers import Server, environment, free_port, running, running_api

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
PASSWORD = "correct horse battery"
T = TypeVar("T")

pytestmark = pytest.mark.skipif(
    not CHROMIUM.exists() and not os.environ.get("CI"), reason="no /usr/bin/chromium here"
)


@pytest.fixture
def servers(stores: Stores, tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """Alice owns Acme, which has money and no key yet; pages on daphne, calls on uvicorn."""
    seed_catalog(test_models=True)
    acme = make_tenant("Acme")
    acme.key.delete()
    alice = User.objects.create_user("alice@example.com", PASSWORD, name="Alice")
    add_member(acme.org, alice, Member.Role.OWNER, actor=ACTOR)
    port = free_port()
    with running_api(
        stores.database_url, stores.redis_url, tmp_path, SIMULATOR_TEST_MODELS="1"
    ) as api:
        env = environment(
            DATABASE_URL=stores.database_url,
            REDIS_URL=stores.redis_url,
            DATA_DIR=str(tmp_path),
            SERVE="web",
            WEB_PORT=str(port),
            PUBLIC_API_URL=api.url,
        )
        command = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(port)]
        command.append("config.asgi:application")
        with running(command, port, env, tmp_path, ready="/healthz") as web:
            yield web, api


@pytest.fixture
def page(servers: tuple[Server, Server]) -> Iterator[Page]:
    """A browser's page whose console must stay silent: no error, no violation of the policy."""
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if is_bad(said.type) else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page
        browser.close()
    assert complaints == []


def is_bad(kind: str) -> bool:
    return kind in {"error", "warning"}


def elsewhere(work: Callable[[], T]) -> T:
    """Run beside playwright's event loop, as another program would."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def call(api: Server, key: str, model: str = "hacxgpt") -> int:
    """Make one call; return the status."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 64}
    request = urllib.request.Request(
        f"{api.url}/v1/chat/completions",
        json.dumps(body).encode(),
        {"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def sign_in(page: Page, web: Server) -> None:
    page.goto(web.url)
    page.get_by_label("E-mail").fill("alice@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Acme")).to_be_visible()


def mint(page: Page) -> str:
    page.get_by_role("link", name="Create key").click()
    page.get_by_label("Name").fill("Support bot")
    page.get_by_role("textbox", name="Budget").fill("5")
    page.get_by_role("button", name="Create key").click()
    expect(page.get_by_role("heading", name="Copy your key now")).to_be_focused()
    return page.get_by_label("API key").input_value()


def test_from_sign_in_to_a_call_that_moves_the_page_and_a_key_that_stops(
    servers: tuple[Server, Server], page: Page
) -> None:
    web, api = servers
    sign_in(page, web)
    expect(page.get_by_text("Make your first call")).to_be_visible()

    key = mint(page)
    assert key in page.locator("#curl").inner_text()
    page.reload()
    assert key not in page.content()

    page.get_by_role("link", name="Overview").click()
    expect(page.locator("[data-live-state=on]")).to_be_visible()
    assert elsewhere(lambda: call(api, key)) == 200
    expect(page.locator("#calls tbody tr")).to_have_count(1, timeout=10_000)
    expect(page.get_by_text("Make your first call")).to_have_count(0)

    page.evaluate("window.isTheSamePage = true")
    expect(page.locator("[data-live-state=on]")).to_be_visible()
    month = page.locator("[data-figure=month]")
    spent = month.inner_text()
    assert elsewhere(lambda: [call(api, key) for _ in range(3)]) == [200, 200, 200]
    expect(page.locator("[data-figure=month-calls]")).to_have_text("4", timeout=10_000)
    expect(month).not_to_have_text(spent)
    expect(page.locator("#calls tbody tr")).to_have_count(4)
    assert page.evaluate("window.isTheSamePage")

    page.get_by_role("link", name="API keys").click()
    expect(page.get_by_text("of $5.00")).to_be_visible()
    page.get_by_role("link", name="Revoke Support bot").click()
    page.get_by_role("button", name="Revoke key").click()
    expect(page.get_by_text("1 revoked")).to_be_visible()
    assert elsewhere(lambda: call(api, key)) == 401


def test_the_keyboard_alone_is_enough_to_copy_a_new_key(
    servers: tuple[Server, Server], page: Page
) -> None:
    sign_in(page, servers[0])
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])

    key = mint(page)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == key


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_a_phone(servers: tuple[Server, Server], page: Page, scheme: str) -> None:
    sign_in(page, servers[0])
    page.set_viewport_size({"width": 375, "height": 780})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")

    for path in ("/", "/keys/", "/keys/new"):
        page.goto(servers[0].url + path)
        assert page.evaluate("document.documentElement.scrollWidth") == 375
