"""Runs examples in one process, each in a namespace of its own: these clients start slowly.

Reads from its input the client's package and a dictionary of code by name, and writes what each
said, and where it broke. ``client`` is there for examples that go on from one above them, an
asynchronous one where they await it. Who is asked for an input says yes.
"""

import ast
import asyncio
import contextlib
import importlib
import inspect
import io
import json
import sys
import traceback
from typing import Any

CLIENTS = {"openai": ("OpenAI", "AsyncOpenAI"), "anthropic": ("Anthropic", "AsyncAnthropic")}


def run(package: Any, name: str, source: str) -> dict[str, str]:
    clients = CLIENTS[package.__name__]
    code = compile(source, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    awaits = bool(code.co_flags & inspect.CO_COROUTINE)
    space: dict[str, Any] = {"__name__": "__main__", "__file__": name}
    sys.stdin = io.StringIO("y\n")
    said = io.StringIO()
    broke = ""
    with contextlib.redirect_stdout(said):
        try:
            space["client"] = getattr(package, clients[awaits])()
            begun = eval(code, space)  # noqa: S307 # what the package's own README says
            if awaits:
                asyncio.run(begun)
        except Exception:  # noqa: BLE001 # told by the test
            broke = traceback.format_exc()
    return {"said": said.getvalue(), "broke": broke}


def main() -> None:
    package, examples = json.load(sys.stdin)
    client = importlib.import_module(package)
    ran = {name: run(client, name, source) for name, source in examples.items()}
    json.dump(ran, sys.stdout)


if __name__ == "__main__":
    main()
