"""Counting a prompt: the checks of a call, and an answer that costs nothing."""

from gateway.admission import ask_limits
from gateway.auth import authenticate
from gateway.call import Call
from gateway.dialects.anthropic.responses import render_count
from gateway.draft import Draft
from gateway.runtime import Runtime
from gateway.tokenizer import count_prompt


async def serve_token_count(call: Call, runtime: Runtime) -> None:
    """Answer how many tokens the same request would be billed for as its input.

    It counts as a request against the rate limits and reserves no tokens.

    Raises:
        TollgateError: what a call with this body would be refused for before its money is held.

    """
    principal = await authenticate(
        runtime.keys, call.headers, prefer_x_api_key=call.dialect.prefers_x_api_key
    )
    draft = Draft(call, principal, runtime.catalog)
    draft.bounds = None  # it will not run: a request against the limits, and no tokens
    allowance = await ask_limits(
        runtime.limiter, principal, draft, call=call, defaults=runtime.defaults
    )
    allowance.give_back(runtime.limiter, 0)
    await call.answer(render_count(count_prompt(draft.request)))
