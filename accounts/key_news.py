"""Tells every api process that a key has changed, so that its memory of it is dropped at once.

An organization's public id in a key's place means all keys of it.

Redis being away costs at most the ten seconds the memory lasts; the hold re-checks the key anyway.
"""

import redis
from django.conf import settings

from kernel.log import logger

KEY_CHANNEL = "tollgate:keys"
log = logger(__name__)


def announce_key_change(public_id: str) -> None:
    """Publish a key's public id. Never raises."""
    _publish(public_id)


def announce_org_change(public_id: str) -> None:
    """Publish that what all keys of an organization share has changed. Never raises."""
    _publish(public_id)


def _publish(public_id: str) -> None:
    try:
        client = redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1
        )
        with client:
            client.publish(KEY_CHANNEL, public_id)
    except redis.RedisError as error:
        log.warning("key_news_not_sent", of=public_id, error=type(error).__name__)
