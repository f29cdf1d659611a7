"""The bricks of the document: operations, what they answer, and how they refuse. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.dialects.anthropic.errors import KINDS
from gateway.dialects.bodies import MOST_MODELS
from gateway.dialects.schemas import STRING, Schema, array_of, nullable, object_of, word

Json = dict[str, Any]
COUNT: Schema = {"type": "integer", "minimum": 0}
SECONDS: Schema = {"type": "integer", "description": "Unix seconds."}
# Printed digit by digit from the exact decimal.
USD: Schema = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$", "description": "US dollars."}
REQUEST_ID: Schema = {"type": "string", "pattern": "^req_[0-9A-Za-z]{20,}$"}
REASONS: Mapping[int, str] = {
    400: "The body, a field or a parameter is wrong; the error names it.",
    401: "No key, or one that is unknown, revoked or expired.",
    402: "The organization has no credit for this call. Sending it again does not help.",
    403: "This key may not do this, or the organization is suspended.",
    404: "There is no such model, or nothing under this id.",
    408: "The body arrived too slowly.",
    409: "It is in use or in progress; or a call with this Idempotency-Key still runs.",
    413: "The body is too large.",
    415: "The body has a Content-Encoding.",
    422: "The Idempotency-Key stands for another body.",
    429: "A rate limit, with `retry-after`; or a used-up budget, with `x-should-retry: false`.",
    431: "The head, with the path and its query, is too large.",
    500: "The server had an error.",
    502: "Whoever has to do this did not answer, or answered nonsense.",
    503: "The server is busy; come back after `retry-after` seconds.",
    504: "The model's provider was too slow.",
    529: "The server is busy; come back after `retry-after` seconds.",
}
LARGE_HEAD = 431  # said of any request before anybody looks at it
LIMITED = ("limit-requests", "remaining-requests", "limit-tokens", "remaining-tokens")

# A stream's schema is that of each of its frames.
_FRAME = object_of(
    {"data": {**STRING, "contentMediaType": "application/json"}},
    {"event": {**STRING, "description": "The same as `type` in the data."}},
)


@dataclass(frozen=True, slots=True)
class Wire:
    """How one dialect refuses: the schema of its errors and the statuses its calls may have."""

    name: str
    error: str
    busy: int

    def metered(self) -> tuple[int, ...]:
        """Return every status a call that costs money may be refused with."""
        return (*self.free(), 402, 409, 422, 502, 504)

    def free(self) -> tuple[int, ...]:
        """Return the statuses of what is asked with a body and costs nothing."""
        return (*self.listed(), 408, 413, 415, 429)

    def listed(self) -> tuple[int, ...]:
        """Return the statuses of what is only read."""
        return (400, 401, 403, 404, 500, self.busy)


OPENAI = Wire("OpenAI", "Error", 503)
ANTHROPIC = Wire("Anthropic", "AnthropicError", 529)


@dataclass(frozen=True, slots=True)
class Operation:
    """What one method of a path does. ``body`` and ``answer`` name schemas of the document."""

    operation_id: str
    tag: str
    summary: str
    answer: str
    refusals: Sequence[int]
    wire: Wire = OPENAI
    body: str | None = None
    example: Mapping[str, Any] | None = None
    parameters: Sequence[Json] = field(default_factory=tuple)
    says: str = ""
    streams: str | None = None
    needs_body: bool = True
    is_metered: bool = False

    def render(self) -> Json:
        rendered: Json = {
            "operationId": self.operation_id,
            "tags": [self.tag],
            "summary": self.summary,
            "responses": {"200": self._answer(), **self._refusals()},
        }
        if self.says:
            rendered["description"] = self.says
        if self.parameters:
            rendered["parameters"] = list(self.parameters)
        if self.body is not None:
            content: Json = {"schema": ref(self.body)}
            if self.example is not None:
                content["example"] = self.example
            body = {"required": self.needs_body, "content": {"application/json": content}}
            rendered["requestBody"] = body
        return rendered

    def _answer(self) -> Json:
        content: Json = {"application/json": {"schema": ref(self.answer)}}
        if self.streams is not None:
            content["text/event-stream"] = {"schema": {**_FRAME, "description": self.streams}}
        return {"description": "Done.", "headers": self._headers(), "content": content}

    def _headers(self) -> Json:
        names = ["x-request-id", "request-id"]
        if self.is_metered:
            names += [f"x-ratelimit-{name}" for name in LIMITED]
            names += [f"x-ratelimit-reset-{unit}" for unit in ("requests", "tokens")]
            names += ["x-tollgate-cache"]
        return {name: {"$ref": f"#/components/headers/{name}"} for name in names}

    def _refusals(self) -> Json:
        return {
            str(status): {"$ref": f"#/components/responses/{self.wire.name}{status}"}
            for status in sorted({*self.refusals, LARGE_HEAD})
        }


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def in_query(name: str, schema: Schema, says: str, *, required: bool = False) -> Json:
    return {
        "name": name,
        "in": "query",
        "required": required,
        "schema": schema,
        "description": says,
    }


def in_path(name: str, says: str, *, pattern: str = "^[0-9A-Za-z_]{1,40}$") -> Json:
    schema = {**STRING, "pattern": pattern}
    return {"name": name, "in": "path", "required": True, "schema": schema, "description": says}


MODEL: Schema = {**STRING, "minLength": 1, "description": "As the list of models names it."}


def asked_of_models(request: Schema, *, model: Schema) -> Schema:
    """Return the schema of a request that names a model, or several of which the first can."""
    models = {
        **nullable(array_of(MODEL)),
        "description": "Models to fall back on, in this order, where no provider of `model` "
        f"answers: {MOST_MODELS} different ones at most, with `model`, which may be left out here.",
    }
    return {
        **request,
        "properties": {"model": model, "models": models, **request["properties"]},
        "anyOf": [
            object_of({"model": MODEL}, {}),
            object_of({"models": array_of(MODEL, least=1)}, {}),
        ],
    }


IDEMPOTENCY_KEY: Json = {"$ref": "#/components/parameters/IdempotencyKey"}
CACHE: Json = {"$ref": "#/components/parameters/Cache"}


def list_of(schema: Schema) -> Schema:
    """Return the schema of a list as this API writes it."""
    return object_of({"object": word("list"), "data": array_of(schema)}, {})


def render_parameters() -> Json:
    return {
        "IdempotencyKey": {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": "Sent again within 24 hours it is answered again and billed once. "
            "Up to 255 printable ASCII characters.",
            "schema": {
                **STRING,
                "minLength": 1,
                "maxLength": 255,
                "pattern": "^[!-~]([ -~]*[!-~])?$",
            },
        },
        "Cache": {
            "name": "x-tollgate-cache",
            "in": "header",
            "required": False,
            "description": "Answer out of the cache where this very request was answered before, "
            "at a share of the price; keep a new answer for so many seconds, up to a day.",
            "schema": {
                **STRING,
                "pattern": "^ttl=([1-9][0-9]{0,3}|[1-7][0-9]{4}|8[0-5][0-9]{3}"
                "|86[0-3][0-9]{2}|86400)$",
            },
        },
    }


def render_headers() -> Json:
    request_id = {"required": True, "schema": REQUEST_ID, "description": "This request's own id."}
    limits = {
        f"x-ratelimit-{name}": {"schema": COUNT, "description": "The binding limit a minute."}
        for name in LIMITED
    }
    resets = {
        f"x-ratelimit-reset-{unit}": {
            "schema": {**STRING, "pattern": "^([0-9]+h)?([0-9]+m)?[0-9]+(s|ms)$"},
            "description": "How long until all of it is there again.",
        }
        for unit in ("requests", "tokens")
    }
    cache = {
        "schema": {**STRING, "enum": ["hit", "miss"]},
        "description": "Where the answer came from, for who asked for the cache.",
    }
    return {
        "x-request-id": request_id,
        "request-id": request_id,
        **limits,
        **resets,
        "x-tollgate-cache": cache,
    }


def render_refusals(wire: Wire) -> Json:
    """Return the responses that a wire's operations refer to."""
    ids = {
        name: {"$ref": f"#/components/headers/{name}"} for name in ("x-request-id", "request-id")
    }
    return {
        f"{wire.name}{status}": {
            "description": REASONS[status],
            "headers": ids,
            "content": {"application/json": {"schema": ref(wire.error)}},
        }
        for status in {*wire.metered(), LARGE_HEAD}
    }


ERRORS: Mapping[str, Schema] = {
    "Error": object_of(
        {
            "error": object_of(
                {
                    "message": STRING,
                    "type": STRING,
                    "param": nullable(STRING),
                    "code": nullable(STRING),
                },
                {},
            )
        },
        {},
    ),
    "AnthropicError": object_of(
        {
            "type": word("error"),
            "error": object_of(
                {
                    "type": word(*sorted({*KINDS.values(), "invalid_request_error"})),
                    "message": STRING,
                },
                {"details": object_of({"error_code": word("enforced_spend_limit_reached")}, {})},
            ),
            "request_id": REQUEST_ID,
        },
        {},
    ),
}
