"""A fake of the part of Stripe's API that is asked, at the socket, with a transcript; and events.

It checks the secret key, speaks forms, and keeps idempotency as Stripe says it does: the same key
with the same form is answered again as before, with another form refused, and while the first is
under way 409. ``script`` says how the next requests end, one word each:

- ``fail``: 500 before anything is done; ``cut``: it is done, and the connection closed unanswered;
- ``decline``: 402; ``processing``: the charge is under way; ``busy``: 429; ``refuse``: 401.
"""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

SECRET_KEY = "sk_test_secret"
WEBHOOK_SECRET = "whsec_test_secret"


@dataclass(frozen=True)
class Asked:
    """One request as this side saw it."""

    method: str
    path: str
    form: dict[str, str]
    idem_key: str
    authorization: str


@dataclass
class FakeStripe:
    url: str = ""
    script: list[str] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: dict[str, tuple[dict[str, str], int, dict[str, Any]]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def charges(self) -> list[dict[str, Any]]:
        """Payments really made."""
        made = self.objects.values()
        return [o for o in made if o["object"] == "payment_intent" and o["status"] == "succeeded"]

    def answer(self, asked: Asked) -> tuple[int, dict[str, Any]] | None:
        """Return status and body, or None to hang up."""
        with self.lock:
            self.asked.append(asked)
            word = self.script.pop(0) if self.script else ""
            if asked.authorization != f"Bearer {SECRET_KEY}" or word == "refuse":
                return 401, error("invalid_request_error", "api_key_invalid")
            if word in {"fail", "busy"}:
                return (500 if word == "fail" else 429), error("api_error", word)
            if asked.method == "GET":
                return 200, self.objects[asked.path.rpartition("/")[2]]
            if asked.idem_key in self.answers:
                form, status, body = self.answers[asked.idem_key]
                if form != asked.form:
                    return 400, error("idempotency_error", "idempotency_key_in_use")
                return status, body
            status, body = self.make(asked, word)
            self.answers[asked.idem_key] = (asked.form, status, body)
            return None if word == "cut" else (status, body)

    def make(self, asked: Asked, word: str) -> tuple[int, dict[str, Any]]:
        number = len(self.objects) + 1
        metadata = {"top_up": asked.form["metadata[top_up]"]}
        if asked.path == "/v1/checkout/sessions":
            made = {
                "object": "checkout.session",
                "id": f"cs_{number}",
                "url": f"https://checkout.example/c/pay/cs_{number}",
                "payment_status": "unpaid",
                "payment_intent": None,
                "amount_total": int(asked.form["line_items[0][price_data][unit_amount]"]),
                "currency": asked.form["line_items[0][price_data][currency]"],
                "metadata": metadata,
            }
        else:
            assert asked.path == "/v1/payment_intents", asked.path
            is_paid = word != "processing"
            amount = int(asked.form["amount"])
            made = {
                "object": "payment_intent",
                "id": f"pi_{number}",
                "status": "succeeded" if is_paid else "processing",
                "amount": amount,
                "amount_received": amount if is_paid else 0,
                "currency": asked.form["currency"],
                "customer": asked.form["customer"],
                "payment_method": asked.form["payment_method"],
                "metadata": metadata,
            }
        if word == "decline":
            return 402, error("card_error", "card_declined", decline_code="insufficient_funds")
        self.objects[str(made["id"])] = made
        return 200, made


def error(kind: str, code: str, **more: str) -> dict[str, Any]:
    return {"error": {"type": kind, "code": code, "message": f"a sentence about {code}", **more}}


@contextmanager
def running_stripe() -> Iterator[FakeStripe]:
    """Serve the fake on loopback, in threads of this process."""
    fake = FakeStripe()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            answer = fake.answer(
                Asked(
                    self.command,
                    self.path,
                    dict(parse_qsl(body.decode(), strict_parsing=bool(body))),
                    self.headers.get("idempotency-key", ""),
                    self.headers.get("authorization", ""),
                )
            )
            if answer is None:
                self.close_connection = True
                return
            sent = json.dumps(answer[1]).encode()
            self.send_response(answer[0])
            self.send_header("content-length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST  # noqa: N815 # the server's name for it

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def sign(body: bytes, *, secret: str = WEBHOOK_SECRET, at: int | None = None) -> str:
    at = int(time.time()) if at is None else at
    signed = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={signed}"


def event(event_id: str, kind: str, about: dict[str, Any]) -> bytes:
    return json.dumps({"id": event_id, "type": kind, "data": {"object": about}}).encode()


def session_paid(event_id: str, top_up: str, *, intent: str = "pi_1", **other: Any) -> bytes:
    """The event of a checkout that was paid: 25 dollars, unless told otherwise."""
    about = {
        "object": "checkout.session",
        "id": "cs_1",
        "payment_status": "paid",
        "payment_intent": intent,
        "amount_total": 2500,
        "currency": "usd",
        "metadata": {"top_up": top_up},
        **other,
    }
    return event(event_id, "checkout.session.completed", about)


def intent_paid(event_id: str, top_up: str, *, intent: str = "pi_1", **other: Any) -> bytes:
    """The event of the payment itself."""
    about = {
        "object": "payment_intent",
        "id": intent,
        "amount_received": 2500,
        "currency": "usd",
        "metadata": {"top_up": top_up},
        "customer": "cus_1",
        "payment_method": "pm_1",
        **other,
    }
    return event(event_id, "payment_intent.succeeded", about)


def refunded(event_id: str, cents: int, *, intent: str = "pi_1", **other: Any) -> bytes:
    """The event of a refund; ``cents`` is what was refunded of the payment so far."""
    about = {
        "object": "charge",
        "id": "ch_1",
        "payment_intent": intent,
        "amount_refunded": cents,
        "currency": "usd",
        "metadata": {},
        **other,
    }
    return event(event_id, "charge.refunded", about)


def disputed(event_id: str, cents: int, *, intent: str = "pi_1", **other: Any) -> bytes:
    about = {
        "object": "dispute",
        "id": "dp_1",
        "payment_intent": intent,
        "amount": cents,
        "currency": "usd",
        **other,
    }
    return event(event_id, "charge.dispute.created", about)
