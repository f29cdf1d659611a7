"""A request of another dialect as a body of this one, for an upstream that speaks it.

What has no counterpart is dropped where it only steers (seed, penalties, the names of speakers),
and refused by its field where the answer would be another one. The answer is always streamed: it is
read by one reader then, and a caller who leaves ends the upstream's work at once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import orjson

from gateway.chat import ChatRequest, FormatKind, Media, Message, Part, ToolCall, ToolMode
from gateway.dialects.anthropic.cache_marks import mark_end, thin_out
from gateway.dialects.extras import not_carried, say_extras
from kernel.errors import NotCarriedError

_SYSTEM = ("system", "developer")
_NEVER_TAKEN: Mapping[str, str] = MappingProxyType({"video": "A video", "audio": "A recording"})
_JSON_ONLY = "Answer with one JSON object and nothing else: no words before or after it, no fences."


def render_request(
    request: ChatRequest, upstream_model: str, max_output_tokens: int, signer: str = ""
) -> bytes:
    """Return the body; of earlier thinking it has what ``signer`` has signed.

    Raises:
        NotCarriedError: for what cannot be said in this dialect, with its field.

    """
    system, messages = _render_system(request), _render_turns(request, signer)
    tools = _render_tools(request)
    thin_out(tools.get("tools", ()), system, *(turn["content"] for turn in messages))
    if not messages:  # system text alone asks as the user would
        if not system:
            raise not_carried(request.messages[0].path, "An empty conversation")
        system, messages = [], [{"role": "user", "content": _plainly(system)}]
    body: dict[str, Any] = {
        "model": upstream_model,
        "max_tokens": request.max_tokens or max_output_tokens,
        "messages": messages,
        "stream": True,
    }
    if system:
        body["system"] = _plainly(system)
    if stops := [stop for stop in request.stop if stop.strip()]:
        body["stop_sequences"] = stops
    if request.user is not None:
        body["metadata"] = {"user_id": request.user}
    return orjson.dumps(
        {
            **body,
            **_render_sampling(request),
            **tools,
            **_render_output(request),
            **say_extras(request, "anthropic"),
        }
    )


def _render_sampling(request: ChatRequest) -> dict[str, Any]:
    """Say how tokens are drawn, which only steers: beside thinking these models refuse it."""
    fields: dict[str, Any] = {}
    if _thinks(request):
        return fields
    if request.temperature is not None:
        fields["temperature"] = min(1, request.temperature)
    elif request.top_p is not None:  # these models take one of the two
        fields["top_p"] = request.top_p
    if request.top_k is not None:
        fields["top_k"] = request.top_k
    return fields


def _thinks(request: ChatRequest) -> bool:
    """Tell whether to ask for thinking, which these models refuse beside a tool they must call."""
    return request.is_thinking and request.tool_mode is not ToolMode.REQUIRED


def _render_output(request: ChatRequest) -> dict[str, Any]:
    if request.top_logprobs is not None:
        raise not_carried("logprobs", "A question for log probabilities")
    fields: dict[str, Any] = {}
    config: dict[str, Any] = {}
    if request.response_format.kind is FormatKind.JSON_SCHEMA:
        config["format"] = {"type": "json_schema", "schema": request.response_format.schema}
    if request.effort == "none":
        fields["thinking"] = {"type": "disabled"}
    elif request.effort is not None:
        config["effort"] = request.effort
    if _thinks(request):
        fields["thinking"] = {"type": "adaptive"}
    if config:
        fields["output_config"] = config
    return fields


def _render_tools(request: ChatRequest) -> dict[str, Any]:
    if not request.defined_tools:
        return {}
    is_named = request.tool_mode is ToolMode.REQUIRED and len(request.tools) == 1
    offered = request.defined_tools if is_named else request.tools
    choice: dict[str, Any] = {"type": request.tool_mode.value}
    if request.tool_mode is ToolMode.REQUIRED:
        choice = {"type": "tool", "name": request.tools[0].name} if is_named else {"type": "any"}
    if not request.parallel_tool_calls and request.tool_mode is not ToolMode.NONE:
        choice["disable_parallel_tool_use"] = True
    tools = [
        {
            "name": tool.name,
            **({"description": tool.description} if tool.description else {}),
            "input_schema": {"type": "object", **tool.parameters},
            **({} if tool.strict is None else {"strict": tool.strict}),
        }
        for tool in offered
    ]
    for tool, rendered in zip(offered, tools, strict=True):
        mark_end([rendered], ends_cache=tool.ends_cache)
    return {"tools": tools, "tool_choice": choice}


def _render_system(request: ChatRequest) -> list[dict[str, Any]]:
    """Return one block of all that is said by the system, or one up to each mark in it."""
    blocks: list[dict[str, Any]] = []
    texts: list[str] = []
    for message in request.messages:
        if message.role not in _SYSTEM or not message.text:
            continue
        texts.append(message.text)
        if message.ends_cache:
            blocks.append({"type": "text", "text": "\n\n".join(texts)})
            mark_end(blocks, ends_cache=True)
            texts = []
    if request.response_format.kind is FormatKind.JSON_OBJECT:
        texts.append(_JSON_ONLY)
    if texts:
        blocks.append({"type": "text", "text": "\n\n".join(texts)})
    return blocks


def _plainly(blocks: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Return a lone text as itself."""
    is_lone = len(blocks) == 1 and "cache_control" not in blocks[0]
    return str(blocks[0]["text"]) if is_lone else blocks


