"""One call's dealings with the cache: what it asks for, whether that is there, what is kept."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import orjson

from accounts.principal import Principal
from gateway.cache.store import DAY_S, AnswerCache
from gateway.cache.tapes import Tape, play, record
from gateway.call import Call
from gateway.catalog import CatalogModel
from gateway.draft import Plan
from gateway.providers.base import Upstream
from kernel.errors import BadRequestError
from kernel.log import logger

HEADER = b"x-tollgate-cache"
HIT, MISS = (HEADER, b"hit"), (HEADER, b"miss")
_TTL = re.compile(rb"ttl=([1-9][0-9]{0,4})", re.ASCII)
log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Hit:
    """A stored answer, and the plan it answers, at what answers out of the cache cost.

    ``is_of_first`` says whether that is the plan whose limits were asked.
    """

    plan: Plan
    upstream: Upstream
    is_of_first: bool


class Asked:
    """What a call that asks for the cache finds there and leaves there.

    1. ``find`` looks for the answer of the first plan that has one.
    2. Without one, ``record`` makes a tape of what a provider says for the plan that is served.
    3. ``keep``, before the answer's last bytes leave, stores a tape that is whole.
    """

    def __init__(self, cache: AnswerCache, call: Call, principal: Principal, ttl_s: int) -> None:
        self._cache = cache
        self._call = call
        self._principal = principal
        self._ttl_s = ttl_s
        body = orjson.dumps(orjson.loads(call.body), option=orjson.OPT_SORT_KEYS)
        self._question = hashlib.sha256(body).digest()  # once: a body may be large, plans several
        self._name = ""
        self._tape: Tape | None = None

    async def find(self, plans: Sequence[Plan]) -> Hit | None:
        """Return the stored answer of this very request, None without one."""
        for plan in plans:
            content = await self._cache.find(self._name_of(plan))
            upstream = None if content is None else _play(content)
            if upstream is not None:
                self._cache.hits += 1
                model = _at_cache_price(plan.model, self._principal.org_id, self._cache.percent)
                return Hit(plan._replace(model=model), upstream, is_of_first=plan is plans[0])
        self._cache.misses += 1
        return None

    def record(self, plan: Plan, upstream: Upstream) -> Upstream:
        """Return the upstream with a tape running."""
        self._call.notes.append(MISS)
        self._name = self._name_of(plan)
        upstream, self._tape = record(upstream)
        return upstream

    async def keep(self) -> None:
        """Store what was recorded, if the provider has said all of it and it is not too much."""
        content = None if self._tape is None else self._tape.content
        if content is not None:
            owner = self._principal.key_public_id
            await self._cache.keep(self._name, content, ttl_s=self._ttl_s, owner=owner)

    def _name_of(self, plan: Plan) -> str:
        """Name the answer: of this key, this request, at this price, by who serves it now."""
        price = plan.model.price_for(self._principal.org_id)
        assert price is not None, "the catalogue hands out priced models only"
        served_by = [
            [each.provider_id, each.base_url, each.upstream_model, each.key_owner]
            for each in plan.model.deployments
        ]
        return self._cache.name(
            self._principal.key_public_id.encode(),
            self._call.dialect.endpoint.encode(),
            self._question,
            plan.model.name.encode(),
            b"%d" % price.version_id,
            orjson.dumps(served_by),
        )


def read_asked(cache: AnswerCache, call: Call, principal: Principal) -> Asked | None:
    """Return what a call asks of the cache, None where it does not. Its body is known to read well.

    Raises:
        BadRequestError: for anything but ``ttl=`` and whole seconds from 1 to a day.

    """
    headers: Mapping[bytes, bytes] = call.headers
    sent = headers.get(HEADER)
    if sent is None:
        return None
    match = _TTL.fullmatch(sent)
    ttl_s = 0 if match is None else int(match[1])
    if not 1 <= ttl_s <= DAY_S:
        raise BadRequestError(
            f"x-tollgate-cache says for how many seconds, as in ttl=60: 1 to {DAY_S}.",
            param=HEADER.decode(),
        )
    return Asked(cache, call, principal, ttl_s)


def _play(content: bytes) -> Upstream | None:
    try:
        return play(content)
    except (ValueError, KeyError, TypeError):
        log.warning("cached_answer_not_read")
        return None


def _at_cache_price(model: CatalogModel, org_id: int, percent: int) -> CatalogModel:
    price = model.price_for(org_id)
    assert price is not None, "the catalogue hands out priced models only"
    return replace(model, price=price.from_cache(percent), own_prices={})
