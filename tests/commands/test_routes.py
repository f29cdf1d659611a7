"""``manage model route``, ``manage provider set|list``: who serves what, and how that stands."""

from dataclasses import replace

import pytest
import redis

from accounts.models import AuditEvent
from gateway.models import Deployment, Provider, PublicModel
from gateway.offers import create_provider
from gateway.routing.hints import circuit_key
from tests.commands.manage import Here, Manage
from tests.factories import offer_upstream

FIRST_TIMES = {"connect_timeout_s": 5, "first_token_timeout_s": 60, "stall_timeout_s": 30}
LATER_TIMES = {"connect_timeout_s": 2, "first_token_timeout_s": 90, "stall_timeout_s": 45}


def offer() -> None:
    """``mock`` is served by ``mock`` as ``up-1``; ``spare`` serves nothing."""
    offer_upstream("http://127.0.0.1:1")
    create_provider("spare", kind="simulator", base_url="", credential=None, actor="test")


def route(*flags: str) -> tuple[str, ...]:
    return (
        *("model", "route", "mock", "--provider", "spare", "--upstream-model", "s/1"),
        *flags,
        "--json",
    )


def test_a_model_is_routed_to_a_second_provider_changed_there_and_taken_away(here: Here) -> None:
    offer()
    place = {"model": "mock", "provider": "spare", "upstream_model": "s/1"}

    made = here(*route("--priority", "2")).json
    changed = here(*route("--weight", "5")).json
    drained = here(*route("--inactive")).json
    shown = here(*route()).json
    active_again = here(*route("--active")).json["active"]
    removed = here(*route("--remove")).json

    terms = {"priority": 2, "weight": 1, "limit_field": "auto", "active": True}
    assert made == {**place, **terms}
    assert changed == {**made, "weight": 5}
    assert drained == shown == {**changed, "active": False}
    assert active_again is True
    assert removed == {**place, "served": False}
    assert [each.upstream_model for each in Deployment.objects.all()] == ["up-1"]
    events = AuditEvent.objects.filter(target="mock", action__contains="route").order_by("pk")
    assert [(e.action, e.before, e.after) for e in events][:2] == [
        ("model.route", None, {"provider": "spare", "upstream_model": "s/1", "priority": 2}),
        ("model.route", {"weight": 1}, {"provider": "spare", "upstream_model": "s/1", "weight": 5}),
    ]
    assert [e.action for e in events] == ["model.route"] * 4 + ["model.unroute"]


def test_the_name_of_the_limit_is_said_and_left_to_the_caller_again(here: Here) -> None:
    offer()

    said = here(*route("--limit-field", "max_completion_tokens")).json
    kept = Deployment.objects.get(upstream_model="s/1").limit_field
    left = here(*route("--limit-field", "auto")).json

    assert said["limit_field"] == kept == "max_completion_tokens"
    assert left["limit_field"] == "auto"
    assert Deployment.objects.get(upstream_model="s/1").limit_field == ""
    assert here(*route("--limit-field", "max_output_tokens")).code == 2


def test_a_model_is_marked_to_think_unseen_and_shown_where_nothing_is_given(here: Here) -> None:
    offer()

    marked = here("model", "set", "mock", "--thinks-unseen", "--json").json
    shown = here("model", "set", "mock", "--json").json
    openly = here("model", "set", "mock", "--thinks-openly", "--json").json

    assert marked == shown == {**openly, "thinks_unseen": True}
    assert (openly["name"], openly["thinks_unseen"]) == ("mock", False)
    assert here.refused("model", "set", "gone", "--thinks-unseen") == "There is no model 'gone'."
    events = AuditEvent.objects.filter(action="model.set").order_by("pk")
    assert [(event.target, event.before, event.after) for event in events] == [
        ("mock", {"thinks_unseen": False}, {"thinks_unseen": True}),
        ("mock", {"thinks_unseen": True}, {"thinks_unseen": False}),
    ]


def test_a_model_says_how_much_its_providers_count_for_a_picture(here: Here) -> None:
    offer()

    at_first = here("model", "set", "mock", "--json").json["picture_tokens"]
    said = here("model", "set", "mock", "--picture-tokens", "48169", "--json").json

    assert (at_first, said["picture_tokens"]) == (4_784, 48_169)
    assert PublicModel.objects.get(name="mock").picture_tokens == 48_169
    for wrong in ("0", "-1", "1e3", "１", "1000001"):
        assert here("model", "set", "mock", f"--picture-tokens={wrong}").code != 0


@pytest.mark.parametrize("flag", ["--context-tokens", "--max-output-tokens"])
def test_a_models_limits_of_tokens_are_set(here: Here, flag: str) -> None:
    offer()
    column = flag.removeprefix("--").replace("-", "_")

    said = here("model", "set", "mock", flag, "64000", "--json").json

    assert said[column] == getattr(PublicModel.objects.get(name="mock"), column) == 64_000
    for wrong in ("0", "-1", "many", "1000000000"):
        assert here("model", "set", "mock", f"{flag}={wrong}").code != 0