def _render_turns(request: ChatRequest, signer: str) -> list[dict[str, Any]]:
    """Return the turns; neighbours of the same role are one."""
    known = signer if _thinks(request) else ""
    turns: list[dict[str, Any]] = []
    calls: list[ToolCall] = []
    for place, message in enumerate(request.messages):
        if message.role in _SYSTEM:
            continue
        if message.tool_calls:
            calls = _with_ids(message.tool_calls, place)
        role = "assistant" if message.role == "assistant" else "user"
        blocks = [*_render_thoughts(message, known), *_render_blocks(message, calls)]
        mark_end(blocks, ends_cache=message.ends_cache)
        if not blocks and role == "user":
            raise not_carried(message.path, "An empty message")
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    return turns


def _with_ids(calls: Iterable[ToolCall], place: int) -> list[ToolCall]:
    """Give old function calls, which have no id, one that their result will name."""
    return [call if call.call_id else replace(call, call_id=f"call_{place}") for call in calls]


def _render_thoughts(message: Message, signer: str) -> Iterable[dict[str, Any]]:
    for thought in message.thoughts if signer else ():
        if thought.signer != signer:
            continue
        if thought.sealed:
            yield {"type": "redacted_thinking", "data": thought.sealed}
        elif thought.signature:  # without one it is refused
            yield {
                "type": "thinking",
                "thinking": thought.text,
                "signature": thought.signature,
            }


def _render_blocks(message: Message, calls: list[ToolCall]) -> Iterable[dict[str, Any]]:
    if message.role in ("tool", "function"):
        yield _render_result(message, calls)
        return
    yield from _render_parts(message.parts or (message.text,))
    for call in calls if message.tool_calls else ():
        yield {
            "type": "tool_use",
            "id": call.call_id,
            "name": call.name,
            "input": _parse_arguments(call),
        }


def _render_parts(parts: Iterable[Part]) -> Iterable[dict[str, Any]]:
    for part in parts:
        if isinstance(part, Media):
            yield _render_media(part)
        elif part.strip():
            yield {"type": "text", "text": part}


def _render_result(message: Message, calls: list[ToolCall]) -> dict[str, Any]:
    """Answer a call by its id, an old function call by its name."""
    call_id = message.tool_call_id
    if call_id is None:
        named = [call.call_id for call in calls if call.name == message.name]
        if not named:
            where = message.path.removesuffix("content") + "name"
            raise not_carried(where, "A function's result without its call")
        call_id = named[0]
    content = list(_render_parts(message.parts)) if message.parts else message.text
    return {"type": "tool_result", "tool_use_id": call_id, "content": content}


def _parse_arguments(call: ToolCall) -> Mapping[str, Any]:
    try:
        value = orjson.loads(call.arguments or "{}")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise NotCarriedError(
            "The arguments of a tool call must be a JSON object.", param=call.path
        )
    return value


def _render_media(media: Media) -> dict[str, Any]:
    if media.kind in _NEVER_TAKEN:
        raise not_carried(media.path, _NEVER_TAKEN[media.kind])
    block: dict[str, Any] = {"type": media.kind, "source": {"type": "url", "url": media.url}}
    if media.url[:5].lower() == "data:":
        head, _, data = media.url.partition(",")
        media_type = head[5:].partition(";")[0].lower()
        block["source"] = {"type": "base64", "media_type": media_type, "data": data}
    if media.name:
        block["title"] = media.name
    return block
