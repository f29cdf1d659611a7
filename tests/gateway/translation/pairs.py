"""The dialect of a caller beside that of the upstream, and whether the answer is streamed."""

import pytest

PAIRS = pytest.mark.parametrize(
    ("dialect", "upstream"),
    [
        ("openai", "openai"),
        ("openai", "anthropic"),
        ("anthropic", "openai"),
        ("anthropic", "anthropic"),
    ],
)
ACROSS = pytest.mark.parametrize(
    ("dialect", "upstream"), [("openai", "anthropic"), ("anthropic", "openai")]
)
BOTH_WAYS = pytest.mark.parametrize("streamed", [False, True])