def test_a_provider_is_changed_in_what_is_given_and_shown_where_nothing_is(here: Here) -> None:
    offer()

    changed = here(
        *("provider", "set", "mock", "--concurrency", "8", "--connect-timeout", "2"),
        *("--first-token-timeout", "90", "--stall-timeout", "45", "--inactive", "--json"),
    ).json
    shown = here("provider", "set", "mock", "--json").json
    freed = here("provider", "set", "mock", "--concurrency", "none", "--active", "--json").json

    assert changed == shown
    assert changed == {
        "name": "mock",
        "kind": "openai",
        "base_url": "http://127.0.0.1:1/v1",
        "has_credential": True,
        "active": False,
        "concurrency": 8,
        "connect_timeout_s": 2,
        "read_timeout_s": 60,
        "first_token_timeout_s": 90,
        "stall_timeout_s": 45,
        "total_timeout_s": 600,
    }
    assert (freed["concurrency"], freed["active"]) == (None, True)
    events = AuditEvent.objects.filter(action="provider.set").order_by("pk")
    assert [(event.before, event.after) for event in events] == [
        (
            {**FIRST_TIMES, "concurrency": None, "active": True},
            {**LATER_TIMES, "concurrency": 8, "active": False},
        ),
        ({"concurrency": 8, "active": False}, {"concurrency": None, "active": True}),
    ]


def test_a_provider_of_anthropics_dialect_has_its_version(here: Here) -> None:
    url = "https://claude.example"
    create_provider("claude", kind="anthropic", base_url=url, credential=None, actor="test")

    at_first = here("provider", "set", "claude", "--json").json
    later = here("provider", "set", "claude", "--anthropic-version", "2026-10-21", "--json").json

    assert at_first["anthropic_version"] == "2023-06-01"
    assert later == {**at_first, "anthropic_version": "2026-10-21"}
    assert here("provider", "set", "claude", "--anthropic-version", "2024").code == 2


def test_the_list_shows_what_each_provider_serves_and_how_that_stands(
    manage: Manage, here: Here
) -> None:
    offer()
    here(*route("--priority", "1", "--weight", "3"))
    here("model", "create", "drained", "--provider", "mock", "--upstream-model", "up-2")
    here(
        *("model", "route", "drained", "--provider", "mock", "--upstream-model", "up-2"),
        "--inactive",
    )
    here("provider", "set", "mock", "--concurrency", "8")
    create_provider("idle", kind="simulator", base_url="", credential=None, actor="test")
    with redis.Redis.from_url(manage.stores.redis_url) as client:
        client.set(circuit_key("mock", "up-1"), "open", px=40_000)

    rows = manage("provider", "list", "--json").json
    table = manage("provider", "list")

    terms = ("name", "concurrency", "model", "upstream_model", "priority", "weight", "circuit")
    listed = [tuple(row[name] for name in terms) for row in rows]
    assert listed[0] == ("mock", 8, "drained", "up-2", 0, 1, "inactive")
    assert listed[1][:-1] == ("mock", 8, "mock", "up-1", 0, 1)
    assert listed[1][-1] in {f"open for {seconds} s" for seconds in range(1, 41)}
    assert listed[2:] == [
        ("spare", None, "mock", "s/1", 1, 3, "closed"),
        ("idle", None, None, None, None, None, None),
    ]
    assert (table.code, table.out.count("\n")) == (0, 5)


def test_without_redis_how_circuits_stand_is_unknown(manage: Manage) -> None:
    offer()

    alone = replace(manage, stores=replace(manage.stores, redis_url="redis://127.0.0.1:1/0"))
    rows = alone("provider", "list", "--json").json

    assert [row["circuit"] for row in rows] == ["unknown", None]


BAD_CHANGES: list[tuple[tuple[str, ...], str]] = [
    (
        ("model", "route", "gone", "--provider", "mock", "--upstream-model", "u"),
        "There is no model 'gone'.",
    ),
    (
        ("model", "route", "mock", "--provider", "gone", "--upstream-model", "u"),
        "There is no provider 'gone'.",
    ),
    (
        ("model", "route", "mock", "--provider", "mock", "--upstream-model", ""),
        "An upstream model's name has 1 to 200 characters.",
    ),
    (
        ("model", "route", "mock", "--provider", "mock", "--upstream-model", "u", "--remove"),
        "'mock' is not served by 'mock' as 'u'.",
    ),
    (
        ("model", "route", "mock", "--provider", "mock", "--upstream-model", "u", "--weight", "0"),
        "'0' is not a whole number from 1 to 32767.",
    ),
    (
        (
            *("model", "route", "mock", "--provider", "mock", "--upstream-model", "u"),
            *("--priority", "-1"),
        ),
        "'-1' is not a whole number from 0 to 32767.",
    ),
    (("provider", "set", "gone"), "There is no provider 'gone'."),
    (
        ("provider", "set", "mock", "--concurrency", "0"),
        "'0' is not a whole number from 1 to 1000000000.",
    ),
    (
        ("provider", "set", "mock", "--total-timeout", "none"),
        "'none' is not a whole number from 1 to 86400.",
    ),
]


def test_a_bad_change_is_one_line_and_nothing_changes(here: Here) -> None:
    offer()
    tables = (Deployment, Provider, AuditEvent)
    before = [list(table.objects.order_by("pk").values()) for table in tables]

    for arguments, line in BAD_CHANGES:
        assert here.refused(*arguments) == line
        assert [list(table.objects.order_by("pk").values()) for table in tables] == before
