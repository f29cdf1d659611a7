"""Messages and blocks: what may stand where, and what they become."""

from typing import Any

import orjson
import pytest

from gateway.chat import Media, Message, Thought, ToolCall
from kernel.errors import BadRequestError
from tests.gateway.dialects.anthropic_asking import (
    CALL,
    HELLO,
    RESULT,
    ask,
    check_body,
    message_of,
    refusal_of,
)
from tests.gateway.dialects.asking import NOT_PUBLIC

PNG = "iVBORw0KGgo="
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
PICTURE = Media("image", f"data:image/png;base64,{PNG}")
PDF = {
    "type": "document",
    "title": "bill.pdf",
    "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
}
CALLING = {"role": "assistant", "content": [CALL]}
ANSWERED = {"role": "user", "content": [RESULT]}
SUPPORTED = "'text', 'image', 'document', 'tool_result'"


def user(*blocks: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(blocks)}]


def source(**fields: Any) -> dict[str, Any]:
    return {"type": "image", "source": fields}


def document(**fields: Any) -> dict[str, Any]:
    return {"type": "document", "source": fields}


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([1], "messages.0: Input should be an object"),
        ([{"content": "x"}], "messages.0.role: Field required"),
        (
            [HELLO, {"role": "tool", "content": "x"}],
            "messages.1.role: Input should be one of 'user', 'assistant', 'system', not 'tool'",
        ),
        ([{"role": "user"}], "messages.0.content: Field required"),
        (
            [{"role": "user", "content": None}],
            "messages.0.content: Input should be a valid string or an array of content blocks",
        ),
        ([{"role": "user", "content": ""}], "messages.0.content: content must not be empty"),
        (
            [{"role": "user", "content": []}],
            "messages.0.content: content must have at least one block",
        ),
        (
            [HELLO, {"role": "assistant", "content": ""}, HELLO],
            "messages.1.content: content must not be empty",
        ),
        (user("x"), "messages.0.content.0: Input should be an object"),
        (user({"text": "x"}), "messages.0.content.0.type: Field required"),
        (user({"type": "text"}), "messages.0.content.0.text: Field required"),
        (
            user({"type": "text", "text": ""}),
            "messages.0.content.0.text: text content blocks must be non-empty",
        ),
        (
            user({"type": "image_url", "image_url": {}}),
            f"messages.0.content.0.type: Input tag 'image_url' does not match any of: {SUPPORTED}",
        ),
        (
            user(CALL),
            f"messages.0.content.0.type: Input tag 'tool_use' does not match any of: {SUPPORTED}",
        ),
        (
            user({"type": "text", "text": "x", "cache_control": {"type": "forever"}}),
            (
                "messages.0.content.0.cache_control.type: Input should be one of 'ephemeral', "
                "not 'forever'"
            ),
        ),
        (
            [{"role": "assistant", "content": [IMAGE]}],
            (
                "messages.0.content.0.type: Input tag 'image' does not match any of: 'text', "
                "'tool_use', 'thinking', 'redacted_thinking'"
            ),
        ),
        (user({"type": "image"}), "messages.0.content.0.source: Field required"),
        (
            user(source(type="file", file_id="f")),
            "messages.0.content.0.source.type: Files by their id are not supported by this server",
        ),
        (
            user(source(type="blob")),
            "messages.0.content.0.source.type: Input tag 'blob' is none of 'base64', 'url'",
        ),
        (
            user(source(type="base64", media_type="image/svg+xml", data=PNG)),
            (
                "messages.0.content.0.source.media_type: Input should be one of 'image/jpeg', "
                "'image/png', 'image/gif', 'image/webp', not 'image/svg+xml'"
            ),
        ),
        (
            user(source(type="base64", media_type="image/png", data="?")),
            "messages.0.content.0.source.data: Invalid base64 data",
        ),
        (
            user(source(type="base64", media_type="image/png", data="")),
            "messages.0.content.0.source.data: Invalid base64 data",
        ),
        (
            user(source(type="url", url="http://169.254.169.254/")),
            (
                "messages.0.content.0.source.url: Input should be a publicly accessible "
                "http(s) address"
            ),
        ),
        (
            user(source(type="url", url="file:///etc/passwd")),
            (
                "messages.0.content.0.source.url: Input should be a publicly accessible "
                "http(s) address"
            ),
        ),
        (
            user(document(type="base64", media_type="text/csv", data="AAAA")),
            (
                "messages.0.content.0.source.media_type: Input should be one of "
                "'application/pdf', not 'text/csv'"
            ),
        ),
        (
            user(document(type="text", media_type="text/html", data="x")),
            (
                "messages.0.content.0.source.media_type: Input should be one of 'text/plain', "
                "not 'text/html'"
            ),
        ),
        (
            user(document(type="url", url="http://localhost/a.pdf")),
            (
                "messages.0.content.0.source.url: Input should be a publicly accessible "
                "http(s) address"
            ),
        ),
        (
            user(document(type="content", content=[CALL])),
            (
                "messages.0.content.0.source.content.0.type: Input tag 'tool_use' is no 'text' "
                "or 'image'"
            ),
        ),
        (
            [CALLING],
            (
                "messages.0.content.0: the `tool_use` 'toolu_1' needs a `tool_result` block in "
                "the message right after it"
            ),
        ),
        (
            [CALLING, HELLO],
            (
                "messages.0.content.0: the `tool_use` 'toolu_1' needs a `tool_result` block in "
                "the message right after it"
            ),
        ),
        (
            [ANSWERED],
            (
                "messages.0.content.0.tool_use_id: 'toolu_1' is not the id of a 'tool_use' "
                "block in the message before that still waits for its 'tool_result'"
            ),
        ),
        (
            [CALLING, {"role": "user", "content": [RESULT, RESULT]}],
            (
                "messages.1.content.1.tool_use_id: 'toolu_1' is not the id of a 'tool_use' "
                "block in the message before that still waits for its 'tool_result'"
            ),
        ),
        (
            [HELLO, CALLING, ANSWERED, {"role": "assistant", "content": "ok"}, ANSWERED],
            (
                "messages.4.content.0.tool_use_id: 'toolu_1' is not the id of a 'tool_use' "
                "block in the message before that still waits for its 'tool_result'"
            ),
        ),
        (
            [{"role": "assistant", "content": [CALL, CALL]}, ANSWERED],
            "messages.0.content.1.id: `tool_use` ids must be unique",
        ),
        (
            [{"role": "assistant", "content": [{**CALL, "input": "{}"}]}, ANSWERED],
            "messages.0.content.0.input: Input should be an object",
        ),
        (
            [{"role": "assistant", "content": [{**CALL, "id": ""}]}, ANSWERED],
            "messages.0.content.0.id: String should have at least 1 character",
        ),
        (
            [CALLING, {"role": "user", "content": [{**RESULT, "content": [CALL]}]}],
            (
                "messages.1.content.0.content.0.type: Input tag 'tool_use' does not match any "
                "of: 'text', 'image', 'document'"
            ),
        ),
        (
            [CALLING, {"role": "user", "content": [{**RESULT, "is_error": 1}]}],
            "messages.1.content.0.is_error: Input should be a valid boolean",
        ),
        (
            [{"role": "assistant", "content": [{"type": "thinking", "thinking": "x"}]}],
            "messages.0.content.0.signature: Field required",
        ),
        (
            [{"role": "assistant", "content": [{"type": "redacted_thinking"}]}],
            "messages.0.content.0.data: Field required",
        ),
    ],
)
def test_a_wrong_message_is_refused_with_its_path(messages: Any, message: str) -> None:
    assert refusal_of(messages=messages) == message


