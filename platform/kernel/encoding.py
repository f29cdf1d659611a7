"""JSON out: the fast encoder, and the patient one for what the fast one refuses."""

import json
from typing import Any

import orjson


def dump_json(value: Any) -> bytes:
    """Return compact JSON. Integers beyond 64 bits, which orjson refuses, are written in full."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":"), default=str).encode()
