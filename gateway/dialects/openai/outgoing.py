"""A request of another dialect as a body of this one, for an upstream that speaks it.

What has no counterpart is dropped where it only steers (``top_k``, thinking of earlier turns), and
refused by its field where the answer would be another one. The answer is always streamed: it is
read by one reader then, and a caller who leaves ends the upstream's work at once.
"""

from collections.abc import Iterable
from typing import Any

import orjson

from gateway.chat import ChatRequest, FormatKind, Media, Message, Part, ToolMode
from gateway.dialects.openai.parameters import MOST_STOPS
from gateway.dialects.openai.tools import MOST_NAME_LENGTH, MOST_TOOLS
from kernel.errors import NotCarriedError


def render_request(request: ChatRequest, upstream_model: str, max_output_tokens: int) -> bytes:
    """Return the body.

    Raises:
        NotCarriedError: for what cannot be said in this dialect, with its field.

    """
    limit = request.max_tokens or max_output_tokens
    body: dict[str, Any] = {
        "model": upstream_model,
        "messages": list(_render_messages(request)),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.effort is None:
        body["max_tokens"] = limit
    else:  # models that think know the limit by its new name only
        body["max_completion_tokens"] = limit
        body["reasoning_effort"] = request.effort
    if 0 < len(request.stop) <= MOST_STOPS:
        body["stop"] = list(request.stop)
    plain = {"temperature": request.temperature, "top_p": request.top_p, "user": request.user}
    body |= {name: value for name, value in plain.items() if value is not None}
    if request.response_format.kind is FormatKind.JSON_SCHEMA:
        form = {"name": "answer", "schema": request.response_format.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    elif request.response_format.kind is FormatKind.JSON_OBJECT:
        body["response_format"] = {"type": "json_object"}
    return orjson.dumps({**body, **_render_tools(request)})


def _render_tools(request: ChatRequest) -> dict[str, Any]:
    if not request.defined_tools:
        return {}
    if len(request.defined_tools) > MOST_TOOLS:
        raise _not_carried("tools", f"More than {MOST_TOOLS} tools")
    for place, tool in enumerate(request.defined_tools):
        if len(tool.name) > MOST_NAME_LENGTH:
            raise _not_carried(f"tools.{place}.name", f"A name over {MOST_NAME_LENGTH} characters")
    choice: Any = request.tool_mode.value
    if request.tool_mode is ToolMode.REQUIRED and len(request.tools) < len(request.defined_tools):
        choice = {"type": "function", "function": {"name": request.tools[0].name}}
    fields: dict[str, Any] = {
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    **({"description": tool.description} if tool.description else {}),
                    "parameters": tool.parameters,
                },
            }
            for tool in request.defined_tools
        ],
        "tool_choice": choice,
    }
    if not request.parallel_tool_calls:
        fields["parallel_tool_calls"] = False
    return fields


def _render_messages(request: ChatRequest) -> Iterable[dict[str, Any]]:
    """Render turn by turn; what tools have shown follows their results as the user's message."""
    shown: list[Part] = []
    for message in request.messages:
        if shown and message.role != "tool":
            yield {"role": "user", "content": _render_parts(shown)}
            shown = []
        match message.role:
            case "assistant":
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
        return {"type": "image_url", "image_url": {"url": media.url}}
    if media.kind == "audio":
        head, _, text = media.url.partition(",")
        form = head.removeprefix("data:audio/").partition(";")[0]
        return {"type": "input_audio", "input_audio": {"data": text, "format": form}}
    if not media.url.startswith("data:"):
        raise _not_carried("messages", "A document by its address")
    file = {"file_data": media.url, "filename": media.name or "document.pdf"}
    return {"type": "file", "file": file}


def _not_carried(path: str, what: str) -> NotCarriedError:
    return NotCarriedError(f"{what} cannot be sent to this model.", param=path)
