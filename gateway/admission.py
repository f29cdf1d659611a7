"""Admission: what must be true before a call runs, and before its first byte."""

from dataclasses import dataclass

from accounts.principal import Principal
from billing.holds import HoldRequest
from gateway.books import Books
from gateway.call import Call
from gateway.draft import Draft
from gateway.estimate import Estimate
from gateway.idempotency import Once
from gateway.limits import Check, Defaults, RateLimiter, Slots, checks_for, slots_for
from gateway.metering import Meter
from gateway.sale import Sale
from gateway.tokenizer import count_prompt
from gateway.tranches import Tranches

HOLD_MARGIN_S = 60


@dataclass(frozen=True, slots=True)
class Allowance:
    """Rate limits a call was let through under, and what to give back of them at its end."""

    slots: Slots | None
    reserved: Check | None

    def give_back(self, limiter: RateLimiter, used_tokens: int) -> None:
        """Free the slot and the tokens that were reserved and not used."""
        refunds = []
        if self.reserved is not None and self.reserved.cost > used_tokens:
            check = self.reserved
            spare = check.cost - used_tokens
            refunds = [Check(check.name, check.key, check.limit, spare, check.period_ms)]
        limiter.give(refunds, self.slots)


async def ask_limits(
    limiter: RateLimiter,
    principal: Principal,
    bounds: Estimate | None,
    *,
    call: Call,
    defaults: Defaults,
) -> Allowance:
    """Charge the key's rate limits in one round trip; a faulty request (no bounds) costs no tokens.

    Sets the call's ``x-ratelimit-*`` headers, also of a refused one.

    Raises:
        RateLimitError: which limit, and when to come back.

    """
    tokens = 0 if bounds is None else bounds.total_tokens
    checks = checks_for(principal, tokens, defaults)
    slots = None if bounds is None else slots_for(principal, call.request_id, defaults.most_call_s)
    verdict = await limiter.take(checks, slots)
    call.limit_headers = verdict.headers()
    verdict.raise_if_refused()
    return Allowance(slots, checks[-1] if tokens else None)


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
    request, model, bounds = draft.request, draft.model, draft.bounds
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
    tranches = Tranches(
        books.writer,
        call.request_id,
        price,
        covered=bounds.first_output_tokens,
        most=bounds.output_tokens,
    )
    meter = Meter(
        call.request_id,
        price,
        prompt_tokens=count_prompt(request),
        most_input=bounds.input_tokens,
        most_output=bounds.output_tokens,
        images=bounds.images,
    )
    return Sale(books, principal, meter, tranches)
