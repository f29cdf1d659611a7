"""One round of telling: what a worker does every two seconds."""

from django.conf import settings

from billing.models import WebhookEndpoint
from billing.notices.bodies import render_body
from billing.notices.dispatch import Claim, claim, fan_out, note
from billing.notices.endpoints import open_secrets
from billing.notices.letters import render_letter
from billing.notices.sending import Mail, Message, Post, Unsendable, send_all
from billing.notices.signing import render_signature
from kernel import clock
from kernel.log import logger

MOST_ROUNDS = 10
log = logger(__name__)


def tell() -> int:
    """Dispatch and deliver what is due, up to a bound; return how many attempts were made."""
    fan_out()
    made = 0
    for _ in range(MOST_ROUNDS):
        claims = claim()
        if not claims:
            break
        outcomes = send_all([_write(each) for each in claims])
        for claimed, outcome in zip(claims, outcomes, strict=True):
            note(claimed, outcome)
        made += len(claims)
    return made


def _write(claimed: Claim) -> Message:
    """Return the message of an attempt; one that cannot be written fails alone."""
    try:
        if claimed.delivery.endpoint is None:
            return _write_mail(claimed)
        return _write_post(claimed, claimed.delivery.endpoint)
    except Exception as fault:  # whatever it is, the others must go out
        log.error("message_unwritable", delivery=claimed.delivery.public_id, exc_info=fault)
        return Unsendable(f"the message cannot be written: {type(fault).__name__}")


def _write_mail(claimed: Claim) -> Mail:
    event = claimed.delivery.event
    letter = render_letter(event)
    message_id = f"<{event.public_id}.{claimed.delivery.public_id}@tollgate>"
    return Mail(claimed.delivery.email, letter.subject, letter.text, message_id)


def _write_post(claimed: Claim, endpoint: WebhookEndpoint) -> Post:
    event = claimed.delivery.event
    body = render_body(event)
    at_s = clock.now_s()
    return Post(
        endpoint.url,
        {
            "content-type": "application/json",
            "user-agent": "Tollgate-Webhooks/1",
            "webhook-id": event.public_id,
            "webhook-timestamp": str(at_s),
            "webhook-signature": render_signature(
                open_secrets(endpoint), event.public_id, at_s, body
            ),
        },
        body,
        settings.WEBHOOK_NETWORKS,
    )
