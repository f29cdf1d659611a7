"""What can be called, at which price, and who serves it: a snapshot in memory.

Refreshed when a change is announced over Redis and every few seconds in any case, because a price
may take effect by its time alone. A reader keeps the snapshot it started with.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import LiteralString

from psycopg_pool import AsyncConnectionPool

from accounts.principal import NO_LIMITS, Principal, RateLimits
from billing.pricing import Price, parse_tiers
from billing.usage import BUCKETS, NO_USAGE, Usage
from gateway.media_bounds import PICTURE_TOKENS
from kernel.errors import ForbiddenError, NotFoundError

_PRICE_COLUMNS = ", ".join(f"p.{bucket}_nanos" for bucket in BUCKETS)
_COST_COLUMNS = ", ".join(f"k.{bucket}_nanos" for bucket in BUCKETS)
MODELS: LiteralString = """
select m.name, m.owned_by, extract(epoch from m.created_at)::bigint, m.context_tokens,
  m.max_output_tokens, m.rpm, m.rpd, m.tpm, m.concurrency, m.thinks_unseen,
  m.picture_tokens
from gateway_publicmodel m where m.active order by m.name
"""
PRICES: LiteralString = f"""
select distinct on (p.model, p.org_id) p.model, p.org_id, p.id, p.tiers, {_PRICE_COLUMNS}
from billing_priceversion p join gateway_publicmodel m on m.name = p.model and m.active
where p.effective_from <= now()
order by p.model, p.org_id, p.effective_from desc, p.id desc
"""  # noqa: S608 # column names of our own
ALIASES: LiteralString = """
select a.name, m.name from gateway_modelalias a
join gateway_publicmodel m on m.id = a.public_model_id and m.active
"""
DEPLOYMENTS: LiteralString = f"""
select m.name, p.id, p.name, p.kind, p.base_url, p.credential, p.connect_timeout_s,
  p.read_timeout_s, p.stall_timeout_s, p.total_timeout_s, d.upstream_model, d.priority,
  d.weight, p.concurrency, p.first_token_timeout_s, d.limit_field,
  p.anthropic_version, c.*
