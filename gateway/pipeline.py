"""THE CALL, read it first: authenticate → parse → admit → route → open → relay → settle → record.

Everything up to the hold happens before the first byte and answers with a plain error. From the
hold on, every way out — an answer, a fault, a caller that leaves, a shutdown — passes through
``end``.
"""

from asyncio import CancelledError
from collections.abc import Sequence
from dataclasses import dataclass

from billing.holds import Outcome
from gateway.admission import Admission
from gateway.auth import authenticate
from gateway.cache.asked import HIT, Asked, Hit, read_asked
from gateway.cache.signatures import may_recall
from gateway.call import Call
from gateway.catalog import NO_COST
from gateway.chat import Answer, ChatRequest
from gateway.draft import Draft, Plan
from gateway.idempotency import Once, StoredAnswer, read_once
from gateway.providers.base import Upstream
from gateway.records import CLIENT_LEFT, record_call
from gateway.relay import Keep, Relay
from gateway.routing.router import Visit, is_providers_fault
from gateway.runtime import Runtime
from gateway.sale import Sale
from gateway.watch import Patience
from kernel import clock
from kernel.errors import TollgateError

FINGERPRINT = "fp_tollgate"


@dataclass(slots=True)
class _Begun:
    """An answer that has begun and is paid for; ``visit`` is the provider's, None from the cache.

    ``request`` of a stream is without its prompt: that may be long, and a stream takes minutes.
    """

    request: ChatRequest
    upstream: Upstream
    sale: Sale
    patience: Patience
    keep: Keep | None
    visit: Visit | None = None


async def serve_completion(call: Call, runtime: Runtime) -> None:
    """Serve one chat completion, from its headers and body to its last byte.

    Raises:
        CancelledError: when the caller has left; what was relayed is settled by then.

    """
    admission = Admission(call, runtime)
    try:
        begun = await _begin(call, runtime, admission)
        if begun is not None:
            call.forget_request()
            await _relay(call, begun)
    except TollgateError as error:
        admission.end(Outcome.TRUNCATED)
        if not call.started:
            await call.refuse(error)
    except CancelledError:
        call.status = CLIENT_LEFT  # also of a stream that began with 200
        raise
    finally:
        admission.end(Outcome.DISCONNECTED)
        record_call(runtime, call, admission.sale)


async def _begin(call: Call, runtime: Runtime, admission: Admission) -> _Begun | None:
    """Take a call to where its answer begins; None for one that is answered already."""
    principal = await authenticate(
        runtime.keys,
        call.headers,
        call.address,
        prefer_x_api_key=call.dialect.prefers_x_api_key,
    )
    draft = Draft(call, principal, runtime.catalog)
    await admission.ask_limits(principal, draft.first)
    plans = draft.plans
    once = read_once(call.headers, call.body, principal, call.dialect.endpoint)
    asked = read_asked(runtime.cache, call, principal)
    stored = once and await runtime.answers.find(once)
    if stored:
        assert stored.content is not None, "what was not kept is said as an error"
        await call.replay(stored.content, is_stream=stored.is_stream)
        return None
    hit = asked and await asked.find(plans)
    if hit:
        return await _open_hit(call, runtime, admission, hit, once)
    if not all(plan.model.is_simulated for plan in plans):  # the built-in model loads nothing
        await runtime.media.check(plans[0].request.media)
    return await _open(call, runtime, admission, plans, once, asked)


async def _open(
    call: Call,
    runtime: Runtime,
    admission: Admission,
    plans: Sequence[Plan],
    once: Once | None,
    asked: Asked | None,
) -> _Begun:
    """Hold the money of a model and open a provider of it; the next one's where nobody serves it.

    A refusal is the caller's own and ends the call: by a limit, a budget, credit, or the provider's
    judgement of the request.
    """
    router = runtime.router
    tries = router.begin_tries(call.started_at + runtime.defaults.most_call_s)
    sale = await admission.hold_money(plans[0], once)
    for plan, following in zip(plans, [*plans[1:], None], strict=True):
        request = plan.request
        if may_recall(request, plan.model.deployments):
            request = await runtime.signatures.recall(request, sale.principal)
        try:
            opened = await router.open_first_willing(plan.model, request, call.request_id, tries)
        except TollgateError as failure:
            if following is None or not tries.may_ask_next_model(failure):
                raise
            sale = await admission.move_on(following, once)
        else:
            upstream = runtime.signatures.note(
                opened.upstream, request, opened.visit.deployment, sale.principal
            )
            if asked is not None:
                upstream = asked.record(plan, upstream)
            keep = _keep_for(runtime, once, asked)
            patience = _patience_with(opened.visit, runtime)
            request = request.without_prompt() if request.stream else request
            return _Begun(request, upstream, sale, patience, keep, opened.visit)
    raise AssertionError("the last plan is opened, or raises")


async def _open_hit(
    call: Call, runtime: Runtime, admission: Admission, hit: Hit, once: Once | None
) -> _Begun:
    """Open a stored answer as a provider's: with a hold, a meter and a settlement of its own."""
    ask = admission.hold_money if hit.is_of_first else admission.move_on
    sale = await ask(hit.plan, once)
    sale.meter.provider, sale.meter.cost = "cache", NO_COST
    sale.meter.remarks["cache"] = "hit"
    call.notes.append(HIT)
    now, most_s = clock.monotonic(), runtime.defaults.most_call_s
    patience = Patience(now, most_s, most_s, runtime.keep_alive_s, most_s, most_s)
    return _Begun(hit.plan.request, hit.upstream, sale, patience, _keep_for(runtime, once, None))


def _patience_with(visit: Visit, runtime: Runtime) -> Patience:
    served_by = visit.deployment
    return Patience(
        visit.asked_at,
        served_by.first_token_timeout_s,
        served_by.stall_timeout_s,
        runtime.keep_alive_s,
        served_by.total_timeout_s,
        runtime.defaults.most_call_s,
    )


async def _relay(call: Call, begun: _Begun) -> None:
    """Relay an answer to its end, and tell its provider's circuit how that was."""
    visit, meter = begun.visit, begun.sale.meter
    if visit is not None:
        meter.provider, meter.cost = visit.deployment.provider, visit.deployment.cost
        if visit.deployment.key_owner is not None:
            meter.remarks["provider_key"] = "own"
    answer = _begin_answer(call, begun.request, begun.sale)
    relay = Relay(call, begun.request, answer, begun.sale, begun.keep)
    try:
        await relay.run(begun.upstream, begun.patience)
        if visit is not None:
            visit.end(well=True)
    except TollgateError as error:
        is_out_of_time = clock.monotonic() - call.started_at >= begun.patience.call_s
        if visit is not None:
            visit.end(well=False if is_providers_fault(error) and not is_out_of_time else None)
        raise
    finally:
        if visit is not None:
            visit.end(well=None)
        await begun.upstream.aclose()


def _begin_answer(call: Call, request: ChatRequest, sale: Sale) -> Answer:
    return Answer(
        call.dialect.id_prefix + call.request_id[4:],
        request.model,
        clock.now_s(),
        FINGERPRINT,
        call.request_id,
        sale.meter.prompt_tokens,
    )


def _keep_for(runtime: Runtime, once: Once | None, asked: Asked | None) -> Keep | None:
    """Return what keeps a whole answer, for whoever asked for that; None for nobody."""
    if once is None and asked is None:
        return None

    async def keep(answer: StoredAnswer) -> None:
        if asked is not None:
            await asked.keep()
        if once is not None:
            await runtime.answers.keep(once, answer)

    return keep
