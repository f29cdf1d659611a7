"""LiteLLM as a library, as its users use it. Run by the Python of ``.venv-clients``.

``python litellm_scenes.py openai|anthropic`` prints what each scene returned, as JSON.
"""

import json
import os
import sys
from typing import Any

import litellm
from pydantic import BaseModel, Field

ASKED: dict[str, dict[str, Any]] = {
    "openai": {
        "api_base": os.environ["OPENAI_BASE_URL"],
        "api_key": os.environ["OPENAI_API_KEY"],
        "num_retries": 0,
    },
    "anthropic": {
        "api_base": os.environ["ANTHROPIC_BASE_URL"],
        "api_key": os.environ["ANTHROPIC_API_KEY"],
        "max_tokens": 1024,
        "num_retries": 0,
    },
}
STORY = [{"role": "user", "content": "Tell me a story"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get current weather",
        "parameters": {
            "type": "object",
            "properties": {"location": {"type": "string"}},
            "required": ["location"],
        },
    },
}
dialect = sys.argv[1]
litellm.suppress_debug_info = True  # it prints advice beside what is asked for


class City(BaseModel):
    """A city."""

    city: str
    people: int = Field(ge=1)


def complete(messages: Any, *, model: str = "hacxgpt", **fields: Any) -> Any:
    model = f"{dialect}/{model}"
    return litellm.completion(model=model, messages=messages, **ASKED[dialect], **fields)


def text() -> Any:
    answer = complete(
        [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "What is the capital of France?"},
        ]
    )
    usage = answer.usage
    return {
        "text": answer.choices[0].message.content,
        "input": usage.prompt_tokens,
        "output": usage.completion_tokens,
    }


def streamed() -> Any:
    chunks = list(complete(STORY, stream=True, stream_options={"include_usage": True}))
    usage = chunks[-1].usage
    return {
        "pieces": [
            piece for chunk in chunks if chunk.choices and (piece := chunk.choices[0].delta.content)
        ],
        "input": usage.prompt_tokens,
        "output": usage.completion_tokens,
    }


def tools() -> Any:
    messages: list[Any] = [{"role": "user", "content": "What is the weather in Oslo?"}]
    message = complete(messages, tools=[WEATHER]).choices[0].message
    messages.append(message.model_dump(exclude_none=True))
    messages.extend(
        {"role": "tool", "tool_call_id": call.id, "content": "snow"} for call in message.tool_calls
    )
    answered = complete(messages, tools=[WEATHER])
    return {
        "calls": [
            (call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls
        ],
        "text": answered.choices[0].message.content,
    }


def form() -> Any:
    question = [{"role": "user", "content": "Describe a city."}]
    return json.loads(complete(question, response_format=City).choices[0].message.content)


def refusal() -> Any:
    try:
        complete(STORY, model="nope")
    except Exception as error:  # noqa: BLE001 # the class is what is asked about
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return {"kinds": kinds, "status": getattr(error, "status_code", None)}
    return None


def embeddings() -> Any:
    answer = litellm.embedding(
        model="openai/text-embedding-3-small",
        input=["Hello", "Hello again"],
        dimensions=8,
        api_base=ASKED["openai"]["api_base"],
        api_key=ASKED["openai"]["api_key"],
    )
    return [len(vector["embedding"]) for vector in answer.data]


SCENES = [text, streamed, tools, form, refusal, embeddings]

if __name__ == "__main__":
    sys.stdout.write(json.dumps({scene.__name__: scene() for scene in SCENES}))