from gateway_deployment d join gateway_publicmodel m on m.id = d.public_model_id
join gateway_provider p on p.id = d.provider_id
left join lateral (
  select k.id, {_COST_COLUMNS} from billing_providercost k
  where k.provider = p.name and k.upstream_model = d.upstream_model and k.effective_from <= now()
  order by k.effective_from desc, k.id desc limit 1
) c on true
where d.active and p.active and m.active order by m.name, d.priority, d.id
"""  # noqa: S608 # column names of our own
OWN_KEYS: LiteralString = """
select k.org_id, k.provider_id, k.credential from gateway_providerkey k
join gateway_provider p on p.id = k.provider_id where p.active
"""
# What a provider charges us for calls under a key that is not ours.
NO_COST = Price(0, NO_USAGE)


@dataclass(frozen=True, slots=True)
class Deployment:
    """A provider that serves a model under its own name for it. ``credential`` is encrypted.

    ``concurrency`` is how many calls of a process the provider serves at once, None for any number;
    ``cost`` what it charges, None where that is not on file. ``key_owner`` is the organization
    whose own credential it is, None for the platform's.
    """

    provider_id: int
    provider: str
    kind: str
    base_url: str
    credential: bytes | None = field(repr=False)
    connect_timeout_s: int
    read_timeout_s: int
    stall_timeout_s: int
    total_timeout_s: int
    upstream_model: str
    priority: int = 0
    weight: int = 1
    concurrency: int | None = None
    first_token_timeout_s: int = 60
    limit_field: str = ""
    anthropic_version: str = "2023-06-01"
    cost: Price | None = None
    key_owner: int | None = None

    @property
    def signer(self) -> str:
        """Who signs thinking there; another one does not take it back."""
        return f"{self.provider_id}/{self.upstream_model}"


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """A public model. Until an operator gives it a price, it cannot be called.

    ``own_prices`` are organizations' own, by id; they go before the list price.
    ``limits`` are those of each organization on this model. ``thinks_unseen`` says that it writes
    tokens which are paid for and not shown, whether or not it is asked to think. A provider of it
    counts ``picture_tokens`` for a picture at the most.
    """

    name: str
    owned_by: str
    created: int
    context_tokens: int
    max_output_tokens: int
    price: Price | None
    deployments: Sequence[Deployment]
    limits: RateLimits = NO_LIMITS
    own_prices: Mapping[int, Price] = field(default_factory=dict)
    thinks_unseen: bool = False
    picture_tokens: int = PICTURE_TOKENS

    @property
    def is_simulated(self) -> bool:
        """Tell whether only the built-in model serves it, whose figures are our own count."""
        return all(each.kind == "simulator" for each in self.deployments)

    def price_for(self, org_id: int) -> Price | None:
        """Return what an organization pays, None where the model has no price for it."""
        return self.own_prices.get(org_id, self.price)


@dataclass(frozen=True, slots=True)
class Catalog:
    """``aliases`` are other names of models, each with the name of its model.

    ``own_keys`` are organizations' own encrypted credentials, by organization and provider.
    """

    models: Mapping[str, CatalogModel]
    aliases: Mapping[str, str] = field(default_factory=dict)
    own_keys: Mapping[int, Mapping[int, bytes]] = field(default_factory=dict, repr=False)

    def model(self, name: str, principal: Principal) -> CatalogModel:
        """Return the model that a name or an alias stands for, where a key can call it.

        Where the organization has keys of its own, the model is served under those.

        Raises:
            NotFoundError: for a name that is not offered.
            ForbiddenError: for a model that has no price yet, or that the key may not call.

        """
        found = self._find(name)
        if found is None:
            raise NotFoundError(
                f"Model not found: {name[:200]}", code="model_not_found", param="model"
            )
        if found.price_for(principal.org_id) is None:
            raise ForbiddenError(
                f"The model {name} has no price yet and cannot be called.",
                code="model_not_allowed",
                param="model",
            )
        if not _may_call(principal, name, found):
            raise ForbiddenError(f"This key may not call the model {name}.", param="model")
        return _under_own_keys(found, principal.org_id, self.own_keys.get(principal.org_id, {}))

    def offered(self, principal: Principal) -> dict[str, CatalogModel]:
        """Return the models that a key can call, aliases too, in the order of their names.

        Each under the name it is listed by, at the price that the key's organization pays.
        """
        aliased = {alias: self.models[name] for alias, name in self.aliases.items()}
        return {
            name: replace(model, name=name, price=price)
            for name, model in sorted({**self.models, **aliased}.items())
            if (price := model.price_for(principal.org_id)) is not None
            and _may_call(principal, name, model)
        }

    def _find(self, name: str) -> CatalogModel | None:
        return self.models.get(self.aliases.get(name, name))


def _may_call(principal: Principal, name: str, model: CatalogModel) -> bool:
    return principal.may_call(name) or principal.may_call(model.name)


def _under_own_keys(
    model: CatalogModel, org_id: int, own_keys: Mapping[int, bytes]
) -> CatalogModel:
    if not own_keys:
        return model
    deployments = tuple(
        replace(each, credential=own_keys[each.provider_id], key_owner=org_id, cost=NO_COST)
        if each.provider_id in own_keys
        else each
        for each in model.deployments
    )
    return replace(model, deployments=deployments)


async def load_catalog(pool: AsyncConnectionPool) -> Catalog:
    """Read the whole catalogue in five queries."""
    async with pool.connection() as connection:
        models = await (await connection.execute(MODELS)).fetchall()
        prices = await (await connection.execute(PRICES)).fetchall()
        deployments = await (await connection.execute(DEPLOYMENTS)).fetchall()
        keys = await (await connection.execute(OWN_KEYS)).fetchall()
        aliases = await (await connection.execute(ALIASES)).fetchall()
    by_model: defaultdict[str, list[Deployment]] = defaultdict(list)
    for name, *row in deployments:
        known, (cost_id, *nanos) = Deployment(*row[:16]), row[16:]
        cost = None if cost_id is None else Price(cost_id, Usage(*nanos))
        by_model[name].append(replace(known, cost=cost))
    listed: dict[str, Price] = {}
    own: defaultdict[str, dict[int, Price]] = defaultdict(dict)
    for name, org_id, version_id, tiers, *nanos in prices:
        price = Price(version_id, Usage(*nanos), parse_tiers(tiers))
        if org_id is None:
            listed[name] = price
        else:
            own[name][org_id] = price
    known_models = {
        row[0]: CatalogModel(
            name=row[0],
            owned_by=row[1],
            created=row[2],
            context_tokens=row[3],
            max_output_tokens=row[4],
            price=listed.get(row[0]),
            deployments=tuple(by_model[row[0]]),
            own_prices=own[row[0]],
            limits=RateLimits(*row[5:9]),
            thinks_unseen=row[9],
            picture_tokens=row[10],
        )
        for row in models
    }
    own_keys: defaultdict[int, dict[int, bytes]] = defaultdict(dict)
    for org_id, provider_id, credential in keys:
        own_keys[org_id][provider_id] = credential
    # a model may have gone between two of the queries; its aliases go with it
    known_aliases = {alias: name for alias, name in aliases if name in known_models}
    return Catalog(known_models, known_aliases, own_keys)
