"""Answers in JSON: an object at will, or a value of the schema that was asked for."""

import orjson

from gateway.chat import ChatRequest, FormatKind
from gateway.providers.simulator.dice import Dice
from gateway.providers.simulator.json_values import make_value
from gateway.providers.simulator.replies import find_list, last_user_text, reply_plainly

_MOST_ANSWER_LENGTH = 60


def write_json(request: ChatRequest, dice: Dice) -> str:
    """Return compact JSON text.

    Raises:
        BadRequestError: a schema that no value satisfies, or none this simulator finds.

    """
    asked = request.response_format
    if asked.kind is FormatKind.JSON_SCHEMA and asked.schema is not None:
        value = make_value(asked.schema, dice, param=asked.path)
        return orjson.dumps(value).decode()
    found = find_list(last_user_text(request))
    if found is not None:
        return orjson.dumps({found[0]: found[1]}).decode()
    answer = reply_plainly(request, dice) or "This is a simulated answer."
    return orjson.dumps({"answer": answer[:_MOST_ANSWER_LENGTH], "status": "ok"}).decode()
