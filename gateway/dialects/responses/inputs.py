"""The input: a text, or messages, calls of functions and their outputs in the order they happened.

Calls belong to the assistant's turn they stand beside; thinking that is sent back is not needed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.chat import Media, Message, Part, Thought, ToolCall
from gateway.dialects.openai import fields
from gateway.dialects.openai.fields import missing, refusal, shown, unsupported, wrong_type
from gateway.dialects.openai.media import DETAIL, check_image_url, check_pdf
from kernel.errors import BadRequestError

_ROLE = fields.one_of("user", "assistant", "system", "developer")
_ASKING = ("input_text", "input_image", "input_file")
_PARTS: Mapping[str, tuple[str, ...]] = {
    "user": _ASKING,
    "assistant": ("output_text", "refusal", "input_text"),
    "system": ("input_text",),
    "developer": ("input_text",),
}


def parse_input(sent: Any) -> tuple[Message, ...]:
    """Check the input and return its turns.

    Raises:
        BadRequestError: with the path of the field that is wrong.

    """
    if type(sent) is str:
        return (Message("user", sent, path="input"),)
    if type(sent) is not list:
        raise wrong_type("input", "a string or an array", sent)
    turns: list[Message] = []
    open_calls: dict[str, int] = {}
    for place, wire in enumerate(sent):
        _take(wire, f"input[{place}]", turns, open_calls)
    if open_calls:
        call_id = next(iter(open_calls))
        raise refusal("input", f"No tool output found for function call {shown(call_id)}.")
    turns = [turn for turn in turns if not _is_bare(turn)]
    if not turns:
        raise refusal("input", "Invalid 'input': there is no message in it.", "empty_array")
    return tuple(turns)


def _take(wire: Any, path: str, turns: list[Message], open_calls: dict[str, int]) -> None:
    fields.mapping(path, wire)
    match fields.optional(wire, "type", path, fields.string):
        case None | "message":
            if open_calls:
                call_id = next(iter(open_calls))
                raise refusal(path, f"No tool output found for function call {shown(call_id)}.")
            _take_message(_parse_message(wire, path), turns)
        case "function_call":
            call = _parse_call(wire, path)
            open_calls[call.call_id] = len(turns)
            if turns and turns[-1].role == "assistant":
                turns[-1] = replace(turns[-1], tool_calls=(*turns[-1].tool_calls, call))
            else:
                turns.append(Message("assistant", "", tool_calls=(call,), path=path))
        case "function_call_output":
            result = _parse_output(wire, path)
            assert result.tool_call_id is not None, "a result names its call"
            if open_calls.pop(result.tool_call_id, None) is None:
                raise refusal(
                    f"{path}.call_id",
                    f"No tool call found for function call output with call_id "
                    f"{shown(result.tool_call_id)}.",
                )
            turns.append(result)
        case "reasoning":
            _take_thought(wire, path, turns)
        case kind:
            raise unsupported(f"{path}.type", f"An input of type '{shown(kind)}'")


def _take_message(message: Message, turns: list[Message]) -> None:
    """Add a message; thoughts that came before it are its own."""
    if message.role == "assistant" and turns and _is_bare(turns[-1]):
        message = replace(message, thoughts=turns.pop().thoughts)
    turns.append(message)


def _take_thought(wire: Mapping[str, Any], path: str, turns: list[Message]) -> None:
    """Add what the assistant thought to what it says beside it; a summary is none."""
    content = wire.get("content")
    parts = content if type(content) is list else []
    texts = [part.get("text") for part in parts if type(part) is dict]
    text = "".join(each for each in texts if type(each) is str)
    if not text:
        return
    if not turns or turns[-1].role != "assistant":
        turns.append(Message("assistant", "", path=path))
    turns[-1] = replace(turns[-1], thoughts=(*turns[-1].thoughts, Thought(text)))


def _is_bare(turn: Message) -> bool:
    """Tell whether there is nothing in a turn but thoughts."""
    return bool(turn.thoughts) and not (turn.text or turn.tool_calls or turn.media)


def _parse_call(wire: Mapping[str, Any], path: str) -> ToolCall:
    return ToolCall(
        fields.required(wire, "call_id", path, fields.string),
        fields.required(wire, "name", path, fields.string),
        fields.required(wire, "arguments", path, fields.string),
        f"{path}.arguments",
    )


def _parse_output(wire: Mapping[str, Any], path: str) -> Message:
    call_id = fields.required(wire, "call_id", path, fields.string)
    output = fields.required(wire, "output", path, fields.any_value)
    where = f"{path}.output"
    parts = _parse_parts(output, where, _ASKING)
    return _with_parts(Message("tool", "", tool_call_id=call_id, path=where), parts)


def _parse_message(wire: Mapping[str, Any], path: str) -> Message:
    role = fields.required(wire, "role", path, _ROLE)
    content = fields.required(wire, "content", path, fields.any_value)
    where = f"{path}.content"
    if role == "user" and content == []:
        raise refusal(where, f"Invalid '{where}': the array of parts is empty.", "empty_array")
    parts = _parse_parts(content, where, _PARTS[role])
    return _with_parts(Message(role, "", path=where), parts)


def _with_parts(message: Message, parts: Sequence[Part]) -> Message:
    media = tuple([part for part in parts if isinstance(part, Media)])
    text = "\n".join(part for part in parts if isinstance(part, str))
    return replace(message, text=text, media=media, parts=tuple(parts) if media else ())


def _parse_parts(content: Any, path: str, kinds: tuple[str, ...]) -> list[Part]:
    if type(content) is str:
        return [content]
    if type(content) is not list:
        raise wrong_type(path, "a string or an array of parts", content)
    return [_parse_part(part, f"{path}[{place}]", kinds) for place, part in enumerate(content)]


def _parse_part(part: Any, path: str, kinds: tuple[str, ...]) -> Part:
    fields.mapping(path, part)
    kind = fields.required(part, "type", path, fields.string)
    if kind not in kinds:
        supported = ", ".join(f"'{word}'" for word in kinds)
        raise refusal(
            f"{path}.type",
            f"Invalid value: '{shown(kind)}'. Supported values here are: {supported}.",
        )
    if kind == "input_image":
        return _parse_image(part, path)
    if kind == "input_file":
        return _parse_file(part, path)
    name = "refusal" if kind == "refusal" else "text"
    text: str = fields.required(part, name, path, fields.string)
    return text


def _parse_image(part: Mapping[str, Any], path: str) -> Media:
    if part.get("image_url") is None and part.get("file_id") is not None:
        raise unsupported(f"{path}.file_id", "A picture by its id")
    url = fields.required(part, "image_url", path, fields.string)
    where = f"{path}.image_url"
    check_image_url(url, where)
    detail = fields.optional(part, "detail", path, DETAIL) or "auto"
    return Media("image", url, detail, path=where, url_path=where)


def _parse_file(part: Mapping[str, Any], path: str) -> Media:
    if part.get("file_data") is None:
        raise _no_file(part, path)
    url = fields.required(part, "file_data", path, fields.string)
    where = f"{path}.file_data"
    check_pdf(url, where)
    name = fields.optional(part, "filename", path, fields.string) or ""
    return Media("document", url, name=name, path=where)


def _no_file(part: Mapping[str, Any], path: str) -> BadRequestError:
    for name, what in (("file_id", "A file by its id"), ("file_url", "A file by its address")):
        if part.get(name) is not None:
            return unsupported(f"{path}.{name}", what)
    return missing(f"{path}.file_data")
