"""The paths of the customers' API, on every prefix of the data plane."""

from django.urls import URLPattern, re_path
from rest_framework.views import APIView

from billing.api import CostsView, CreditsView, GenerationView, KeyView, UsageView
from billing.notices.api import (
    DeliveriesView,
    EnableView,
    ResendView,
    RotateView,
    TestView,
    WebhooksView,
    WebhookView,
)
from billing.payments.api import AutoTopUpView, RedeemView, TopUpsView, TopUpView

_PREFIX = r"^(?:v1|api/v1|api)"
_WEBHOOK = r"organization/webhooks/(?P<public_id>[0-9A-Za-z_]{1,40})"


def _at(path: str, view: type[APIView]) -> URLPattern:
    return re_path(rf"{_PREFIX}/{path}/?$", view.as_view())


urlpatterns = [
    _at("organization/usage/completions", UsageView),
    _at("organization/costs", CostsView),
    _at("key", KeyView),
    _at("credits", CreditsView),
    _at("generation", GenerationView),
    _at("organization/auto_topup", AutoTopUpView),
    _at("organization/codes/redeem", RedeemView),
    _at("organization/topups", TopUpsView),
    _at(r"organization/topups/(?P<public_id>[0-9A-Za-z_]{1,40})", TopUpView),
    _at("organization/webhooks", WebhooksView),
    _at(_WEBHOOK, WebhookView),
    _at(rf"{_WEBHOOK}/rotate", RotateView),
    _at(rf"{_WEBHOOK}/enable", EnableView),
    _at(rf"{_WEBHOOK}/test", TestView),
    _at(rf"{_WEBHOOK}/deliveries", DeliveriesView),
    _at(rf"{_WEBHOOK}/deliveries/(?P<delivery_id>[0-9A-Za-z_]{{1,40}})/resend", ResendView),
]
