"""``manage webhook …``: where events are posted, for an organization or for the operators."""

from typing import Any

from accounts.access import operator_org
from accounts.commands import ACTOR, VerbCommand
from accounts.models import Organization
from billing.models import Delivery, WebhookEndpoint
from billing.notices.api import render_delivery
from billing.notices.endpoints import (
    EndpointSpec,
    access_delivery,
    create_endpoint,
    delete_endpoint,
    enable_endpoint,
    endpoints_of,
    operator_endpoint,
    resend,
    rotate_secret,
    send_test,
)
from kernel.cli import parse_duration, print_row, print_rows

MOST_LISTED = 100


class Command(VerbCommand):
    help = "Make, list, test, rotate and end webhook endpoints; see and repeat deliveries."

    def add_verbs(self, verbs: Any) -> None:
        create = self.add_verb(verbs, "create", "Post events to an address.")
        create.add_argument("url")
        create.add_argument("--kinds", default="", metavar="KIND,…", help="default: all")
        create.add_argument("--description", default="")
        listing = self.add_verb(verbs, "list", "List endpoints.")
        for verb in (create, listing):
            verb.add_argument("--org", metavar="ID", help="default: the operators' own")
        for name, summary in (
            ("delete", "Post nothing to an endpoint any more."),
            ("enable", "Post to a disabled endpoint again."),
            ("test", "Post a test event."),
            ("deliveries", "List an endpoint's newest deliveries."),
        ):
            self.add_verb(verbs, name, summary).add_argument("id")
        rotate = self.add_verb(verbs, "rotate", "Give an endpoint a new secret.")
        rotate.add_argument("id")
        rotate.add_argument("--overlap", default="24h", help="how long the old one signs too")
        again = self.add_verb(verbs, "resend", "Make a delivery again.")
        again.add_argument("id")
        again.add_argument("delivery")

    def do_create(self, options: dict[str, Any]) -> None:
        kinds = [kind for kind in options["kinds"].split(",") if kind]
        spec = EndpointSpec(options["url"], kinds, options["description"])
        made = create_endpoint(_org(options), spec, actor=ACTOR)
        print_row({**_row(made.endpoint), "secret": made.secret}, as_json=options["json"])

    def do_list(self, options: dict[str, Any]) -> None:
        rows = [_row(endpoint) for endpoint in endpoints_of(_org(options))]
        print_rows(rows, as_json=options["json"])

    def do_delete(self, options: dict[str, Any]) -> None:
        endpoint = operator_endpoint(options["id"])
        delete_endpoint(endpoint, actor=ACTOR)
        print_row({"id": endpoint.public_id, "deleted": True}, as_json=options["json"])

    def do_enable(self, options: dict[str, Any]) -> None:
        endpoint = enable_endpoint(operator_endpoint(options["id"]), actor=ACTOR)
        print_row(_row(endpoint), as_json=options["json"])

    def do_test(self, options: dict[str, Any]) -> None:
        delivery = send_test(operator_endpoint(options["id"]))
        print_row(_delivery_row(delivery), as_json=options["json"])

    def do_deliveries(self, options: dict[str, Any]) -> None:
        endpoint = operator_endpoint(options["id"])
        newest = endpoint.deliveries.select_related("event").order_by("-id")[:MOST_LISTED]
        render = render_delivery if options["json"] else _delivery_row
        print_rows([render(delivery) for delivery in newest], as_json=options["json"])

    def do_rotate(self, options: dict[str, Any]) -> None:
        endpoint = operator_endpoint(options["id"])
        overlap = parse_duration(options["overlap"])
        made = rotate_secret(endpoint, overlap=overlap, actor=ACTOR)
        print_row({**_row(made.endpoint), "secret": made.secret}, as_json=options["json"])

    def do_resend(self, options: dict[str, Any]) -> None:
        endpoint = operator_endpoint(options["id"])
        delivery = resend(access_delivery(endpoint, options["delivery"]))
        print_row(_delivery_row(delivery), as_json=options["json"])


def _org(options: dict[str, Any]) -> Organization | None:
    return None if options["org"] is None else operator_org(options["org"])


def _row(endpoint: WebhookEndpoint) -> dict[str, Any]:
    return {
        "id": endpoint.public_id,
        "url": endpoint.url,
        "kinds": endpoint.kinds or ["all"],
        "status": "enabled" if endpoint.disabled_at is None else "disabled",
        "why": endpoint.disabled_why or None,
        "failing_since": endpoint.failing_since,
    }


def _delivery_row(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.public_id,
        "event": delivery.event.public_id,
        "kind": delivery.event.kind,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "next_at": delivery.next_at if delivery.state == Delivery.State.DUE else None,
    }