@pytest.mark.parametrize("kind", ["image/jpeg", "image/png", "image/gif", "image/webp"])
def test_pictures_of_four_kinds_are_taken(kind: str) -> None:
    picture = source(type="base64", media_type=kind, data=PNG)

    [message] = ask(messages=user(picture)).messages
    assert message.media == (Media("image", f"data:{kind};base64,{PNG}"),)


@pytest.mark.parametrize("url", NOT_PUBLIC)
@pytest.mark.parametrize("build", [source, document])
def test_private_and_other_addresses_are_refused(build: Any, url: str) -> None:
    assert refusal_of(messages=user(build(type="url", url=url))) == (
        "messages.0.content.0.source.url: Input should be a publicly accessible http(s) address"
    )


def test_a_hundred_thousand_messages_are_taken_and_no_more() -> None:
    def sent(count: int) -> bytes:
        body = {"model": "hacxgpt", "max_tokens": 5, "messages": [HELLO] * count}
        return orjson.dumps(body)

    taken = check_body(sent(100_000), context_tokens=1_000_000)
    with pytest.raises(BadRequestError) as caught:
        check_body(sent(100_001), context_tokens=1_000_000)

    assert taken.messages == (Message("user", "\n".join(["Hello"] * 100_000)),)
    assert message_of(caught.value) == "messages: at most 100000 messages are allowed"


