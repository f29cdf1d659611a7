"""What is remembered of a call outside the books.

Counters, one log line for what went wrong, and a nudge to whoever watches the organization live.
Nothing here raises or holds up the answer.
"""

from gateway.call import Call
from gateway.runtime import Runtime
from gateway.sale import Sale
from kernel import clock
from kernel.log import logger

SERVER_FAULT = 500
CLIENT_LEFT = 499
log = logger(__name__)


def record_call(runtime: Runtime, call: Call, sale: Sale | None) -> None:
    """Count a call that has ended, however it did.

    A status says how an answer began: one without its last bytes is 499. What nobody answered is a
    fault of ours.
    """
    ended = call.status if call.is_over else CLIENT_LEFT
    status = ended if call.status else SERVER_FAULT
    if status >= SERVER_FAULT or status == CLIENT_LEFT:
        duration_ms = round((clock.monotonic() - call.started_at) * 1000)
        log.info("call_not_served", request=call.request_id, status=status, ms=duration_ms)
    runtime.metrics.count_call(status, 0 if sale is None else sale.meter.output_tokens)
    if sale is not None:
        if sale.meter.is_doubted:
            runtime.metrics.count_doubt(sale.meter.provider)
        runtime.watched_orgs.add(sale.principal.org_id)
