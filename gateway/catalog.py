"""What can be called, at which price, and who serves it: a snapshot in memory.

Refreshed when a change is announced over Redis and every few seconds in any case, because a price
may take effect by its time alone. A reader keeps the snapshot it started with.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import LiteralString

from psycopg_pool import AsyncConnectionPool

from billing.pricing import Price
from billing.usage import BUCKETS, Usage
from kernel.errors import ForbiddenError, NotFoundError

_PRICE_COLUMNS = ", ".join(f"p.{bucket}_nanos" for bucket in BUCKETS)
MODELS: LiteralString = f"""
select m.name, m.owned_by, extract(epoch from m.created_at)::bigint, m.context_tokens,
  m.max_output_tokens, p.id, {_PRICE_COLUMNS}
from gateway_publicmodel m left join lateral (
  select * from billing_priceversion p
  where p.model = m.name and p.org_id is null and p.effective_from <= now()
  order by p.effective_from desc, p.id desc limit 1
) p on true
where m.active order by m.name
"""  # noqa: S608 # column names of our own
DEPLOYMENTS: LiteralString = """
select m.name, p.id, p.name, p.kind, p.base_url, p.credential, p.connect_timeout_s,
  p.read_timeout_s, p.total_timeout_s, d.upstream_model
from gateway_deployment d join gateway_publicmodel m on m.id = d.public_model_id
join gateway_provider p on p.id = d.provider_id
where d.active and p.active and m.active order by m.name, d.priority, d.id
"""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A provider that serves a model under its own name for it. ``credential`` is encrypted."""

    provider_id: int
    provider: str
    kind: str
    base_url: str
    credential: bytes | None = field(repr=False)
    connect_timeout_s: int
    read_timeout_s: int
    total_timeout_s: int
    upstream_model: str


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """A public model. Until an operator gives it a price, it cannot be called."""

    name: str
    owned_by: str
    created: int
    context_tokens: int
    max_output_tokens: int
    price: Price | None
    deployments: Sequence[Deployment]


@dataclass(frozen=True, slots=True)
class Catalog:
    models: Mapping[str, CatalogModel]

    def model(self, name: str) -> CatalogModel:
        """Return a model that can be called.

        Raises:
            NotFoundError: for a name that is not offered.
            ForbiddenError: for a model that has no price yet.

        """
        found = self.models.get(name)
        if found is None:
            raise NotFoundError(
                f"Model not found: {name[:200]}", code="model_not_found", param="model"
            )
        if found.price is None:
            raise ForbiddenError(
                f"The model {name} has no price yet and cannot be called.",
                code="model_not_allowed",
                param="model",
            )
        return found

    def offered(self) -> list[CatalogModel]:
        """Return the models that can be called, by name."""
        return [model for model in self.models.values() if model.price is not None]


async def load_catalog(pool: AsyncConnectionPool) -> Catalog:
    """Read the whole catalogue in two queries."""
    async with pool.connection() as connection:
        models = await (await connection.execute(MODELS)).fetchall()
        deployments = await (await connection.execute(DEPLOYMENTS)).fetchall()
    by_model: defaultdict[str, list[Deployment]] = defaultdict(list)
    for name, *row in deployments:
        by_model[name].append(Deployment(*row))
    return Catalog(
        {
            row[0]: CatalogModel(
                name=row[0],
                owned_by=row[1],
                created=row[2],
                context_tokens=row[3],
                max_output_tokens=row[4],
                price=None if row[5] is None else Price(row[5], Usage(*row[6:])),
                deployments=tuple(by_model[row[0]]),
            )
            for row in models
        }
    )
