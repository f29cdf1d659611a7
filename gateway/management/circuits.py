"""How circuits stand, as the api processes last told it."""

from collections.abc import Iterable

import redis
from django.conf import settings

from gateway.routing.hints import circuit_key

Circuits = dict[tuple[str, str], str]


def read_circuits(places: Iterable[tuple[str, str]]) -> Circuits:
    """Return, by provider and upstream model, ``closed``, or since when not: ``open for 12 s``.

    Without Redis nobody tells, and each is ``unknown``.
    """
    wanted = list(dict.fromkeys(places))
    client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, decode_responses=True)
    try:
        with client, client.pipeline(transaction=False) as asked:
            for provider, upstream_model in wanted:
                key = circuit_key(provider, upstream_model)
                asked.get(key)
                asked.pttl(key)
            said = asked.execute()
    except redis.RedisError:
        return dict.fromkeys(wanted, "unknown")
    states = zip(said[::2], said[1::2], strict=True)
    return {
        place: "closed" if state is None or left_ms < 0 else f"{state} for {-(-left_ms // 1000)} s"
        for place, (state, left_ms) in zip(wanted, states, strict=True)
    }
