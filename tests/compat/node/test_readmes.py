"""The shapes that both clients' READMEs show, with their models' names; address and key are ours.

An operator offers the names; what the READMEs show of files, real time, webhooks and workload
identity has no counterpart here.
"""

import pytest

from tests.compat.node.play import needs_node, play, usage_of
from tests.stage import Stage

pytestmark = needs_node


@pytest.mark.parametrize("example", ["response", "completion"])
def test_openais_readme_gets_its_answer(stage: Stage, example: str) -> None:
    assert play(stage, "openai_readme", example) == "2+2 equals 4."
    assert usage_of(stage)[0].model == "gpt-5.5"


def test_openais_readme_shows_a_picture(stage: Stage) -> None:
    assert play(stage, "openai_readme", "vision").startswith("I have received 1 image.")


def test_openais_readme_streams(stage: Stage) -> None:
    types = play(stage, "openai_readme", "streaming")

    assert types[:2] == ["response.created", "response.in_progress"]
    assert types[-1] == "response.completed"


def test_openais_readme_catches_an_error(stage: Stage) -> None:
    error = play(stage, "openai_readme", "handlingErrors")

    assert error.pop("requestID").startswith("req_")
    assert error == {"status": 404, "isNotFound": True, "type": "application/json"}


def test_anthropics_readme_gets_its_message(stage: Stage) -> None:
    assert play(stage, "anthropic_readme", "message") == [{"type": "text", "text": "Hello!"}]
    assert usage_of(stage)[0].model == "claude-opus-5-5"
