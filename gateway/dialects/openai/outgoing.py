"""A request of another dialect as a body of this one, for an upstream that speaks it.

What has no counterpart is dropped where it only steers (``top_k``, thinking of earlier turns), and
refused by its field where the answer would be another one. The answer is always streamed: it is
read by one reader then, and a caller who leaves ends the upstream's work at once.
"""

from collections.abc import Iterable
from typing import Any

import orjson

from gateway.chat import ChatRequest, FormatKind, Media, Message, Part, Tool, ToolMode
from gateway.dialects.extras import not_carried, say_extras
from gateway.dialects.json_schema import may_bind
from gateway.dialects.openai.parameters import MOST_STOPS
from gateway.dialects.openai.tools import MOST_NAME_LENGTH, MOST_TOOLS


def render_request(
    request: ChatRequest, upstream_model: str, max_output_tokens: int, limit_field: str = ""
) -> bytes:
    """Return the body; ``limit_field`` is the upstream's name for the limit, where that is known.

    Raises:
        NotCarriedError: for what cannot be said in this dialect, with its field.

    """
    if not limit_field:  # models that think know the limit by its new name only
        limit_field = "max_tokens" if request.effort is None else "max_completion_tokens"
    body: dict[str, Any] = {
        "model": upstream_model,
        "messages": list(_render_messages(request)),
        "stream": True,
        "stream_options": {"include_usage": True},
        limit_field: request.max_tokens or max_output_tokens,
    }
    if request.effort is not None:
        body["reasoning_effort"] = request.effort
    if 0 < len(request.stop) <= MOST_STOPS:
        body["stop"] = list(request.stop)
    plain = {"temperature": request.temperature, "top_p": request.top_p, "user": request.user}
    body |= {name: value for name, value in plain.items() if value is not None}
    return orjson.dumps(
        {
            **body,
            **_render_format(request),
            **_render_tools(request),
            **say_extras(request, "openai"),
        }
    )


def _render_format(request: ChatRequest) -> dict[str, Any]:
    """Say the form of the text. Anthropic's always binds; here it must say so, and be closed."""
    form = request.response_format
    if form.kind is FormatKind.TEXT:
        return {}
    if form.kind is FormatKind.JSON_OBJECT:
        return {"response_format": {"type": "json_object"}}
    wire: dict[str, Any] = {"name": form.name, "schema": form.schema}
    if form.description:
        wire["description"] = form.description
    if form.strict is not None:
        wire["strict"] = form.strict
    elif request.dialect == "anthropic" and may_bind(form.schema):
        wire["strict"] = True
    return {"response_format": {"type": "json_schema", "json_schema": wire}}


def _render_tools(request: ChatRequest) -> dict[str, Any]:
    if not request.defined_tools:
        return {}
    is_named = request.tool_mode is ToolMode.REQUIRED and len(request.tools) == 1
    offered = request.defined_tools if is_named else request.tools  # none but those allowed
    if len(offered) > MOST_TOOLS:
        raise not_carried("tools", f"More than {MOST_TOOLS} tools")
    choice: Any = request.tool_mode.value
    if is_named and len(offered) > 1:
        choice = {"type": "function", "function": {"name": request.tools[0].name}}
    fields = {
        "tools": [_render_tool(tool, request.dialect) for tool in offered],
        "tool_choice": choice,
    }
    if not request.parallel_tool_calls:
        fields["parallel_tool_calls"] = False
    return fields


def _render_tool(tool: Tool, dialect: str) -> dict[str, Any]:
    """Say a tool. That of a response binds where it can, unless it says that it does not."""
    if len(tool.name) > MOST_NAME_LENGTH:
        raise not_carried(f"{tool.path}.name", f"A name over {MOST_NAME_LENGTH} characters")
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = tool.parameters
    if tool.strict is not None:
        function["strict"] = tool.strict
    elif dialect == "responses" and may_bind(tool.parameters):
        function["strict"] = True
    return {"type": "function", "function": function}


def _render_messages(request: ChatRequest) -> Iterable[dict[str, Any]]:
    """Render turn by turn; what tools have shown follows their results as the user's message."""
    shown: list[Part] = []
    for message in request.messages:
        if shown and message.role != "tool":
            yield {"role": "user", "content": _render_parts(shown)}
            shown = []
        match message.role:
            case "assistant":
                if message.text or message.tool_calls:  # one that says nothing is not a turn here
                    yield _render_assistant(message)
            case "tool":
                text = f"Error: {message.text}" if message.is_error else message.text
                yield {"role": "tool", "tool_call_id": message.tool_call_id, "content": text}
                shown += message.media
            case role:
                content = _render_parts(message.parts) if message.parts else message.text
                yield {"role": role, "content": content}
    if shown:
        yield {"role": "user", "content": _render_parts(shown)}


def _render_assistant(message: Message) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": "assistant", "content": message.text}
    if message.tool_calls:
        wire["content"] = message.text or None
        wire["tool_calls"] = [
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    return wire


def _render_parts(parts: Iterable[Part]) -> list[dict[str, Any]]:
    return [
        _render_media(part) if isinstance(part, Media) else {"type": "text", "text": part}
        for part in parts
    ]


def _render_media(media: Media) -> dict[str, Any]:
    if media.kind == "image":
        detail = {} if media.detail == "auto" else {"detail": media.detail}
        return {"type": "image_url", "image_url": {"url": media.url, **detail}}
    if media.kind == "audio":
        head, _, text = media.url.partition(",")
        form = head.removeprefix("data:audio/").partition(";")[0]
        return {"type": "input_audio", "input_audio": {"data": text, "format": form}}
    if not media.url.startswith("data:"):
        raise not_carried(media.path, "A document by its address")
    file = {"file_data": media.url, "filename": media.name or "document.pdf"}
    return {"type": "file", "file": file}
