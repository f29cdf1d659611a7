"""Pages by path. The data plane's paths are in ``gateway.routes``."""

from allauth.account import views as sign_in
from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import path

from billing import pages
from billing.payments.api import StripeWebhookView
from gateway import api as price_book

admin.site.site_header = "Tollgate operators"
admin.site.site_title = "Tollgate"
admin.site.index_title = "Every row, read-mostly"
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign] # one sign-in


def healthz(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 # a view
    """The process answers. It asks no store: a database that is away must not restart the pages."""
    return HttpResponse("ok\n", content_type="text/plain; charset=utf-8")


urlpatterns = [
    path("", pages.home, name="home"),
    path("keys/", pages.keys, name="keys"),
    path("keys/new", pages.new_key, name="new_key"),
    path("keys/<str:public_id>/revoke", pages.revoke, name="revoke_key"),
    path("live/balance", pages.live_balance, name="live_balance"),
    path("live/spend", pages.live_spend, name="live_spend"),
    path("live/keys", pages.live_keys, name="live_keys"),
    path("live/calls", pages.live_calls, name="live_calls"),
    # sign-up, password reset and e-mail pages of allauth stay closed until they are asked for
    path("accounts/login/", sign_in.login, name="account_login"),
    path("accounts/logout/", sign_in.logout, name="account_logout"),
    path("accounts/signup/", sign_in.signup, name="account_signup"),
    path("accounts/inactive/", sign_in.account_inactive, name="account_inactive"),
    path("accounts/reauthenticate/", sign_in.reauthenticate, name="account_reauthenticate"),
    path("operator/api/prices", price_book.PricesView.as_view(), name="prices"),
    path("operator/api/prices/preview", price_book.PricePreviewView.as_view(), name="preview"),
    path("webhooks/stripe", StripeWebhookView.as_view(), name="stripe_webhook"),
    path("admin/", admin.site.urls),
    path("healthz", healthz, name="healthz"),
]
