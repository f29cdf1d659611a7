"""No official client asks again where money is missing: what was refused is asked once."""

from typing import Any

import anthropic
import httpx2
import openai
import pytest

from billing.budgets import create_budget
from billing.models import Hold
from tests.calls import HELLO
from tests.factories import Tenant, make_tenant
from tests.stage import Stage

CLIENTS = pytest.mark.parametrize("dialect", ["openai", "anthropic"])


def refused(stage: Stage, tenant: Tenant, dialect: str) -> tuple[Any, int]:
    """Return the error that a client with its own retries meets, and how often it asked."""
    asked: list[httpx2.Request] = []
    counting = httpx2.Client(event_hooks={"request": [asked.append]})
    messages: Any = HELLO
    if dialect == "openai":
        chat = openai.OpenAI(
            api_key=tenant.key_text, base_url=f"{stage.api.url}/v1", http_client=counting
        )
        with pytest.raises(openai.APIStatusError) as caught:
            chat.chat.completions.create(model="hacxgpt", messages=messages)
        return caught.value, len(asked)
    talk = anthropic.Anthropic(
        api_key=tenant.key_text, base_url=f"{stage.api.url}/anthropic", http_client=counting
    )
    with pytest.raises(anthropic.APIStatusError) as raised:
        talk.messages.create(model="hacxgpt", max_tokens=5, messages=messages)
    return raised.value, len(asked)


@CLIENTS
def test_missing_credit_is_402_and_asked_once(stage: Stage, dialect: str) -> None:
    poor = make_tenant("Poor", credit_usd="0")

    error, times = refused(stage, poor, dialect)

    assert (error.status_code, times) == (402, 1)
    assert "credit" in str(error)
    assert not Hold.objects.filter(org_id=poor.org.pk).exists()


@CLIENTS
def test_a_used_up_budget_is_429_and_asked_once(stage: Stage, dialect: str) -> None:
    spent = make_tenant("Spent")
    create_budget(org=spent.org, limit_nanos=1, period="day", actor="test")

    error, times = refused(stage, spent, dialect)

    assert (error.status_code, times) == (429, 1)
    assert "budget" in str(error)
    assert error.response.headers["x-should-retry"] == "false"
    assert not Hold.objects.filter(org_id=spent.org.pk).exists()
