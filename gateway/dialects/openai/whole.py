"""Whole OpenAI answers that pass through: read, checked, and under our name. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from billing.usage import Usage
from gateway.chat import Answer
from gateway.dialects.answer_bytes import CutAnswer, read_answer
from gateway.dialects.openai.spoken import count_message, objects_in
from gateway.dialects.openai.usage import parse_usage, render_usage
from gateway.dialects.receipts import Receipt
from kernel.errors import UpstreamError


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
    misnamed = [choice for choice in choices if _is_misnamed(choice)]
    for choice in misnamed:
        choice["finish_reason"] = "tool_calls"
    if misnamed:
        ours["choices"] = choices
    reported = read.members.get("usage")
    return PatchedAnswer(read.cut(ours), choices, reported, parse_usage(reported))


def _is_misnamed(choice: Mapping[str, Any]) -> bool:
    """Tell whether calls end with ``stop``, which is mended as in a stream."""
    return choice["finish_reason"] == "stop" and bool(choice["message"].get("tool_calls"))


def _is_whole(choice: object) -> bool:
    """Tell whether this is a message that says why it ended."""
    if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
        return False
    reason = choice.get("finish_reason")
    return isinstance(reason, str) and reason != ""
