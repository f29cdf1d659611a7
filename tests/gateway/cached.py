"""Asking for cached answers in tests, and looking at what came."""

import json
from typing import Any

import redis
import requests

from billing.models import Hold, UsageEvent
from tests.calls import post, transcript, wait_for
from tests.factories import Tenant
from tests.stage import Stage

MESSAGES = "/anthropic/v1/messages"


RESPONSES = "/v1/responses"


EMBEDDINGS = "/v1/embeddings"


CHAT = "/v1/chat/completions"


OF_ITS_OWN = {"usage", "id", "created", "created_at", "completed_at"}


def ask(
    stage: Stage,
    body: dict[str, Any],
    *,
    tenant: Tenant | None = None,
    key: str | None = None,
    path: str = CHAT,
    ttl: str = "ttl=60",
) -> requests.Response:
    text = key or (tenant or stage.acme).key_text
    answer = post(stage.api.url, text, body, path=path, **{"x-tollgate-cache": ttl})
    assert answer.status_code == 200, answer.text
    return answer


def was(answer: requests.Response) -> str | None:
    return answer.headers.get("x-tollgate-cache")


def rows(tenant: Tenant, count: int) -> list[UsageEvent]:
    """Return the tenant's usage rows, once there are so many and no hold is open."""
    found = UsageEvent.objects.filter(org_id=tenant.org.pk).order_by("occurred_at", "request_id")
    held = Hold.objects.filter(org_id=tenant.org.pk, state="held")
    wait_for(lambda: found.count() == count and not held.exists(), what=f"{count} usage rows")
    return list(found)


def asked_upstream(stage: Stage, user: str) -> int:
    return sum(each["user"] == user for each in transcript(stage.upstream.url))


def own_redis(stage: Stage) -> "redis.Redis":
    return redis.Redis.from_url(stage.stores.redis_url)


def entries(stage: Stage) -> set[bytes]:
    with own_redis(stage) as client:
        return set(client.scan_iter("tollgate:answer:*"))


def frames_of(answer: requests.Response) -> list[Any]:
    if not answer.headers["content-type"].startswith("text/event-stream"):
        return [answer.json()]
    return [
        json.loads(line.removeprefix("data: "))
        for line in answer.text.splitlines()
        if line.startswith("data: {")
    ]


def said(answer: requests.Response) -> Any:
    """Return everything an answer says but who it is, when it was and what it cost."""
    return strip(frames_of(answer))


def strip(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: strip(each) for name, each in value.items() if not is_own(name)}
    return [strip(each) for each in value] if isinstance(value, list) else value


def is_own(name: str) -> bool:
    return name in OF_ITS_OWN or name.endswith("item_id")


def ids(answer: requests.Response) -> set[str]:
    """Return the ids of the answer itself."""
    found = set()
    for frame in frames_of(answer):
        for place in (frame, frame.get("message", {}), frame.get("response", {})):
            if isinstance(place, dict) and str(place.get("id")).startswith(
                ("chatcmpl-", "msg_", "resp_")
            ):
                found.add(place["id"])
    assert found
    return found


def usage_of(answer: requests.Response) -> Any:
    return frames_of(answer)[-1]["usage"]
