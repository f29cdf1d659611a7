"""``manage webhook``: endpoints of organizations and of the operators."""

from billing.models import Delivery, WebhookEndpoint
from tests.commands.manage import Here
from tests.factories import make_tenant


def test_an_operator_makes_tests_rotates_and_ends_an_endpoint(here: Here) -> None:
    acme = make_tenant()
    url = "https://example.com/hooks"

    made = here(
        *("webhook", "create", url, "--org", acme.org.public_id, "--kinds", "balance.low"),
        "--json",
    ).json

    assert (made["url"], made["kinds"], made["status"]) == (url, ["balance.low"], "enabled")
    assert made["secret"].startswith("whsec_")
    listed = here("webhook", "list", "--org", acme.org.public_id, "--json").json
    assert [each["id"] for each in listed] == [made["id"]]
    assert here("webhook", "list", "--json").json == []
    sent = here("webhook", "test", made["id"], "--json").json
    assert (sent["kind"], sent["state"]) == ("webhook.test", "due")
    (delivery,) = here("webhook", "deliveries", made["id"], "--json").json
    assert (delivery["id"], delivery["attempts"]) == (sent["id"], [])
    rotated = here("webhook", "rotate", made["id"], "--overlap", "1h", "--json").json
    assert rotated["secret"] not in {made["secret"], None}
    assert here("webhook", "delete", made["id"], "--json").json["deleted"] is True
    assert Delivery.objects.get().state == "given_up"


def test_an_endpoint_without_an_organization_is_the_operators_own(here: Here) -> None:
    made = here("webhook", "create", "https://example.com/hooks", "--json").json

    assert WebhookEndpoint.objects.get(public_id=made["id"]).org is None
    assert [each["id"] for each in here("webhook", "list", "--json").json] == [made["id"]]


def test_a_disabled_endpoint_is_enabled_and_a_delivery_sent_again(here: Here) -> None:
    made = here("webhook", "create", "https://example.com/hooks", "--json").json
    sent = here("webhook", "test", made["id"], "--json").json
    assert "due anyway" in here.refused("webhook", "resend", made["id"], sent["id"])
    Delivery.objects.update(state="given_up")
    WebhookEndpoint.objects.update(disabled_at="2026-11-01T00:00:00Z", disabled_why="gone")

    assert here.refused("webhook", "test", made["id"]) == (
        "The endpoint is disabled; enable it first."
    )
    enabled = here("webhook", "enable", made["id"], "--json").json
    again = here("webhook", "resend", made["id"], sent["id"], "--json").json

    assert (enabled["status"], enabled["why"]) == ("enabled", None)
    assert (again["state"], Delivery.objects.get().state) == ("due", "due")


def test_what_is_not_there_or_private_is_refused_in_one_line(here: Here) -> None:
    assert here.refused("webhook", "delete", "we_none") == (
        "There is no webhook endpoint 'we_none'."
    )
    assert here.refused("webhook", "create", "http://example.com/") == (
        "The address must begin with https://."
    )
    assert here.refused("webhook", "create", "https://10.0.0.1/") == (
        "The address is private; it cannot be called from here."
    )
    assert WebhookEndpoint.objects.count() == 0
