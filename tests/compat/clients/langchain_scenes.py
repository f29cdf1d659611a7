"""LangChain's chat models, as their users use them. Run by the Python of ``.venv-clients``.

``python langchain_scenes.py chat|responses|messages`` prints what each scene returned, as JSON.
"""

import json
import os
import sys
from typing import Any

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, Field

OPENAI: dict[str, Any] = {"base_url": os.environ["OPENAI_BASE_URL"], "max_retries": 0}
ANTHROPIC: dict[str, Any] = {"base_url": os.environ["ANTHROPIC_BASE_URL"], "max_retries": 0}
WAYS = {
    "chat": lambda model: ChatOpenAI(model=model, stream_usage=True, **OPENAI),
    "responses": lambda model: ChatOpenAI(model=model, use_responses_api=True, **OPENAI),
    "messages": lambda model: ChatAnthropic(model=model, max_tokens=1024, **ANTHROPIC),
}


class City(BaseModel):
    """A city."""

    city: str
    people: int = Field(ge=1)


@tool  # type: ignore[untyped-decorator] # LangChain is not in the environment that is typed
def get_weather(location: str) -> str:
    """Get current weather."""
    return "snow"


def text(chat: Any) -> Any:
    answer = chat.invoke(
        [("system", "You are a helpful assistant."), ("human", "What is the capital of France?")]
    )
    usage = answer.usage_metadata
    return {"text": answer.text, "input": usage["input_tokens"], "output": usage["output_tokens"]}


def streamed(chat: Any) -> Any:
    chunks = list(chat.stream("Tell me a story"))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    pieces = [chunk.text for chunk in chunks if chunk.text]
    usage = whole.usage_metadata
    return {"pieces": pieces, "input": usage["input_tokens"], "output": usage["output_tokens"]}


def tools(chat: Any) -> Any:
    able = chat.bind_tools([get_weather])
    question = HumanMessage("What is the weather in Oslo?")
    called = able.invoke([question])
    results = [
        ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])
        for call in called.tool_calls
    ]
    answered = able.invoke([question, called, *results])
    return {
        "calls": [(call["name"], call["args"]) for call in called.tool_calls],
        "text": answered.text,
    }


def form(chat: Any) -> Any:
    return chat.with_structured_output(City).invoke("Describe a city.").model_dump()


def refusal(chat: Any) -> Any:
    try:
        chat.model_copy(update={"model_name": "nope", "model": "nope"}).invoke("Hello")
    except Exception as error:  # noqa: BLE001 # the class is what is asked about
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return {"kinds": kinds, "status": getattr(error, "status_code", None)}
    return None


def embeddings(_chat: Any) -> Any:
    # Counting tokens would fetch a table from the network.
    embedder = OpenAIEmbeddings(
        model="text-embedding-3-small", dimensions=8, check_embedding_ctx_length=False, **OPENAI
    )
    return [len(vector) for vector in embedder.embed_documents(["Hello", "Hello again"])]


SCENES = [text, streamed, tools, form, refusal, embeddings]

if __name__ == "__main__":
    opened = WAYS[sys.argv[1]]("hacxgpt")
    sys.stdout.write(json.dumps({scene.__name__: scene(opened) for scene in SCENES}))
