"""Messages: every role, every part, and the tie between calls and results."""

import socket
from typing import Any

import orjson
import pytest

from gateway.catalog import CatalogModel
from gateway.chat import Media, Message, Thought, ToolCall
from gateway.dialects.anthropic.outgoing import render_request
from gateway.estimate import estimate
from gateway.providers.openai import render_body
from gateway.providers.simulator import plan
from gateway.tokenizer import count_prompt, prompt_upper_bound
from tests.gateway.dialects.asking import CALL, NOT_PUBLIC, ask, refusal_of

MISSING = "missing_required_parameter"
TYPE = "invalid_type"
VALUE = "invalid_value"
USER = {"role": "user", "content": "hi"}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
TWICE = {**CALLING, "tool_calls": [CALL, {**CALL, "id": "call_2"}]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "rain"}
REFUSAL = {"type": "refusal", "refusal": "no"}
CALLS = "messages[0].tool_calls"


def user_with(*parts: Any) -> list[Any]:
    return [{"role": "user", "content": list(parts)}]


def audio(data: Any, form: Any = "wav") -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": data, "format": form}}


def image(url: Any, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


@pytest.mark.parametrize(
    ("messages", "code", "param"),
    [
        (["x"], TYPE, "messages[0]"),
        ([None], TYPE, "messages[0]"),
        ([{"content": "x"}], MISSING, "messages[0].role"),
        ([USER, {"role": None, "content": "x"}], MISSING, "messages[1].role"),
        ([{"role": 1, "content": "x"}], TYPE, "messages[0].role"),
        ([USER, {"role": "robot", "content": "x"}], VALUE, "messages[1].role"),
        ([{"role": "user"}], MISSING, "messages[0].content"),
        ([{"role": "user", "content": None}], TYPE, "messages[0].content"),
        ([{"role": "user", "content": 5}], TYPE, "messages[0].content"),
        ([{"role": "user", "content": []}], "empty_array", "messages[0].content"),
        *(
            ([{"role": role, "content": None}], TYPE, "messages[0].content")
            for role in ("system", "developer")
        ),
        *(
            ([{"role": role, "content": []}], "empty_array", "messages[0].content")
            for role in ("system", "developer", "assistant")
        ),
        ([{"role": "user", "content": "x", "name": 3}], TYPE, "messages[0].name"),
        (user_with("x"), TYPE, "messages[0].content[0]"),
        (user_with({"text": "x"}), MISSING, "messages[0].content[0].type"),
        (user_with({"type": "text"}), MISSING, "messages[0].content[0].text"),
        (user_with({"type": "text", "text": 1}), TYPE, "messages[0].content[0].text"),
        (user_with({"type": "song"}), VALUE, "messages[0].content[0].type"),
        (user_with({"type": "refusal", "refusal": "x"}), VALUE, "messages[0].content[0].type"),
        (
            user_with({"type": "input_audio", "input_audio": {}}),
            MISSING,
            "messages[0].content[0].input_audio.data",
        ),
        (user_with(audio("")), "invalid_base64", "messages[0].content[0].input_audio.data"),
        (user_with(audio("a?")), "invalid_base64", "messages[0].content[0].input_audio.data"),
        (user_with(audio(1)), TYPE, "messages[0].content[0].input_audio.data"),
        (user_with(audio("UklG", "ogg")), VALUE, "messages[0].content[0].input_audio.format"),
        (user_with(audio("UklG", None)), MISSING, "messages[0].content[0].input_audio.format"),
        (user_with({"type": "input_audio"}), MISSING, "messages[0].content[0].input_audio"),
        (
            user_with({"type": "file", "file": {}}),
            MISSING,
            "messages[0].content[0].file.file_data",
        ),
        (
            user_with({"type": "file", "file": {"file_id": "file-1"}}),
            "unsupported_value",
            "messages[0].content[0].file.file_id",
        ),
        (
            user_with({"type": "file", "file": {"file_data": "data:text/csv;base64,AAAA"}}),
            "unsupported_value",
            "messages[0].content[0].file.file_data",
        ),
        (
            user_with({"type": "file", "file": {"file_data": "data:application/pdf;base64,A"}}),
            "invalid_base64",
            "messages[0].content[0].file.file_data",
        ),
        (
            [{"role": "system", "content": [image("https://example.com/a.png")]}],
            VALUE,
            "messages[0].content[0].type",
        ),
        ([{"role": "assistant"}], MISSING, "messages[0].content"),
        ([{"role": "assistant", "content": None}], TYPE, "messages[0].content"),
        ([{"role": "assistant", "content": None, "tool_calls": []}], TYPE, "messages[0].content"),
        ([{**CALLING, "tool_calls": {}}], TYPE, "messages[0].tool_calls"),
        (
            [{**CALLING, "tool_calls": [{**CALL, "id": None}]}],
            MISSING,
            "messages[0].tool_calls[0].id",
        ),
        (
            [{**CALLING, "tool_calls": [{**CALL, "type": "custom"}]}],
            VALUE,
            "messages[0].tool_calls[0].type",
        ),
        (
            [{**CALLING, "tool_calls": [{**CALL, "function": {"name": "f", "arguments": {}}}]}],
            TYPE,
            "messages[0].tool_calls[0].function.arguments",
        ),
        ([{**CALLING, "content": 5}], TYPE, "messages[0].content"),
        *(
            ([{"role": role, "content": [part]}], VALUE, "messages[0].content[0].type")
            for role in ("system", "developer", "assistant")
            for part in (image("https://example.com/a.png"), audio("UklG"))
        ),
        ([{"role": "system", "content": [REFUSAL]}], VALUE, "messages[0].content[0].type"),
        (user_with({"type": "image_url"}), MISSING, "messages[0].content[0].image_url"),
        (
            user_with({"type": "image_url", "image_url": "https://example.com/a.png"}),
            TYPE,
            "messages[0].content[0].image_url",
        ),
        (user_with(image(None)), MISSING, "messages[0].content[0].image_url.url"),
        (user_with(image(5)), TYPE, "messages[0].content[0].image_url.url"),
        (user_with({"type": "file"}), MISSING, "messages[0].content[0].file"),
        ([USER, CALLING], VALUE, "messages[1].tool_calls"),
        ([CALLING, USER], VALUE, "messages[0].tool_calls"),
        ([USER, {"role": "tool", "content": "x"}], MISSING, "messages[1].tool_call_id"),
        (
            [USER, {"role": "tool", "tool_call_id": "call_1", "content": "x"}],
            VALUE,
            "messages[1].tool_call_id",
        ),
        (
            [CALLING, {"role": "tool", "tool_call_id": "call_2", "content": "x"}],
            VALUE,
            "messages[1].tool_call_id",
        ),
        ([TWICE, RESULT], VALUE, "messages[0].tool_calls"),
        ([TWICE, RESULT, USER, {**RESULT, "tool_call_id": "call_2"}], VALUE, CALLS),
        ([CALLING, RESULT, USER, RESULT], VALUE, "messages[3].tool_call_id"),
        ([CALLING, RESULT, {**CALLING, "content": "x"}], VALUE, "messages[2].tool_calls"),
        ([CALLING, {**RESULT, "content": None}], TYPE, "messages[1].content"),
        ([CALLING, {**RESULT, "content": []}], "empty_array", "messages[1].content"),
        (
            [CALLING, {**RESULT, "content": [image("https://example.com/a.png")]}],
            VALUE,
            "messages[1].content[0].type",
        ),
        ([CALLING, {**RESULT, "tool_call_id": 1}], TYPE, "messages[1].tool_call_id"),
        ([{"role": "function", "content": "x"}], MISSING, "messages[0].name"),
        ([{"role": "function", "name": "f", "content": 1}], TYPE, "messages[0].content"),
    ],
)
def test_a_wrong_message_is_refused_with_its_path(
    messages: list[Any], code: str, param: str
) -> None:
    assert refusal_of(messages=messages) == (code, param)


def test_every_role_is_read() -> None:
    request = ask(
        messages=[
            {"role": "system", "content": "be kind"},
            {"role": "developer", "content": [{"type": "text", "text": "be short"}]},
            {"role": "user", "content": "weather?", "name": "bob", "annotations": []},
            {**CALLING, "content": "", "audio": None, "reasoning_content": "hm"},
            {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
            {"role": "assistant", "content": "", "tool_calls": []},
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": None},
        ]
    )

    assert request.messages == (
        Message("system", "be kind"),
        Message("developer", "be short"),
        Message("user", "weather?", "bob"),
        Message(
            "assistant",
            "",
            tool_calls=(ToolCall("call_1", "get_weather", '{"location":"Oslo"}'),),
            thoughts=(Thought("hm"),),
        ),
        Message("tool", "rain", tool_call_id="call_1"),
        Message("assistant", "no"),
        Message("assistant", ""),
        Message("assistant", "", tool_calls=(ToolCall("", "f", "{}"),)),
        Message("function", "", "f"),
    )


def test_results_may_come_in_any_order() -> None:
    two = {**CALLING, "tool_calls": [CALL, {**CALL, "id": "call_2"}]}
    results = [{"role": "tool", "tool_call_id": f"call_{i}", "content": "x"} for i in (2, 1)]

    assert [m.tool_call_id for m in ask(messages=[two, *results]).messages[1:]] == [
        "call_2",
        "call_1",
    ]


def test_text_parts_are_joined_in_order_by_line_feeds() -> None:
    parts = user_with({"type": "text", "text": "a"}, {"type": "text", "text": "b"})

    assert ask(messages=parts).messages[0].text == "a\nb"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/photo.jpg",
        "http://example.com:8080/x?y#z",
        "https://93.184.216.34/x.png",
        "https://[2606:2800:220:1::1]/x.png",
        "https://xn--mller-kva.example/x",
        "data:image/png;base64,iVBORw0KGgo=",
        "data:image/webp;base64,AAAA",
    ],
)
def test_public_and_inline_pictures_are_taken(url: str) -> None:
    message = ask(messages=user_with({"type": "text", "text": "?"}, image(url))).messages[0]

    picture = Media("image", url)
    assert message == Message("user", "?", media=(picture,), parts=("?", picture))


