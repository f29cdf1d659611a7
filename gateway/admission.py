"""Admission: what must be true before a call runs, and before its first byte."""

from dataclasses import dataclass

from accounts.principal import Principal
from billing.holds import HoldRequest
from billing.pricing import Price
from gateway.books import Books
from gateway.call import Call
from gateway.draft import Draft
from gateway.idempotency import Once
from gateway.levels import Ask, Defaults, Wanted, ask_for
from gateway.limits import RateLimiter
from gateway.metering import Meter
from gateway.sale import Sale
from gateway.tokenizer import count_prompt
from gateway.tranches import Tranches

HOLD_MARGIN_S = 60


@dataclass(frozen=True, slots=True)
class Allowance:
    """Rate limits a call was let through under, and what to give back of them at its end."""

    ask: Ask

    def give_back(self, limiter: RateLimiter, used_tokens: int) -> None:
        """Free the slots and the tokens that were reserved and not used, on every level."""
        limiter.give(self.ask, used_tokens)


async def ask_limits(
    limiter: RateLimiter, principal: Principal, draft: Draft, *, call: Call, defaults: Defaults
) -> Allowance:
    """Charge the limits of every level in one round trip; a faulty request costs no tokens.

    Sets the call's rate limit headers, also of a refused one.

    Raises:
        RateLimitError: which limit of which level, and when to come back.

    """
    wanted = None
    if draft.bounds is not None:
        model = draft.model
        wanted = Wanted(model.name, model.limits, draft.bounds.total_tokens)
    ask = ask_for(call.request_id, principal, wanted, defaults)
    verdict = await limiter.take(ask)
    call.limit_headers = call.dialect.rate_headers(verdict.standings())
    verdict.raise_if_refused()
    return Allowance(ask)


async def hold_money(
    books: Books,
    principal: Principal,
    draft: Draft,
    call: Call,
    once: Once | None,
    defaults: Defaults,
) -> Sale:
    """Set aside the most the call can cost, or its first tranche.

    Raises:
        TollgateError: budget, credit, key, or the books do not answer.

    """
    model, bounds = draft.model, draft.bounds
    price = model.price_for(principal.org_id)
    assert price is not None, "the catalogue hands out priced models only"
    assert bounds is not None, "a request that reads well has bounds"
    await books.hold(
        HoldRequest(
            call.request_id,
            principal.org_id,
            principal.project_id,
            principal.key_id,
            model.name,
            price.version_id,
            bounds.ceiling(price),
            defaults.most_call_s + HOLD_MARGIN_S,
            amount_tokens=bounds.input_tokens + bounds.first_output_tokens,
            is_free=price.is_free,
            idem_key=once.key if once else None,
            idem_body=once.body if once else None,
        )
    )
    return _open_sale(books, principal, draft, call.request_id, price)


def _open_sale(
    books: Books, principal: Principal, draft: Draft, request_id: str, price: Price
) -> Sale:
    bounds = draft.bounds
    assert bounds is not None, "a call without bounds is not held"
    tranches = Tranches(
        books.writer,
        request_id,
        price,
        held_nanos=bounds.ceiling(price),
        covered=bounds.first_output_tokens,
        most=bounds.output_tokens,
    )
    meter = Meter(
        request_id,
        price,
        prompt_tokens=count_prompt(draft.request),
        most_input=bounds.input_tokens,
        most_output=bounds.output_tokens,
        images=bounds.images,
        prompt_bucket="input" if draft.request.embed is None else "embedding",
    )
    return Sale(books, principal, meter, tranches)
