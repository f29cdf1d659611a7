"""Every way into the data plane is metered, or stands in a list of those that are free."""

from typing import Any

import pytest
from channels.routing import URLRouter

from accounts.api_views import AdminKeyedView, KeyedView
from billing import urls_api
from config.api import api_routes
from gateway import consumers
from gateway.routes import routes, unknown_routes

# Free of charge, and why.
FREE = {
    consumers.ModelsConsumer: "a list, for any good key",
    consumers.AnthropicModelsConsumer: "the same list in another form",
    consumers.TokenCountConsumer: "a count of tokens that no model reads",
    consumers.InputTokenCountConsumer: "the same count for responses",
    consumers.DocumentConsumer: "the OpenAPI document, the same for everybody",
    consumers.StatusConsumer: "health and counters of the process",
    consumers.UnknownPathConsumer: "answers 404",
    consumers.UnknownAnthropicPathConsumer: "answers 404",
}
METERED = {
    consumers.CompletionConsumer: r"^(?:v1|api/v1|api)/chat/completions/?$",
    consumers.EmbeddingsConsumer: r"^(?:v1|api/v1|api)/embeddings/?$",
    consumers.ResponsesConsumer: r"^(?:v1|api/v1|api)/responses/?$",
    consumers.MessagesConsumer: r"^anthropic/v1/messages/?$",
}


def consumer_of(route: Any) -> type:
    found: type = route.callback.consumer_class
    return found


def test_every_route_is_metered_or_listed_as_free() -> None:
    found = {consumer_of(route) for route in [*routes, *unknown_routes]}

    assert found == {*METERED, *FREE}


def test_metered_routes_take_post_and_nothing_of_them_is_replaced() -> None:
    metered = [route for route in routes if consumer_of(route) in METERED]

    assert {consumer_of(route): str(route.pattern) for route in metered} == METERED
    assert len(metered) == len(METERED)
    assert {consumer.method for consumer in METERED} == {"POST"}
    assert {consumer.handle for consumer in METERED} == {consumers.CompletionConsumer.handle}


def test_the_customers_api_reads_or_asks_for_an_admin_key_and_takes_no_metered_path() -> None:
    callbacks: list[Any] = [path.callback for path in urls_api.urlpatterns]
    views = [callback.cls for callback in callbacks]
    metered = [
        f"{prefix}/{endpoint}"
        for prefix in ("v1", "api/v1", "api")
        for endpoint in ("chat/completions", "embeddings", "responses")
    ]

    readers = [view for view in views if issubclass(view, KeyedView)]
    assert {view.http_method_names for view in readers} == {("get", "head")}
    assert [v for v in views if not issubclass(v, KeyedView | AdminKeyedView)] == []
    assert [path for path in metered for each in api_routes() if each.pattern.match(path)] == []


@pytest.mark.parametrize("prefix", ["v1", "api/v1", "api"])
@pytest.mark.parametrize("ending", ["", "/"])
def test_each_alias_of_the_completions_leads_to_the_metered_door(prefix: str, ending: str) -> None:
    path = f"{prefix}/chat/completions{ending}"

    first = next(route for route in routes if route.pattern.match(path))

    assert consumer_of(first) is consumers.CompletionConsumer


@pytest.mark.parametrize("ending", ["", "/"])
def test_anthropics_messages_lead_to_the_metered_door(ending: str) -> None:
    path = f"anthropic/v1/messages{ending}"

    first = next(route for route in routes if route.pattern.match(path))

    assert consumer_of(first) is consumers.MessagesConsumer


OPENAI_404 = b'"code":"unknown_url"'
ANTHROPIC_404 = b'{"type":"error","error":{"type":"not_found_error"'


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v1/completions", OPENAI_404),
        ("/v1/embeddings/x", OPENAI_404),
        ("/v1/messages", OPENAI_404),
        ("/v1/chat/completions/x", OPENAI_404),
        ("/api/v1/responses/resp_1", OPENAI_404),
        ("/v1", OPENAI_404),
        ("/v1/../v1/chat/completions", OPENAI_404),
        ("/v1/chat//completions", OPENAI_404),
        ("/anthropic", ANTHROPIC_404),
        ("/anthropic/v1/complete", ANTHROPIC_404),
        ("/anthropic/v1/messages/batches", ANTHROPIC_404),
        ("/anthropic/v1/chat/completions", ANTHROPIC_404),
    ],
)
async def test_every_other_path_of_the_data_plane_is_404_in_json(path: str, said: bytes) -> None:
    scope = {"type": "http", "method": "POST", "path": path, "headers": []}
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    router: Any = URLRouter([*routes, *unknown_routes])
    await (await router(scope, receive, send))

    assert [message.get("status") for message in sent] == [404, None]
    assert said in sent[1]["body"]
