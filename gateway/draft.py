"""A request as far as it could be read.

The requests-per-minute limit comes before the body in the order of checks, and tokens-per-minute
after it; one round trip answers both. So a body is read first, and what is wrong with it is said
afterwards.
"""

from accounts.principal import Principal
from gateway.call import Call
from gateway.catalog import Catalog, CatalogModel
from gateway.chat import ChatRequest
from gateway.estimate import Estimate, estimate
from kernel.errors import BadRequestError, TollgateError


class Draft:
    """``bounds`` is None for a request that will not run."""

    def __init__(self, call: Call, principal: Principal, catalog: Catalog) -> None:
        self.bounds: Estimate | None = None
        self._fault: TollgateError | None = None
        self._request: ChatRequest | None = None
        self._model: CatalogModel | None = None
        try:
            self._read(call, principal, catalog)
        except TollgateError as error:
            self._fault = error

    @property
    def request(self) -> ChatRequest:
        """The checked request.

        Raises:
            TollgateError: what is wrong with it.

        """
        if self._fault is not None:
            raise self._fault
        assert self._request is not None
        return self._request

    @property
    def model(self) -> CatalogModel:
        assert self._model is not None
        return self._model

    def _read(self, call: Call, principal: Principal, catalog: Catalog) -> None:
        envelope = call.dialect.read_body(call.body)
        self._model = catalog.model(envelope.model, principal)
        self._request = call.dialect.check_request(
            envelope,
            max_output_tokens=self._model.max_output_tokens,
            context_tokens=self._model.context_tokens,
        )
        if not is_sold_for(
            self._model, principal.org_id, embeddings=self._request.embed is not None
        ):
            raise _wrong_endpoint(self._request)
        self.bounds = estimate(self._request, max_output_tokens=self._model.max_output_tokens)


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
