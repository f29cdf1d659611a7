"""Tells api processes that the catalogue has changed."""

import redis
from django.conf import settings

from kernel.log import logger

CATALOG_CHANNEL = "tollgate:catalog"
log = logger(__name__)


def announce_catalog_change() -> None:
    """Publish the change. Never raises: every process looks by itself within five seconds."""
    try:
        client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1)
        with client:
            client.publish(CATALOG_CHANNEL, "changed")
    except redis.RedisError as error:
        log.warning("catalog_news_not_sent", error=type(error).__name__)
