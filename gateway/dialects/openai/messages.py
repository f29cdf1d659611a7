"""The messages of a request: one parser per role, then the rule that ties tool results to calls."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from gateway.chat import Media, Message, Part, Thought, ToolCall
from gateway.dialects.openai import fields
from gateway.dialects.openai.fields import missing, refusal, shown, wrong_type
from gateway.dialects.openai.media import (
    parse_audio,
    parse_file,
    parse_image,
    parse_video,
)

_TEXT_PARTS = frozenset({"text"})
_MEDIA: Mapping[str, Callable[[Mapping[str, Any], str], Media]] = MappingProxyType(
    {
        "image_url": parse_image,
        "video_url": parse_video,
        "input_audio": parse_audio,
        "file": parse_file,
    }
)
_USER_PARTS = frozenset({"text", *_MEDIA})
_ASSISTANT_PARTS = frozenset({"text", "refusal"})


def parse_messages(wires: Sequence[Any]) -> tuple[Message, ...]:
    """Check the messages and return them in order.

    Raises:
        BadRequestError: with the path of the field that is wrong.

    """
    messages = tuple(
        [_parse_message(wire, f"messages[{place}]") for place, wire in enumerate(wires)]
    )
    for message in messages:
        if message.role == "tool" or message.tool_calls:
            _check_tool_turns(messages)
            break
    return messages


def _parse_message(wire: Any, path: str) -> Message:
    if type(wire) is not dict:
        raise wrong_type(path, "an object", wire)
    role = wire.get("role")
    if role is None:
        raise missing(f"{path}.role")
    if type(role) is not str:
        raise wrong_type(f"{path}.role", "a string", role)
    parse = _PARSERS.get(role)
    if parse is None:
        raise refusal(
            f"{path}.role",
            f"Invalid value: '{shown(role)}'. Supported values are: "
            "'system', 'developer', 'user', 'assistant', 'tool' and 'function'.",
        )
    return parse(wire, path)


def _parse_plain(wire: Mapping[str, Any], path: str) -> Message:
    content = _parse_content(wire, path, _TEXT_PARTS)
    return Message(
        wire["role"],
        content.text,
        _name(wire, path),
        ends_cache=content.ends_cache,
        path=f"{path}.content",
    )


def _parse_user(wire: Mapping[str, Any], path: str) -> Message:
    content = _parse_content(wire, path, _USER_PARTS)
    name, where = _name(wire, path), f"{path}.content"
    return Message(
        "user",
        content.text,
        name,
        media=content.media,
        parts=content.parts if content.media else (),
        ends_cache=content.ends_cache,
        path=where,
    )


def _parse_assistant(wire: Mapping[str, Any], path: str) -> Message:
    calls = _parse_calls(wire, path)
    refused = fields.optional(wire, "refusal", path, fields.string)
    if wire.get("content") is None and (calls or refused is not None):
        content = _Content(refused or "")
    else:
        content = _parse_content(wire, path, _ASSISTANT_PARTS)
    # of an earlier answer: it goes on as it came, and its receiver charges for it
    thought = wire.get("reasoning_content")
    thoughts = (Thought(thought),) if thought and type(thought) is str else ()
    return Message(
        "assistant",
        content.text,
        _name(wire, path),
        tool_calls=calls,
        thoughts=thoughts,
        ends_cache=content.ends_cache,
        path=f"{path}.content",
    )


def _parse_tool(wire: Mapping[str, Any], path: str) -> Message:
    call_id = fields.required(wire, "tool_call_id", path, fields.string)
    content = _parse_content(wire, path, _TEXT_PARTS)
    return Message(
        "tool",
        content.text,
        _name(wire, path),
        call_id,
        ends_cache=content.ends_cache,
        path=f"{path}.content",
    )


def _parse_function(wire: Mapping[str, Any], path: str) -> Message:
    name = fields.required(wire, "name", path, fields.string)
    text = fields.optional(wire, "content", path, fields.string)
    return Message("function", text or "", name, path=f"{path}.content")


_PARSERS: Mapping[str, Callable[[Mapping[str, Any], str], Message]] = MappingProxyType(
    {
        "system": _parse_plain,
        "developer": _parse_plain,
        "user": _parse_user,
        "assistant": _parse_assistant,
        "tool": _parse_tool,
        "function": _parse_function,
    }
)


def _name(wire: Mapping[str, Any], path: str) -> str | None:
    name = wire.get("name")
    if name is not None and type(name) is not str:
        raise wrong_type(f"{path}.name", "a string", name)
    return name


class _Content(NamedTuple):
    """What stands in a message: its texts joined, its media, and both in their order."""

    text: str
    media: tuple[Media, ...] = ()
    parts: tuple[Part, ...] = ()
    ends_cache: bool = False


def _parse_content(wire: Mapping[str, Any], path: str, kinds: frozenset[str]) -> _Content:
    content = wire.get("content")
    if type(content) is str:
        return _Content(content)
    param = f"{path}.content"
    if "content" not in wire:
        raise missing(param)
    if type(content) is not list:
        raise wrong_type(param, "a string or an array of parts", content)
    if not content:
        raise refusal(param, f"Invalid '{param}': the array of parts is empty.", "empty_array")
    return _parse_parts(content, param, kinds)


def _parse_parts(wires: list[Any], path: str, kinds: frozenset[str]) -> _Content:
    parts: list[Part] = []
    for place, part in enumerate(wires):
        param = f"{path}[{place}]"
        fields.mapping(param, part)
        kind = fields.required(part, "type", param, fields.string)
        if kind not in kinds:
            raise _wrong_part(f"{param}.type", kind, kinds)
        if kind in ("text", "refusal"):
            text = part.get(kind)
            if text is None:
                raise missing(f"{param}.{kind}")
            fields.string(f"{param}.{kind}", text)
            parts.append(text)
        else:
            parts.append(_MEDIA[kind](part, param))
    texts = [part for part in parts if isinstance(part, str)]
    media = [part for part in parts if isinstance(part, Media)]
    is_marked = any(fields.is_cache_mark(part.get("cache_control")) for part in wires)
    return _Content("\n".join(texts), tuple(media), tuple(parts), is_marked)


def _wrong_part(param: str, kind: str, kinds: frozenset[str]) -> Exception:
    supported = ", ".join(f"'{word}'" for word in sorted(kinds))
    return refusal(
        param, f"Invalid value: '{shown(kind)}'. Supported values here are: {supported}."
    )


def _parse_calls(wire: Mapping[str, Any], path: str) -> tuple[ToolCall, ...]:
    """Return the calls of an assistant message; a legacy one has no id and awaits no answer."""
    calls: list[ToolCall] = []
    for place, call in enumerate(fields.optional(wire, "tool_calls", path, fields.array) or ()):
        param = f"{path}.tool_calls[{place}]"
        fields.mapping(param, call)
        call_id = fields.required(call, "id", param, fields.string)
        fields.required(call, "type", param, fields.one_of("function"))
        function = fields.required(call, "function", param, fields.mapping)
        calls.append(_parse_function_call(function, f"{param}.function", call_id))
    legacy = fields.optional(wire, "function_call", path, fields.mapping)
    if legacy is not None:
        calls.append(_parse_function_call(legacy, f"{path}.function_call", ""))
    return tuple(calls)


def _parse_function_call(function: Mapping[str, Any], path: str, call_id: str) -> ToolCall:
    name = fields.required(function, "name", path, fields.string)
    arguments = fields.required(function, "arguments", path, fields.string)
    return ToolCall(call_id, name, arguments, f"{path}.arguments")


def _check_tool_turns(messages: Sequence[Message]) -> None:
    """Check that every result answers a call just before it, and every call has its result."""
    known: set[str] = set()
    waiting: set[str] = set()
    asked_at = 0
    for place, message in enumerate(messages):
        if message.role == "tool":
            if message.tool_call_id not in known:
                raise refusal(
                    f"messages[{place}].tool_call_id",
                    "A message with role 'tool' must answer one of the 'tool_calls' of the "
                    f"assistant message before it; '{shown(message.tool_call_id)}' does not.",
                )
            waiting.discard(message.tool_call_id)
            continue
        if waiting:
            break
        known = {call.call_id for call in message.tool_calls if call.call_id}
        waiting = set(known)
        asked_at = place
    if waiting:
        raise refusal(
            f"messages[{asked_at}].tool_calls",
            "An assistant message with 'tool_calls' must be followed by a message with role 'tool' "
            f"for each of them; '{shown(min(waiting))}' has no answer.",
        )
