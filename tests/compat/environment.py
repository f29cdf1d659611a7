"""What a program that calls us finds in its environment: an address and a key, nothing of ours."""

import os

from tests.stage import House


def client_environment(house: House, key: str, **more: str) -> dict[str, str]:
    """Return the variables that the official clients, and those built on them, look for."""
    return {
        "PATH": os.environ["PATH"],
        "OPENAI_BASE_URL": f"{house.api.url}/v1",
        "OPENAI_API_KEY": key,
        "ANTHROPIC_BASE_URL": f"{house.api.url}/anthropic",
        "ANTHROPIC_API_KEY": key,
        **more,
    }
