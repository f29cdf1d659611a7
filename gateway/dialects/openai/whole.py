"""Whole OpenAI answers that pass through: read, checked, and under our name. Pure.

They keep their bytes, but where a server leaves out what clients may count on: then what is missing
is said, and choices that are not in the contract's form are written anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from billing.usage import Usage
from gateway.chat import Answer
from gateway.dialects.answer_bytes import CutAnswer, read_answer
from gateway.dialects.openai.spoken import count_message, objects_in
from gateway.dialects.openai.usage import count_unseen, parse_usage, render_usage
from gateway.dialects.receipts import Receipt
from kernel.errors import UpstreamError

_MESSAGE = {"role": "assistant", "content": None, "refusal": None}


@dataclass(slots=True)
class PatchedAnswer:
    """A whole answer under our id and model, and the provider's figures where it gave any.

    ``reported`` is how those came.
    """

    cut: CutAnswer
    choices: Sequence[Mapping[str, Any]]
    reported: object
    usage: Usage | None

    def count(self) -> int:
        """Return our own count of the tokens in its text."""
        return sum(count_message(choice.get("message")) for choice in self.choices)

    def render(self, receipt: Receipt) -> bytes:
        return self.cut.render(receipt.write(self.reported, render_usage))


def patch_answer(body: bytes, answer: Answer) -> PatchedAnswer:
    """Read and patch a whole answer.

    Raises:
        UpstreamError: for what is no chat completion.

    """
    read = read_answer(body)
    choices = read.members.get("choices")
    if read.members.get("error") or any(choice.get("error") for choice in objects_in(choices)):
        raise UpstreamError("The model's provider broke off its answer.")
    if not choices or not isinstance(choices, list) or not all(map(_is_whole, choices)):
        raise UpstreamError("The model's provider sent an answer that is no completion.")
    ours: dict[str, Any] = {"id": answer.completion_id, "model": answer.model}
    shared = {
        "object": "chat.completion",
        "created": answer.created,
        "system_fingerprint": answer.fingerprint,
    }
    ours |= {name: value for name, value in shared.items() if name not in read.members}
    mended = [_mend(choice, place) for place, choice in enumerate(choices)]
    if any(mended):
        ours["choices"] = choices
    reported = count_unseen(read.members.get("usage"))
    return PatchedAnswer(read.cut(ours), choices, reported, parse_usage(reported))


def _mend(choice: dict[str, Any], place: int) -> bool:
    """Bring a choice into the contract's form; tell whether it was not."""
    message = choice["message"]
    is_mended = False
    for said, form in ((choice, {"index": place, "logprobs": None}), (message, _MESSAGE)):
        if not said.keys() >= form.keys():
            said.update({**form, **said})
            is_mended = True
    if "tool_calls" in message and not message["tool_calls"]:
        del message["tool_calls"]
        is_mended = True
    if "tool_calls" in message and choice["finish_reason"] == "stop":
        choice["finish_reason"] = "tool_calls"
        is_mended = True
    return is_mended


def _is_whole(choice: object) -> bool:
    """Tell whether this is a message that says why it ended."""
    if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
        return False
    reason = choice.get("finish_reason")
    return isinstance(reason, str) and reason != ""