def test_a_pdf_in_the_request_is_a_document_with_its_name() -> None:
    url = "data:application/pdf;base64,JVBERi0="
    file = {"type": "file", "file": {"file_data": url, "filename": "bill.pdf"}}

    message = ask(messages=user_with(file)).messages[0]

    assert message.media == (Media("document", url, name="bill.pdf"),)


@pytest.mark.parametrize(
    "url",
    [
        *NOT_PUBLIC, "data:image/svg+xml;base64,AAAA", "data:text/plain;base64,AAAA",
        "data:image/png,AAAA",
    ],
)  # fmt: skip
def test_private_and_other_addresses_are_refused(url: str) -> None:
    expected = ("invalid_image_url", "messages[0].content[0].image_url.url")

    assert refusal_of(messages=user_with(image(url))) == expected


@pytest.mark.parametrize("text", ["", "!!!!", "AAA", "AA=A", "AAAA\n", "ÄÄÄÄ"])
def test_bad_base64_is_refused(text: str) -> None:
    url = f"data:image/png;base64,{text}"

    assert refusal_of(messages=user_with(image(url))) == (
        "invalid_base64",
        "messages[0].content[0].image_url.url",
    )


def test_detail_is_one_of_four_words() -> None:
    url = "https://example.com/a.png"

    assert ask(messages=user_with(image(url, detail="low"))).messages[0].media[0].detail == "low"
    assert refusal_of(messages=user_with(image(url, detail="huge"))) == (
        "invalid_value",
        "messages[0].content[0].image_url.detail",
    )


