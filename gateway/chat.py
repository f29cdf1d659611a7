"""The neutral words of a conversation: what dialects parse into and render from. Pure.

A request is parsed once; billing and routing read the same parsed object, and nobody changes it.
(Requests and messages are not frozen: that takes four times as long to make them.) Providers answer
with a stream of events, also for calls that are not streamed to the caller.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

from billing.usage import Usage


class StopReason(StrEnum):
    """Why a choice ended."""

    END = "end"
    STOP_SEQUENCE = "stop_sequence"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class Media:
    """What is no text in a message: ``kind`` is image, video, audio or document (a PDF).

    ``url`` may be a data URL; ``detail`` is as asked; ``name`` is a document's title or file name.
    ``path`` is where it stood in the request, for those who cannot carry it, and ``url_path`` where
    its address did, for those who find fault with that.
    """

    kind: str
    url: str
    detail: str = "auto"
    name: str = ""
    path: str = field(default="", compare=False)
    url_path: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the assistant made earlier. ``arguments`` is JSON text as the model wrote it.

    ``path`` is where the arguments stood in the request.
    """

    call_id: str
    name: str
    arguments: str
    path: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Thought:
    """Thinking that the assistant did earlier, sent back unchanged.

    ``signature`` proves it to whoever made it; of thinking that was hidden only ``sealed`` is left.
    ``signer`` is who that was, where the platform has kept it and not the caller.
    """

    text: str
    signature: str = ""
    sealed: str = ""
    signer: str = ""


Part = str | Media


