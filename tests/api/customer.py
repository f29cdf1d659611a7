"""A customer of the API: official clients, plain GETs, and calls of the past with known prices."""

from datetime import UTC, datetime, timedelta
from typing import Any

import requests
from django.db import connection
from openai import OpenAI

from accounts.keys import KeySpec, mint_key
from billing.models import PriceVersion
from billing.pricing import Price
from kernel import clock
from kernel.ids import random_base62
from tests.factories import ACTOR, Tenant, make_price
from tests.servers import Server

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
