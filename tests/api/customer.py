"""A customer of the API: official clients, plain GETs, and calls of the past with known prices."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import requests
from django.db import connection
from openai import OpenAI

from accounts.keys import KeySpec, mint_key
from accounts.models import Project
from billing.database import connect_sync
from billing.models import PriceVersion, UsageEvent
from billing.pricing import Price
from billing.rollups import roll_up
from kernel import clock
from kernel.ids import random_base62
from tests.billing.past import use_at
from tests.books import run_tick
from tests.calls import chat_body, post
from tests.factories import ACTOR, Tenant, hold_request, make_price
from tests.servers import Server
from tests.stage import Stage

DAY_S = 86_400


def admin_key(tenant: Tenant) -> str:
    return mint_key(tenant.project, KeySpec(kind="admin", name="admin"), actor=ACTOR).text


def admin(api: Server, tenant: Tenant) -> OpenAI:
    """Return the official client as an administrator of the tenant."""
    return OpenAI(
        api_key=tenant.key_text,
        admin_api_key=admin_key(tenant),
        base_url=f"{api.url}/v1",
        max_retries=0,
    )


def get(api: Server, path: str, key: str | None, **parameters: Any) -> requests.Response:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    return requests.get(api.url + path, params=parameters, headers=headers, timeout=30)


def midnight(days_ago: int) -> datetime:
    today = clock.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=days_ago)


def seconds(at: datetime) -> int:
    return int(at.timestamp())


def price_since(at: datetime) -> tuple[PriceVersion, Price]:
    """A model of its own at $1 a million tokens in and $2 out, in force since then."""
    version, price = make_price(f"m-{random_base62(8)}")
    with connection.cursor() as cursor:
        cursor.execute("alter table billing_priceversion disable trigger append_only")
        cursor.execute(
            "update billing_priceversion set effective_from = %s where id = %s", [at, version.pk]
        )
        cursor.execute("alter table billing_priceversion enable trigger append_only")
    return version, price


def hold(stage: Stage, nanos: int) -> str:
    """Hold money that nobody gives back: for longer than the house stands."""
    version, _ = make_price(f"m-{random_base62(8)}")
    request = hold_request(stage.acme, version, nanos)._replace(ttl_s=86_400)
    answer = run_tick(stage.stores.database_url, holds=[request])
    assert answer.held == {request.request_id: None}
    return request.request_id


def settled_call(stage: Stage) -> tuple[Any, UsageEvent]:
    """One call through the gateway, and its usage row."""
    answer = post(stage.api.url, stage.acme.key_text, chat_body("mock"))
    assert answer.status_code == 200
    deadline = time.monotonic() + 5
    request_id = answer.headers["x-request-id"]
    while time.monotonic() < deadline:
        event = UsageEvent.objects.filter(request_id=request_id).first()
        if event is not None:
            return answer.json(), event
        time.sleep(0.02)
    raise AssertionError("the call did not settle")


def second_project(tenant: Tenant) -> Tenant:
    """The same organization with another project and key."""
    project = Project.objects.create(org=tenant.org, name="Other")
    minted = mint_key(project, KeySpec(name="other"), actor=ACTOR)
    return replace(tenant, project=project, key=minted.key, key_text=minted.text)


def roll(stage: Stage) -> int:
    with connect_sync(stage.stores.database_url, "roll", statement_timeout_ms=10_000) as store:
        return roll_up(store)


def use(stage: Stage, tenant: Tenant, at: Any, priced: Any, tokens: tuple[int, int]) -> str:
    return use_at(
        stage.stores.database_url,
        tenant,
        at,
        priced,
        input_tokens=tokens[0],
        output_tokens=tokens[1],
    )
