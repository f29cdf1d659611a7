"""How Tollgate counts tokens itself: exact, and simple enough to check a bill by hand. Pure.

The simulator's figures and the platform's own counting, where a provider gives none, both stand on
this specification.

**Text.** A text is cut from left to right; at each place the first rule that fits takes one token:

1. a word: one optional space, then up to 8 letters, Latin ones with or without accents
   (U+0041 to 5A, 61 to 7A, C0 to 24F without D7 and F7);
2. a number: one optional space, then up to 3 digits 0 to 9;
3. a sign: one optional space, then one other character that is no white space: punctuation, a
   picture, a letter of another script;
4. white space: up to 8 of space, tab, line feed, vertical tab, form feed, carriage return;
5. any other single character, such as U+00A0.

So ``Hello, world!`` is ``Hello`` ``,`` `` world`` ``!``: 4 tokens; ``internationally`` is
``internat`` ``ionally``: 2; ``2026`` is ``202`` ``6``: 2. The tokens joined are the text again.
No token has fewer than one or more than 17 bytes of UTF-8, hence bytes / 17 ≤ tokens ≤ bytes.
Since no rule looks ahead, a text cut short counts as many tokens as it shows, the last maybe in
part.

**Prompt.** 3 for the answer's beginning, and the sum of:

- every message: 4 and the tokens of its text (parts joined by line feeds) and of its name; for a
  tool call in it 8 and the tokens of the function's name and arguments; for thinking in it the
  tokens of its text, or of its seal; for a picture 85 at low detail, else 765; for a film 1,500;
  for a document 1,500, and 1 for every 32 characters of its data URL; for a recording 100, and 1
  for every 320 characters of it in base64;
- every defined tool: 8 and the tokens of ``{"name":…,"description":…,"parameters":…}`` as compact
  JSON;
- an answer asked for in JSON: 8 and the tokens of its schema, where it has one, as compact JSON.

**Embeddings.** The tokens of every text; of a text that came as token numbers, how many there are.
Nothing is added.
"""

import re
from collections.abc import Callable
from functools import lru_cache

from gateway.chat import ChatRequest, FormatKind, Media, Message

MESSAGE_TOKENS = 4
REPLY_TOKENS = 3
TOOL_TOKENS = 8
FORMAT_TOKENS = 8
LOW_DETAIL_IMAGE_TOKENS = 85
IMAGE_TOKENS = 765
VIDEO_TOKENS = 1_500
DOCUMENT_TOKENS = 1_500
DOCUMENT_CHARACTERS_PER_TOKEN = 32
AUDIO_TOKENS = 100
AUDIO_CHARACTERS_PER_TOKEN = 320
MOST_TOKEN_BYTES = 17

_LETTER = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f"
_SPACE = r" \t\n\v\f\r"
_TOKEN = re.compile(
    rf" ?[{_LETTER}]{{1,8}}| ?[0-9]{{1,3}}| ?[^\s{_LETTER}0-9]|[{_SPACE}]{{1,8}}|[\s\S]"
)
_find_tokens = _TOKEN.findall


def split_tokens(text: str) -> list[str]:
    """Cut a text into its tokens; joined they are the text."""
    return _find_tokens(text)


def count_tokens(text: str) -> int:
    """Return how many tokens a text has."""
    return len(_find_tokens(text))


# Tool definitions and schemas come back with every turn of a conversation.
_count_definition = lru_cache(maxsize=512)(count_tokens)


def byte_length(text: str) -> int:
    """Return the length in UTF-8: no text has more tokens than this."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def count_prompt(request: ChatRequest) -> int:
    """Return the tokens of everything the model reads."""
    return _measure(request, count_tokens, _count_definition)


def is_guessed(request: ChatRequest) -> bool:
    """Tell whether ``count_prompt`` guesses at a part, since a provider measures it otherwise."""
    return any(
        message.media or any(thought.sealed for thought in message.thoughts)
        for message in request.messages
    )


def prompt_upper_bound(request: ChatRequest) -> int:
    """Return a number ``count_prompt`` never exceeds, at the cost of looking at lengths only."""
    return _measure(request, byte_length, byte_length)


def prompt_lower_bound(request: ChatRequest) -> int:
    """Return a number ``count_prompt`` never falls below, so that no endless text is counted."""
    return prompt_upper_bound(request) // MOST_TOKEN_BYTES


def _measure(
    request: ChatRequest, text_size: Callable[[str], int], definition_size: Callable[[str], int]
) -> int:
    if request.embed is not None:
        inputs = request.embed.inputs
        return sum(text_size(each) if isinstance(each, str) else len(each) for each in inputs)
    total = REPLY_TOKENS
    for message in request.messages:
        total += MESSAGE_TOKENS + text_size(message.text)
        if message.name is not None:
            total += text_size(message.name)
        if message.tool_calls or message.media or message.thoughts:
            total += _measure_extras(message, text_size)
    for tool in request.defined_tools:
        total += TOOL_TOKENS + definition_size(tool.definition)
    if request.response_format.kind is not FormatKind.TEXT:
        total += FORMAT_TOKENS + definition_size(request.response_format.definition)
    return total


def _measure_extras(message: Message, text_size: Callable[[str], int]) -> int:
    calls = sum(
        TOOL_TOKENS + text_size(call.name) + text_size(call.arguments)
        for call in message.tool_calls
    )
    thoughts = sum(text_size(thought.sealed or thought.text) for thought in message.thoughts)
    return calls + thoughts + sum(media_tokens(media) for media in message.media)


def media_tokens(media: Media) -> int:
    """Return what a picture, film, recording or document counts in the prompt."""
    if media.kind == "video":
        return VIDEO_TOKENS
    if media.kind == "audio":
        size = len(media.url.partition(",")[2])
        return AUDIO_TOKENS + size // AUDIO_CHARACTERS_PER_TOKEN
    if media.kind == "document":
        size = len(media.url) if media.url.startswith("data:") else 0
        return DOCUMENT_TOKENS + size // DOCUMENT_CHARACTERS_PER_TOKEN
    return LOW_DETAIL_IMAGE_TOKENS if media.detail == "low" else IMAGE_TOKENS
