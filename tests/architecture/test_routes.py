"""Every way into the data plane is metered, or stands in a list of those that are free."""

from typing import Any

import pytest
from channels.routing import URLRouter

from billing import urls_api
from billing.api import KeyedView
from config.api import api_routes
from gateway import consumers
from gateway.routes import routes

# Free of charge, and why.
FREE = {
    consumers.ModelsConsumer: "a list, for any good key",
    consumers.StatusConsumer: "health and counters of the process",
    consumers.UnknownPathConsumer: "answers 404",
}


def consumer_of(route: Any) -> type:
    found: type = route.callback.consumer_class
    return found


def test_every_route_is_metered_or_listed_as_free() -> None:
    found = {consumer_of(route) for route in routes}

    assert found == {consumers.CompletionConsumer, *FREE}


def test_metered_routes_take_post_and_nothing_of_them_is_replaced() -> None:
    metered = [route for route in routes if consumer_of(route) is consumers.CompletionConsumer]

    assert [str(route.pattern) for route in metered] == [r"^(?:v1|api/v1|api)/chat/completions/?$"]
    assert consumers.CompletionConsumer.method == "POST"


def test_the_customers_api_reads_only_and_takes_no_metered_path() -> None:
    callbacks: list[Any] = [path.callback for path in urls_api.urlpatterns]
    views = [callback.cls for callback in callbacks]
    metered = [f"{prefix}/chat/completions" for prefix in ("v1", "api/v1", "api")]

    assert len(views) == 5
    assert {view.http_method_names for view in views} == {("get", "head")}
    assert [view for view in views if not issubclass(view, KeyedView)] == []
    assert [path for path in metered for each in api_routes() if each.pattern.match(path)] == []


@pytest.mark.parametrize("prefix", ["v1", "api/v1", "api"])
@pytest.mark.parametrize("ending", ["", "/"])
def test_each_alias_of_the_completions_leads_to_the_metered_door(prefix: str, ending: str) -> None:
    path = f"{prefix}/chat/completions{ending}"

    first = next(route for route in routes if route.pattern.match(path))

    assert consumer_of(first) is consumers.CompletionConsumer


@pytest.mark.parametrize(
    "path",
    [
        "/v1/completions",
        "/v1/embeddings",
        "/v1/chat/completions/x",
        "/api/v1/responses",
        "/anthropic/v1/messages",
        "/v1",
        "/v1/../v1/chat/completions",
        "/v1/chat//completions",
    ],
)
async def test_every_other_path_of_the_data_plane_is_404_in_json(path: str) -> None:
    scope = {"type": "http", "method": "POST", "path": path, "headers": []}
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    router: Any = URLRouter(routes)
    await router(scope, receive, send)

    assert [message.get("status") for message in sent] == [404, None]
    assert b'"code":"unknown_url"' in sent[1]["body"]
