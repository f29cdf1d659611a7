"""What a customer's programs may ask: usage, costs, a key's standing, credit, one call.

Keys open these paths; there are no cookies. Every view reads its input, calls one function and
renders the answer; whatever goes wrong leaves in the one envelope, with a request's id.
"""

import re
from typing import Any, ClassVar

import orjson
from django.conf import settings
from django.db import OperationalError, connection
from rest_framework.exceptions import APIException
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api_auth import AdminKeyAuthentication, KeyAuthentication
from accounts.models import ApiKey
from billing.reports import COSTS, USAGE, Form, UsagePage, parse_query, read_page
from billing.serializers import (
    render_costs,
    render_credits,
    render_error,
    render_generation,
    render_key,
    render_usage,
)
from billing.standing import find_generation, read_credits, read_key_standing
from kernel.errors import (
    BadRequestError,
    MethodNotAllowedError,
    NotFoundError,
    TollgateError,
    UnavailableError,
)
from kernel.ids import new_request_id
from kernel.log import logger

STATEMENT_TIMEOUT_MS = 5_000
_CALL_ID = re.compile(r"(?:chatcmpl-|msg_|req_)([0-9A-Za-z]{20,36})", re.ASCII)
log = logger(__name__)


class JsonRenderer(BaseRenderer):
    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data: Any, *_: Any) -> bytes:
        return orjson.dumps(data)


class IgnoreAccept(BaseContentNegotiation):
    """JSON whatever ``Accept`` says, as on every path of the API."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return None

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


class KeyedView(APIView):
    """A GET that any key of an active organization may send."""

    http_method_names: Any = ("get", "head")
    authentication_classes: Any = (KeyAuthentication,)
    permission_classes: Any = ()
    parser_classes: Any = ()
    throttle_classes: Any = ()
    renderer_classes: Any = (JsonRenderer,)
    content_negotiation_class = IgnoreAccept

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse other methods before anything is asked; bound what the database may be asked."""
        if request.method not in self.allowed_methods:
            raise MethodNotAllowedError(f"{str(request.method)[:20]} is not allowed; use GET.")
        with connection.cursor() as cursor:
            cursor.execute(f"set statement_timeout = {STATEMENT_TIMEOUT_MS}")
        super().initial(request, *args, **kwargs)

    def get_exception_handler(self) -> Any:
        return _answer_error

    def finalize_response(self, *args: Any, **kwargs: Any) -> Response:
        response: Response = super().finalize_response(*args, **kwargs)
        response["x-request-id"] = response["request-id"] = new_request_id()
        response["cache-control"] = "no-store"
        return response


class KeyView(KeyedView):
    def get(self, request: Request) -> Response:
        defaults = {"rpm": settings.DEFAULT_RPM, "tpm": settings.DEFAULT_TPM}
        return Response(render_key(read_key_standing(_key_of(request)), defaults))


class CreditsView(KeyedView):
    def get(self, request: Request) -> Response:
        return Response(render_credits(read_credits(_key_of(request).org)))


class GenerationView(KeyedView):
    def get(self, request: Request) -> Response:
        wanted = request.query_params.get("id", "")
        match = _CALL_ID.fullmatch(wanted)
        if not wanted:
            raise BadRequestError(
                "Give the id of an answer or its request.",
                code="missing_required_parameter",
                param="id",
            )
        found = match and find_generation(_key_of(request), f"req_{match[1]}")
        if not found:
            raise NotFoundError(
                f"No such generation: {wanted[:60]!r}.", code="not_found", param="id"
            )
        return Response(render_generation(found))


class UsageView(KeyedView):
    authentication_classes = (AdminKeyAuthentication,)
    form: ClassVar[Form] = USAGE

    def get(self, request: Request) -> Response:
        return Response(render_usage(self.read(request)))

    def read(self, request: Request) -> UsagePage:
        query = parse_query(dict(request.query_params.lists()), self.form)
        return read_page(_key_of(request).org_id, query)


class CostsView(UsageView):
    form = COSTS

    def get(self, request: Request) -> Response:
        return Response(render_costs(self.read(request)))


def _key_of(request: Request) -> ApiKey:
    key = request.auth
    assert isinstance(key, ApiKey), "the authentication lets in nobody else"
    return key


def _answer_error(fault: Exception, context: dict[str, Any]) -> Response:
    """Render any fault; one of ours is logged and never shown."""
    error = _as_error(fault)
    if error is None:
        log.error("api_failed", path=context["request"].path, exc_info=fault)
        error = TollgateError("The server had an error; try again.")
    return Response(render_error(error), status=error.http_status, headers=dict(error.headers))


def _as_error(fault: Exception) -> TollgateError | None:
    if isinstance(fault, TollgateError):
        return fault
    if isinstance(fault, OperationalError):
        log.error("api_database_failed", error=type(fault).__name__)
        return UnavailableError(
            "The figures cannot be read at the moment; try again, or ask for fewer.",
            headers={"retry-after": "1"},
        )
    if isinstance(fault, APIException):
        return BadRequestError("The request cannot be read.")
    return None
