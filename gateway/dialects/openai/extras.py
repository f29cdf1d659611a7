"""Fields of chat completions that not every upstream can be told; most are left alone.

Every multiplier of cost is in the hold or refused: what a provider bills beside its tokens, or at
another price, goes to none. Unknown fields are not looked at: servers of this dialect have many.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gateway.chat import Extra

_SAME: Mapping[str, Mapping[str, Any]] = MappingProxyType({"openai": {}})
_UNPRICED: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
_TIERS = ("auto", "default", "flex")
_FIELDS: Mapping[str, tuple[str, Mapping[str, Mapping[str, Any]]]] = MappingProxyType(
    {
        "verbosity": ("A verbosity", _SAME),
        # billed by the token that was wrong, by the search, by the source, by the try
        "prediction": ("A prediction", _UNPRICED),
        "web_search_options": ("A web search", _UNPRICED),
        "search_parameters": ("A web search", _UNPRICED),
        "enable_search": ("A web search", _UNPRICED),
        "search_settings": ("A web search", _UNPRICED),
        "plugins": ("A plugin", _UNPRICED),
        # other hosts and models than those that are priced
        "provider": ("A choice of hosts", _UNPRICED),
        "fallbacks": ("A list of other models", _UNPRICED),
        "audio": ("A spoken answer", _UNPRICED),
        "best_of": ("The best of several answers", _UNPRICED),
    }
)
_LOOKED_AT = frozenset({*_FIELDS, "service_tier"})


def find_extras(wire: Mapping[str, Any]) -> tuple[Extra, ...]:
    """Return those of a checked body; ``null`` and ``false`` ask for nothing."""
    if _LOOKED_AT.isdisjoint(wire):
        return ()
    found = [
        Extra(name, what, said)
        for name, (what, said) in _FIELDS.items()
        if wire.get(name) not in (None, False)
    ]
    tier = wire.get("service_tier")
    if tier is not None and is_dear(tier):
        found.append(dear_tier(tier))
    return tuple(found)


def is_dear(tier: str) -> bool:
    """Tell whether a service tier may cost more than the price says."""
    return tier not in _TIERS


def dear_tier(tier: str) -> Extra:
    return Extra("service_tier", f"The service tier '{tier[:60]}'", _UNPRICED)
