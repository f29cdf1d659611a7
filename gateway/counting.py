"""Counting a prompt: the checks of a call, and an answer that costs nothing."""

from collections.abc import Callable

from billing.holds import Outcome
from gateway.admission import Admission
from gateway.auth import authenticate
from gateway.call import Call
from gateway.draft import Draft
from gateway.runtime import Runtime
from gateway.tokenizer import count_prompt


async def serve_token_count(
    call: Call, runtime: Runtime, render_count: Callable[[int], bytes]
) -> None:
    """Answer how many tokens the same request would be billed for as its input.

    It counts as a request against the rate limits and reserves no tokens.

    Raises:
        TollgateError: what a call with this body would be refused for before its money is held.

    """
    principal = await authenticate(
        runtime.keys,
        call.headers,
        call.address,
        prefer_x_api_key=call.dialect.prefers_x_api_key,
    )
    draft = Draft(call, principal, runtime.catalog)
    admission = Admission(call, runtime)
    await admission.ask_limits(
        principal, None
    )  # it will not run: a request against the limits, no tokens
    admission.end(Outcome.COMPLETED)
    await call.answer(render_count(count_prompt(draft.plans[0].request)))
