"""What a customer's programs may ask: usage, costs, a key's standing, credit, one call.

Keys open these paths; there are no cookies. Every view reads its input, calls one function and
renders the answer.
"""

import re
from typing import ClassVar

from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api_auth import AdminKeyAuthentication
from accounts.api_views import KeyedView, key_of
from billing.reports import COSTS, USAGE, Form, UsagePage, parse_query, read_page
from billing.serializers import (
    render_costs,
    render_credits,
    render_generation,
    render_key,
    render_usage,
)
from billing.standing import find_generation, read_credits, read_key_standing
from kernel.errors import BadRequestError, NotFoundError

_CALL_ID = re.compile(r"(?:chatcmpl-|msg_|resp_|req_)([0-9A-Za-z]{20,36})", re.ASCII)


class KeyView(KeyedView):
    def get(self, request: Request) -> Response:
        defaults = {"rpm": settings.DEFAULT_RPM, "tpm": settings.DEFAULT_TPM}
        return Response(render_key(read_key_standing(key_of(request)), defaults))


class CreditsView(KeyedView):
    def get(self, request: Request) -> Response:
        return Response(render_credits(read_credits(key_of(request).org)))


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
        found = match and find_generation(key_of(request), f"req_{match[1]}")
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
        return read_page(key_of(request).org_id, query)


class CostsView(UsageView):
    form = COSTS

    def get(self, request: Request) -> Response:
        return Response(render_costs(self.read(request)))
