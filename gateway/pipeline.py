"""THE CALL, read it first: authenticate → parse → admit → route → open → relay → settle → record.

Everything up to the hold happens before the first byte and answers with a plain error. From the
hold on, every way out — an answer, a fault, a caller that leaves, a shutdown — passes through
``settle``.
"""

from functools import partial

from billing.holds import Outcome
from gateway.admission import Allowance, ask_limits, hold_money
from gateway.auth import authenticate
from gateway.call import Call
from gateway.catalog import CatalogModel
from gateway.chat import Answer, ChatRequest
from gateway.draft import Draft
from gateway.idempotency import Once, read_once
from gateway.records import record_call
from gateway.relay import Relay
from gateway.routing.router import is_providers_fault
from gateway.runtime import Runtime
from gateway.sale import Sale
from gateway.watch import Patience
from kernel import clock
from kernel.errors import TollgateError

FINGERPRINT = "fp_tollgate"


async def serve_completion(call: Call, runtime: Runtime) -> None:
    """Serve one chat completion, from its headers and body to its last byte.

    Raises:
        CancelledError: when the caller has left; what was relayed is settled by then.

    """
    allowance: Allowance | None = None
    sale: Sale | None = None
    try:
        principal = await authenticate(
            runtime.keys, call.headers, prefer_x_api_key=call.dialect.prefers_x_api_key
        )
        draft = Draft(call, principal, runtime.catalog)
        allowance = await ask_limits(
            runtime.limiter, principal, draft, call=call, defaults=runtime.defaults
        )
        request, model = draft.request, draft.model
        once = read_once(call.headers, call.body, principal, call.dialect.endpoint)
        stored = once and await runtime.answers.find(once)
        if stored:
            await call.replay(stored.content, is_stream=stored.is_stream)
            return
        sale = await hold_money(runtime.books, principal, draft, call, once, runtime.defaults)
        await _relay(call, runtime, request, model, sale, once)
    except TollgateError as error:
        if sale is not None:
            sale.settle(Outcome.TRUNCATED)
        if not call.started:
            await call.refuse(error)
    finally:
        if sale is not None:
            sale.settle(Outcome.DISCONNECTED)
        if allowance is not None:
            allowance.give_back(runtime.limiter, 0 if sale is None else sale.used_tokens)
        record_call(runtime, call, sale)


async def _relay(
    call: Call,
    runtime: Runtime,
    request: ChatRequest,
    model: CatalogModel,
    sale: Sale,
    once: Once | None,
) -> None:
    """Open an upstream for a call whose money is held, and relay its answer."""
    most_s = runtime.defaults.most_call_s
    opened = await runtime.router.open_first_willing(
        model, request, call.request_id, within_s=most_s - (clock.monotonic() - call.started_at)
    )
    visit, served_by = opened.visit, opened.visit.deployment
    sale.meter.provider = served_by.provider
    sale.meter.cost = served_by.cost
    if served_by.key_owner is not None:
        sale.meter.remarks["provider_key"] = "own"
    answer = Answer(
        call.dialect.id_prefix + call.request_id[4:],
        request.model,
        clock.now_s(),
        FINGERPRINT,
        call.request_id,
        sale.meter.prompt_tokens,
    )
    keep = partial(runtime.answers.keep, once) if once else None
    patience = Patience(
        visit.asked_at,
        served_by.read_timeout_s,
        served_by.stall_timeout_s,
        runtime.keep_alive_s,
        most_s,
    )
    try:
        await Relay(call, request, answer, sale, keep).run(opened.upstream, patience)
        visit.end(well=True)
    except TollgateError as error:
        is_out_of_time = clock.monotonic() - call.started_at >= most_s
        visit.end(well=False if is_providers_fault(error) and not is_out_of_time else None)
        raise
    finally:
        visit.end(well=None)
