"""Usage and costs as customers ask for them: buckets of time, groups, filters and pages.

Buckets are whole minutes, hours or days of UTC: a range that begins or ends within one takes in all
of it, and every bucket says which time it covers. A page's cursor is where its first bucket begins,
so that pages neither overlap nor leave anything out while usage goes on.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from billing.rollups import UsageFilter, UsageSum, read_usage
from kernel import clock
from kernel.errors import BadRequestError

MOST_SUMS = 10_000
MOST_NAMES = 200
Parameters = Mapping[str, Sequence[str]]
_SECONDS = re.compile(r"\d{1,11}", re.ASCII)
_COUNT = re.compile(r"\d{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Width:
    """A bucket's width, and how many a page has: when nothing is said, and at most."""

    seconds: int
    usual: int
    most: int


@dataclass(frozen=True, slots=True)
class Form:
    """What one kind of report knows: widths, groups by their wire names, filters, what it lacks."""

    widths: Mapping[str, Width]
    groups: Mapping[str, str]
    models: str
    lacking: tuple[str, ...]


USAGE = Form(
    {"1m": Width(60, 60, 1440), "1h": Width(3600, 24, 168), "1d": Width(86_400, 7, 31)},
    {"project_id": "project", "api_key_id": "key", "model": "model"},
    "models",
    ("user_ids", "batch"),
)
# a line of costs is a model
COSTS = Form(
    {"1d": Width(86_400, 7, 180)},
    {"project_id": "project", "api_key_id": "key", "line_item": "model"},
    "line_items",
    ("user_ids",),
)


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Buckets from ``first_s`` on, ``count`` of them, before ``end_s``; all on whole buckets."""

    first_s: int
    end_s: int
    width_s: int
    count: int
    by: frozenset[str]
    projects: tuple[str, ...] | None
    keys: tuple[str, ...] | None
    models: tuple[str, ...] | None

    @property
    def page_end_s(self) -> int:
        return max(self.first_s, min(self.end_s, self.first_s + self.count * self.width_s))


@dataclass(frozen=True, slots=True)
class Bucket:
    """``sums`` is empty where nothing was used."""

    start_s: int
    end_s: int
    sums: Sequence[UsageSum]


@dataclass(frozen=True, slots=True)
class UsagePage:
    buckets: Sequence[Bucket]
    next_page: str | None
    by: frozenset[str]


def parse_query(parameters: Parameters, form: Form) -> UsageQuery:
    """Read a query string's values by name.

    Raises:
        BadRequestError: with the parameter's name.

    """
    for name in form.lacking:
        if _find_list(parameters, name) is not None:
            raise BadRequestError(
                f"{name} is not supported here.", code="unsupported_parameter", param=name
            )
    named = _find_one(parameters, "bucket_width")
    width = form.widths.get("1d" if named is None else named)
    if width is None:
        raise _invalid("bucket_width", f"one of {', '.join(form.widths)}")
    start_s = _read_start(parameters) // width.seconds * width.seconds
    end_s = _read_end(parameters, width.seconds)
    if end_s is not None and end_s <= start_s:
        raise _invalid("end_time", "a time after start_time")
    this_s = clock.now_s() // width.seconds * width.seconds + width.seconds
    end_s = this_s if end_s is None else min(end_s, this_s)
    return UsageQuery(
        _read_page(parameters, start_s, end_s, width.seconds),
        end_s,
        width.seconds,
        _read_limit(parameters, width),
        _read_groups(parameters, form.groups),
        _find_list(parameters, "project_ids"),
        _find_list(parameters, "api_key_ids"),
        _find_list(parameters, form.models),
    )


def read_page(org_id: int, query: UsageQuery) -> UsagePage:
    """Read one page.

    Raises:
        BadRequestError: more sums than one answer may carry.

    """
    sums = read_usage(
        UsageFilter(
            org_id,
            _at(query.first_s),
            _at(query.page_end_s),
            query.width_s,
            query.by,
            query.projects,
            query.keys,
            query.models,
        ),
        most=MOST_SUMS + 1,
    )
    if len(sums) > MOST_SUMS:
        raise BadRequestError(
            f"The answer would have more than {MOST_SUMS} results; ask for fewer buckets.",
            param="limit",
        )
    by_bucket: dict[int, list[UsageSum]] = {}
    for each in sums:
        by_bucket.setdefault(int(each.bucket_at.timestamp()), []).append(each)
    starts = range(query.first_s, query.page_end_s, query.width_s)
    return UsagePage(
        [Bucket(at_s, at_s + query.width_s, by_bucket.get(at_s, [])) for at_s in starts],
        f"page_{query.page_end_s}" if query.page_end_s < query.end_s else None,
        query.by,
    )


def _read_start(parameters: Parameters) -> int:
    text = _find_one(parameters, "start_time")
    if text is None:
        raise BadRequestError(
            "Give start_time in Unix seconds.",
            code="missing_required_parameter",
            param="start_time",
        )
    return _seconds("start_time", text)


def _read_end(parameters: Parameters, width_s: int) -> int | None:
    text = _find_one(parameters, "end_time")
    return None if text is None else -(-_seconds("end_time", text) // width_s) * width_s


def _read_page(parameters: Parameters, start_s: int, end_s: int, width_s: int) -> int:
    text = _find_one(parameters, "page")
    if text is None:
        return start_s
    digits = text.removeprefix("page_")
    if digits == text or _SECONDS.fullmatch(digits) is None:
        raise _invalid("page", "the next_page of an answer")
    first_s = int(digits)
    if first_s % width_s or not start_s <= first_s <= end_s:
        raise _invalid("page", "the next_page of an answer to the same query")
    return first_s


def _read_limit(parameters: Parameters, width: Width) -> int:
    text = _find_one(parameters, "limit")
    if text is None:
        return width.usual
    if _COUNT.fullmatch(text) is None or not 1 <= int(text) <= width.most:
        raise _invalid("limit", f"a whole number from 1 to {width.most}")
    return int(text)


def _read_groups(parameters: Parameters, groups: Mapping[str, str]) -> frozenset[str]:
    names = _find_list(parameters, "group_by") or ()
    for name in names:
        if name not in groups:
            raise _invalid("group_by", f"any of {', '.join(groups)}")
    return frozenset(groups[name] for name in names)


def _find_one(parameters: Parameters, name: str) -> str | None:
    values = parameters.get(name)
    return values[-1] if values else None


def _find_list(parameters: Parameters, name: str) -> tuple[str, ...] | None:
    """Return a list's values: ``name[]=a&name[]=b`` as the SDKs write it, or ``name=a&name=b``."""
    values = (*parameters.get(f"{name}[]", ()), *parameters.get(name, ()))
    if len(values) > MOST_NAMES:
        raise _invalid(name, f"at most {MOST_NAMES} names")
    return values or None


def _seconds(name: str, text: str) -> int:
    if _SECONDS.fullmatch(text) is None:
        raise _invalid(name, "a time in whole Unix seconds")
    return int(text)


def _invalid(name: str, wanted: str) -> BadRequestError:
    return BadRequestError(f"Invalid {name}: give {wanted}.", param=name)


def _at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