def test_system_comes_first_and_its_blocks_are_joined() -> None:
    blocks = [
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Be kind."},
    ]

    assert ask(system=blocks).messages == (
        Message("system", "Be brief.\n\nBe kind."),
        Message("user", "Hello"),
    )


def test_neighbours_of_the_same_role_are_one_message() -> None:
    messages = [HELLO, {"role": "user", "content": [{"type": "text", "text": "again"}]}]

    assert ask(messages=messages).messages == (Message("user", "Hello\nagain"),)


def test_an_unfinished_turn_of_the_assistant_stays_last_and_may_be_empty() -> None:
    begun = [HELLO, {"role": "assistant", "content": "The answer is"}]
    empty = [HELLO, {"role": "assistant", "content": []}]

    assert ask(messages=begun).messages[1] == Message("assistant", "The answer is")
    assert ask(messages=empty).messages[1] == Message("assistant", "")


def test_texts_and_pictures_keep_their_order() -> None:
    link = source(type="url", url="https://example.com/a.png")
    blocks = ({"type": "text", "text": "This"}, IMAGE, {"type": "text", "text": "or this?"}, link)

    linked = Media("image", "https://example.com/a.png")
    assert ask(messages=user(*blocks)).messages == (
        Message(
            "user",
            "This\nor this?",
            media=(PICTURE, linked),
            parts=("This", PICTURE, "or this?", linked),
        ),
    )


def test_a_pdf_is_a_document_and_plain_text_is_text() -> None:
    plain = {"title": "Notes", **document(type="text", media_type="text/plain", data="a b")}
    linked = {"context": "old", **document(type="url", url="https://example.com/a.pdf")}
    made = document(type="content", content=[{"type": "text", "text": "c"}, IMAGE])

    message = ask(messages=user(PDF, plain, linked, made)).messages[0]

    assert message.parts == (
        Media("document", "data:application/pdf;base64,JVBERi0=", name="bill.pdf"),
        "Notes",
        "a b",
        "old",
        Media("document", "https://example.com/a.pdf"),
        "c",
        PICTURE,
    )


def test_results_become_messages_of_their_own_before_the_rest_of_the_turn() -> None:
    second = {**CALL, "id": "toolu_2"}
    failed = {"type": "tool_result", "tool_use_id": "toolu_2", "is_error": True}
    seen = {**RESULT, "content": [{"type": "text", "text": "look"}, IMAGE]}
    messages = [
        HELLO,
        {"role": "assistant", "content": [{"type": "text", "text": "Both."}, CALL, second]},
        {"role": "user", "content": [failed, seen, {"type": "text", "text": "Well?"}]},
    ]

    arguments = '{"location":"Oslo"}'
    assert ask(messages=messages).messages == (
        Message("user", "Hello"),
        Message(
            "assistant",
            "Both.",
            tool_calls=(
                ToolCall("toolu_1", "get_weather", arguments),
                ToolCall("toolu_2", "get_weather", arguments),
            ),
        ),
        Message("tool", "", tool_call_id="toolu_2", is_error=True),
        Message("tool", "look", tool_call_id="toolu_1", media=(PICTURE,), parts=("look", PICTURE)),
        Message("user", "Well?"),
    )


def test_thinking_comes_back_as_it_was() -> None:
    said = [
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "redacted_thinking", "data": "d"},
        {"type": "text", "text": "Yes."},
    ]

    message = ask(messages=[HELLO, {"role": "assistant", "content": said}, HELLO]).messages[1]

    assert message == Message(
        "assistant", "Yes.", thoughts=(Thought("Hm.", "s"), Thought("", sealed="d"))
    )


def test_a_system_message_may_stand_between() -> None:
    messages = [HELLO, {"role": "system", "content": "Be brief."}, HELLO]

    assert [message.role for message in ask(messages=messages).messages] == [
        "user",
        "system",
        "user",
    ]