@dataclass(slots=True)
class Message:
    """One turn. ``text`` joins the text parts with line feeds, in order.

    ``parts`` are texts and media in their order, filled only where there are media.
    ``is_error`` belongs to a tool's result. ``ends_cache`` marks that the prompt up to here will
    come again. ``path`` is where its content stood in the request.
    """

    role: str
    text: str
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    media: tuple[Media, ...] = ()
    parts: tuple[Part, ...] = ()
    thoughts: tuple[Thought, ...] = ()
    is_error: bool = False
    ends_cache: bool = False
    path: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call.

    ``parameters`` is a JSON Schema; ``definition`` is the compact JSON text of name, description
    and parameters in this order, which is what counts in the prompt. ``strict`` asks for arguments
    that keep to the schema, where the caller says so or not. ``ends_cache`` is as of a message.
    ``path`` is where it stood.
    """

    name: str
    parameters: Mapping[str, Any]
    definition: str
    description: str = ""
    strict: bool | None = None
    path: str = field(default="", compare=False)
    ends_cache: bool = False


class ToolMode(StrEnum):
    """Whether the model may, must or must not call a tool."""

    NONE = "none"
    AUTO = "auto"
    REQUIRED = "required"


class FormatKind(StrEnum):
    """What the text of an answer has to be."""

    TEXT = "text"
    JSON_OBJECT = "json_object"
    JSON_SCHEMA = "json_schema"


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """The asked form of the text. ``definition`` is the schema's compact JSON text, or empty.

    ``path`` is where the schema stood in the request, for those who find fault with it later.
    ``strict`` binds the text to the schema, where the caller says so or not.
    """

    kind: FormatKind = FormatKind.TEXT
    schema: Mapping[str, Any] | None = None
    definition: str = ""
    path: str = ""
    name: str = "answer"
    description: str = ""
    strict: bool | None = None


PLAIN_TEXT = ResponseFormat()
# Where the dialects' bodies say what is said to the model.
PROMPT_FIELDS = frozenset({"input", "messages", "system"})


@dataclass(frozen=True, slots=True)
class Embed:
    """What vectors are asked of: texts, or texts that the caller has cut into token numbers.

    ``dimensions`` is None for the model's own; ``is_base64`` is how the answer writes them.
    """

    inputs: tuple[str | tuple[int, ...], ...]
    dimensions: int | None = None
    is_base64: bool = False


@dataclass(frozen=True, slots=True)
class Extra:
    """A field that not every upstream has words for, at its ``path`` in the caller's request.

    ``said`` is what says it, by the dialect of the upstream: fields of the body, none where they
    need not be said. Under a dialect that is not named it is refused, as ``what`` in a sentence.
    """

    path: str
    what: str
    said: Mapping[str, Mapping[str, Any]]


@dataclass(slots=True)
class ChatRequest:
    """A checked request.

    ``wire`` is the parsed body itself, for upstreams of the same dialect. ``max_tokens`` is the
    most one choice may have: as asked, else the model's limit, and never more than its context
    leaves. ``tools`` are those that may be called, all that were defined unless the choice of tools
    narrows them; ``defined_tools`` are all, and count in the prompt. ``effort`` is none, low,
    medium, high, xhigh or max; ``is_thinking`` asks for thinking that is shown.

    ``dialect`` is the caller's, and ``call_prefix`` how the id of a tool call begins in it.
    ``top_logprobs`` asks for the odds of every token beside so many others'; None does not ask.
    ``embed`` is there where vectors are asked for; then nobody speaks, and nothing is streamed.
    ``extras`` are what only some upstreams have words for.
    """

    model: str
    messages: tuple[Message, ...]
    wire: Mapping[str, Any]
    stream: bool = False
    include_usage: bool = False
    max_tokens: int | None = None
    n: int = 1
    stop: tuple[str, ...] = ()
    seed: int | None = None
    temperature: float | None = None
    tools: tuple[Tool, ...] = ()
    defined_tools: tuple[Tool, ...] = ()
    tool_mode: ToolMode = ToolMode.NONE
    parallel_tool_calls: bool = True
    response_format: ResponseFormat = PLAIN_TEXT
    top_p: float | None = None
    top_k: int | None = None
    user: str | None = None
    effort: str | None = None
    is_thinking: bool = False
    dialect: str = "openai"
    call_prefix: str = "call_"
    embed: Embed | None = None
    top_logprobs: int | None = None
    extras: tuple[Extra, ...] = ()

    @property
    def media(self) -> Iterator[Media]:
        """What is no text in what is said to the model, in its order."""
        return (media for message in self.messages for media in message.media)

    def without_prompt(self) -> "ChatRequest":
        """Return what an answer is written by: everything but what was said to the model."""
        wire = {name: value for name, value in self.wire.items() if name not in PROMPT_FIELDS}
        return replace(self, messages=(), wire=wire)


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """A piece of a choice's thinking and the tokens it is made of."""

    choice: int
    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class ThinkingEnded:
    """A stretch of thinking ends. Either a signature proves it, or it was hidden and is sealed."""

    choice: int
    signature: str = ""
    sealed: str = ""
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class TokenOdds:
    """How likely a token was, as the natural logarithm, and what else was likely in its place."""

    token: str
    logprob: float
    top: tuple["TokenOdds", ...] = ()


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of a choice's text and the tokens it is made of; their odds where they were asked."""

    choice: int
    text: str
    tokens: int
    odds: tuple[TokenOdds, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCallStarted:
    """A choice begins its ``index``-th call, counted from 0; ``tokens`` are those of the name."""

    choice: int
    index: int
    call_id: str
    name: str
    tokens: int


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of the JSON text of a call's arguments and the tokens it is made of."""

    choice: int
    index: int
    arguments: str
    tokens: int


@dataclass(frozen=True, slots=True)
class ChoiceFinished:
    """A choice ends. ``stop_sequence`` is the one that ended it, where that is known."""

    choice: int
    reason: StopReason
    stop_sequence: str | None = None


@dataclass(frozen=True, slots=True)
class Embedded:
    """The vector of the ``place``-th input: little-endian float32, of length 1."""

    place: int
    vector: bytes


@dataclass(frozen=True, slots=True)
class UsageReported:
    """The provider's own figures, once, after the last choice has finished."""

    usage: Usage


StreamEvent = (
    ThinkingDelta
    | ThinkingEnded
    | TextDelta
    | ToolCallStarted
    | ToolCallDelta
    | ChoiceFinished
    | Embedded
    | UsageReported
)


class Answer(NamedTuple):
    """The identity every frame of one answer shares. ``created`` is Unix seconds.

    ``prompt_tokens`` is our own count, for a stream that has to name it before it ends.
    """

    completion_id: str
    model: str
    created: int
    fingerprint: str
    request_id: str = ""
    prompt_tokens: int = 0
