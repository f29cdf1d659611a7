"""A request as far as it could be read.

The requests-per-minute limit comes before the body in the order of checks, and tokens-per-minute
after it; one round trip answers both. So a body is read first, and what is wrong with it is said
afterwards.
"""

from collections.abc import Sequence
from typing import NamedTuple

from accounts.principal import Principal
from gateway.call import Call
from gateway.catalog import Catalog, CatalogModel
from gateway.chat import ChatRequest
from gateway.dialects.base import Dialect, Envelope
from gateway.estimate import Estimate, estimate
from kernel.errors import BadRequestError, TollgateError


class Plan(NamedTuple):
    """A request as one model would serve it: checked against that model's limits, and bounded.

    ``request.model`` is the name the caller gave, which may be an alias of ``model``.
    """

    request: ChatRequest
    model: CatalogModel
    bounds: Estimate


class Draft:
    """One plan for each model that the caller names, in the caller's order; or what is wrong."""

    def __init__(self, call: Call, principal: Principal, catalog: Catalog) -> None:
        self._fault: TollgateError | None = None
        self._plans: Sequence[Plan] = ()
        try:
            self._plans = _read(call, principal, catalog)
        except TollgateError as error:
            self._fault = error

    @property
    def first(self) -> Plan | None:
        """The first model's plan, None for a request that will not run."""
        return self._plans[0] if self._plans else None

    @property
    def plans(self) -> Sequence[Plan]:
        """All plans, at least one.

        Raises:
            TollgateError: what is wrong with the request, for whichever model.

        """
        if self._fault is not None:
            raise self._fault
        return self._plans


def _read(call: Call, principal: Principal, catalog: Catalog) -> Sequence[Plan]:
    envelopes = call.dialect.read_body(call.body).for_each_model()
    named = [(catalog.model(envelope.model, principal), envelope) for envelope in envelopes]
    plans: dict[str, Plan] = {}
    for model, envelope in named:
        # an alias beside its model would ask the same providers again
        if model.name not in plans:
            plans[model.name] = _plan(call.dialect, envelope, model, principal.org_id)
    return [*plans.values()]


def _plan(dialect: Dialect, envelope: Envelope, model: CatalogModel, org_id: int) -> Plan:
    request = dialect.check_request(
        envelope,
        max_output_tokens=model.max_output_tokens,
        context_tokens=model.context_tokens,
    )
    if not is_sold_for(model, org_id, embeddings=request.embed is not None):
        raise _wrong_endpoint(request)
    return Plan(request, model, estimate(request, model))


def is_sold_for(model: CatalogModel, org_id: int, *, embeddings: bool) -> bool:
    """Tell whether an organization's price sells embeddings, or answers, of a model.

    Text models carry a price of embeddings too, so a model is for embeddings where that is all it
    has. What is free can be asked for both: its provider knows what it can do.
    """
    price = model.price_for(org_id)
    assert price is not None, "the catalogue hands out priced models only"
    if price.is_free:
        return True
    nanos = price.per_million
    is_only_for_embeddings = nanos.embedding > 0 and not (nanos.input or nanos.output)
    return is_only_for_embeddings is embeddings


def _wrong_endpoint(request: ChatRequest) -> BadRequestError:
    name = request.model
    if request.embed is None:
        why = f"{name} is not a chat model. Use it with /v1/embeddings."
    else:
        why = f"{name} is not an embeddings model. Use it with /v1/chat/completions."
    return BadRequestError(why, param="model", code="invalid_value")
