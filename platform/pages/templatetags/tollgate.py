"""How figures are written on pages. Money never passes through a float."""

from datetime import datetime, timedelta
from typing import Any

from django import template
from django.utils import timezone

from kernel import clock
from kernel.money import render_usd, render_usd_short

register = template.Library()


@register.filter
def usd(nanos: int) -> str:
    """Write an amount for people: ``$1,234.50``; a true minus sign before the currency."""
    return _dollars(render_usd_short(nanos))


@register.filter
def usd_exact(nanos: int) -> str:
    """Write an amount to its last digit, for titles and tables that must add up."""
    return _dollars(render_usd(nanos, places=2))


@register.filter
def count(number: int) -> str:
    return f"{number:,}"


@register.filter
def duration(milliseconds: int | None) -> str:
    if milliseconds is None:
        return "\N{EN DASH}"
    if milliseconds < 1000:  # noqa: PLR2004 # a second
        return f"{milliseconds} ms"
    tenths = milliseconds // 100
    return f"{tenths // 10}.{tenths % 10} s"


@register.filter
def ago(at: datetime) -> str:
    """Say how long ago, in its largest unit."""
    passed = clock.now() - at
    for unit, length in (
        ("day", timedelta(days=1)),
        ("hour", timedelta(hours=1)),
        ("minute", timedelta(minutes=1)),
    ):
        number = passed // length
        if number >= 1:
            return f"{number} {unit}{'' if number == 1 else 's'} ago"
    return "just now"


@register.filter
def moment(at: datetime) -> str:
    """Write a time in the page's zone, without the year while it is this one."""
    local = timezone.localtime(at)
    year = "" if local.year == timezone.localtime(clock.now()).year else f" {local.year}"
    return f"{local.day} {local:%b}{year}, {local:%H:%M:%S}"


@register.filter
def day(at: datetime) -> str:
    local = timezone.localtime(at)
    return f"{local.day} {local:%b %Y}"


@register.inclusion_tag("pages/icon.html")
def icon(name: str) -> dict[str, Any]:
    return {"name": name}


def _dollars(text: str) -> str:
    sign, digits = ("\N{MINUS SIGN}", text[1:]) if text.startswith("-") else ("", text)
    whole, _, cents = digits.partition(".")
    return f"{sign}${int(whole):,}.{cents}"
