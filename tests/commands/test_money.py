"""Operators' commands for budgets, credit and prices."""

import pytest

from billing.models import Budget, CreditGrant, PriceVersion
from tests.books import assert_proven, run_tick, settlement
from tests.commands.manage import Here, Manage
from tests.factories import hold_request, make_price, make_tenant


def test_a_budget_is_made_changed_and_ended(manage: Manage, here: Here) -> None:
    acme = make_tenant()
    made = manage(
        *("budget", "create", "--org", acme.org.public_id, "--key", acme.key.public_id),
        *("--model", "gpt-4o", "--tokens", "100000", "--period", "month", "--anchor", "15"),
        *("--soft", "--alerts", "90,100", "--json"),
    ).json

    changed = here("budget", "limit", str(made["id"]), "--tokens", "5", "--json").json
    listed = here("budget", "list", "--org", acme.org.public_id, "--json").json
    ended = here("budget", "end", str(made["id"]), "--json").json

    assert made == {
        "id": Budget.objects.get().pk,
        "org": acme.org.public_id,
        "level": "key",
        "project": None,
        "key": acme.key.public_id,
        "model": "gpt-4o",
        "limit": "100000 tokens",
        "period": "month",
        "anchor": 15,
        "hard": False,
        "alerts": [90, 100],
        "active": True,
    }
    assert (changed["limit"], listed, ended["active"]) == ("5 tokens", [changed], False)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--period", "day"), "Give a limit in money or in tokens, not both."),
        (("--period", "day", "--usd", "1e3"), "'1e3' is not an amount"),
        (("--period", "day", "--usd", "-1"), "is not an amount"),
        (("--period", "hour", "--usd", "1", "--anchor", "3"), "A hour cannot begin at 3."),
        (("--period", "day", "--tokens", "0"), "'0' is not a whole number"),
        (("--period", "day", "--usd", "1", "--alerts", "x"), "'x' is not a whole number"),
        (("--period", "day", "--usd", "1", "--key", "A" * 12), "There is no key"),
    ],
)
def test_a_budget_that_cannot_be_is_one_line_and_nothing_is_made(
    here: Here, arguments: tuple[str, ...], sentence: str
) -> None:
    acme = make_tenant()

    said = here.refused("budget", "create", f"--org={acme.org.public_id}", *arguments)

    assert sentence in said
    assert Budget.objects.count() == 0


def test_credit_is_granted_listed_and_voided(manage: Manage, here: Here) -> None:
    acme = make_tenant(credit_usd="0")
    made = manage(
        *("credit", "grant", acme.org.public_id, "12.50", "--reason", "welcome", "--promotional"),
        *("--models", "gpt-4o, hacxgpt", "--expires-in", "30d", "--priority", "5", "--json"),
    ).json
    one_more = ("credit", "grant", acme.org.public_id, "1", "--reason", "r", "--key", "k", "--json")
    again = [here(*one_more).json for _ in range(2)]
    listed = here("credit", "list", "--org", acme.org.public_id, "--json").json
    voided = here(
        "credit", "void", acme.org.public_id, str(made["id"]), "--reason", "mistake", "--json"
    ).json

    assert (made["kind"], made["granted_usd"], made["models"], made["priority"]) == (
        "promotional",
        "12.500000000",
        ["gpt-4o", "hacxgpt"],
        5,
    )
    assert again[0] == again[1]
    assert [row["id"] for row in listed] == [made["id"], again[0]["id"]]
    assert (voided["remaining_usd"], voided["taken_back_usd"]) == ("0.000000000", "12.500000000")
    assert CreditGrant.objects.count() == 2
    assert_proven(manage.stores.database_url)


def test_a_price_is_previewed_over_what_was_used_and_then_published(
    manage: Manage, here: Here
) -> None:
    acme = make_tenant()
    manage("provider", "create", "--name", "s", "--kind", "simulator", "--json")
    manage("model", "create", "m", "--provider", "s", "--upstream-model", "hacxgpt", "--json")
    version, price = make_price("m", input_usd="1.00", output_usd="2.00")
    for tokens in (100, 300):
        request = hold_request(acme, version, 9_000_000)
        run_tick(manage.stores.database_url, holds=[request])
        closing = settlement(request.request_id, price, input_tokens=tokens, output_tokens=10)
        run_tick(manage.stores.database_url, closings=[closing])
    asked = ("m", "--input", "2.00", "--output", "2.00", "--tier", "input>200=5.00")

    preview = here("price", "preview", *asked, "--json").json
    nothing_yet = PriceVersion.objects.count()
    published = here("price", "set", *asked, "--json").json
    listed = here("price", "list", "m", "--json").json

    assert preview == [
        {
            "org": acme.org.public_id,
            "name": "Acme",
            "requests": 2,
            "charged_usd": "0.000440000",
            "would_be_usd": "0.001140000",
            "difference_usd": "0.000700000",
        }
    ]
    assert nothing_yet == 1
    assert published["usd_per_million"]["input"] == "2.00"
    assert published["tiers"] == {"input": [[200, "5.00"]]}
    assert [row["id"] for row in listed] == [published["id"], version.pk]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("set", "gone", "--input", "1"), "There is no model 'gone'."),
        (("set", "m"), "A price must be above zero"),
        (("set", "m", "--input", "1", "--free"), "A free model has no price"),
        (("set", "m", "--input", "1", "--tier", "input=3"), "is not a tier"),
        (("set", "m", "--input", "1", "--from", "yesterday"), "is not a time"),
        (("set", "m", "--input", "1", "--from", "2020-01-01T00:00Z"), "cannot take effect in the"),
        (("preview", "m", "--input", "1", "--days", "91"), "Preview 1 to 90 days."),
    ],
)
def test_a_price_that_cannot_be_is_one_line(
    here: Here, arguments: tuple[str, ...], sentence: str
) -> None:
    if arguments[1] == "m":
        here("provider", "create", "--name", "s", "--kind", "simulator")
        here("model", "create", "m", "--provider", "s", "--upstream-model", "hacxgpt")

    said = here.refused("price", *arguments)

    assert sentence in said
    assert PriceVersion.objects.count() == 0