def test_a_film_is_taken_by_address_or_inline() -> None:
    part = {"type": "video_url", "video_url": {"url": "https://example.com/clip.mp4"}}
    inline = {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}}

    assert [media.kind for media in ask(messages=user_with(part, inline)).messages[0].media] == [
        "video",
        "video",
    ]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        *((url, "invalid_image_url") for url in NOT_PUBLIC),
        ("data:image/png;base64,AAAA", "invalid_image_url"),
        ("data:video/mp4,AAAA", "invalid_image_url"),
        ("data:video/mp4;base64,AA=A", "invalid_base64"),
    ],
)
def test_a_film_is_refused_for_what_a_picture_would_be(url: str, code: str) -> None:
    film = {"type": "video_url", "video_url": {"url": url}}

    assert refusal_of(messages=user_with(film)) == (code, "messages[0].content[0].video_url.url")


def test_a_recording_counts_by_its_length_and_its_bound_is_its_count() -> None:
    short, long = (
        ask(messages=user_with({"type": "text", "text": "hi"}, audio("UklG" * size, "mp3")))
        for size in (1, 800)
    )

    # 3 for the answer, 4 for the message, 1 for its text; 100, and 3,200 characters by 320
    assert count_prompt(short) == 3 + 4 + 1 + 100
    assert count_prompt(long) == 3 + 4 + 1 + 100 + 10
    assert prompt_upper_bound(long) == count_prompt(long) + 1
    assert estimate(long, CatalogModel("m", "tollgate", 0, 128_000, 5, None, ())).images == 0
    assert long.messages[0].media == (Media("audio", "data:audio/mp3;base64," + "UklG" * 800),)


def test_the_simulator_says_what_it_received() -> None:
    request = ask(messages=user_with(audio("UklG"), audio("UklG")))

    assert "".join(plan(request).choices[0].pieces).startswith("I have received 2 recordings. ")


def test_the_built_in_model_fetches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any, **_kwargs: Any) -> None:
        pytest.fail("it asked for an address")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "socket", refuse)
    film = {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}
    request = ask(messages=user_with(image("https://example.com/a.png"), film))

    assert "".join(plan(request).choices[0].pieces).startswith("I have received 1 image and 1 ")


def test_thinking_sent_back_counts_goes_on_as_it_came_and_is_left_out_where_it_must_be_signed() -> (
    None
):
    turns = [USER, {"role": "assistant", "content": "yes"}, USER]
    plain = ask(messages=turns)
    turns[1] = {**turns[1], "reasoning_content": "Hm, yes."}
    thinking = ask(messages=turns)

    assert count_prompt(thinking) == count_prompt(plain) + 4
    sent = orjson.loads(render_body(thinking, "up-1", 100))["messages"]
    assert sent[1]["reasoning_content"] == "Hm, yes."
    assert render_request(thinking, "up-1", 100) == render_request(plain, "up-1", 100)


@pytest.mark.parametrize("odd", [None, "", 5, ["hm"], {"text": "hm"}])
def test_what_is_no_thinking_is_ignored_there(odd: Any) -> None:
    turn = {"role": "assistant", "content": "yes"}

    assert ask(messages=[{**turn, "reasoning_content": odd}, USER]).messages[0].thoughts == ()
