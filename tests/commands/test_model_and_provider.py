"""``manage provider``, ``manage model``, ``manage demo``: what can be called, who serves it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError

from accounts.models import ApiKey, AuditEvent, Organization, User
from billing.models import PriceVersion
from gateway.demo import seed_demo
from gateway.models import Deployment, ModelAlias, Provider, PublicModel
from gateway.offers import alias_model, create_model, create_provider
from tests.books import assert_proven
from tests.calls import wait_for
from tests.commands.manage import Here, Manage
from tests.factories import offer_upstream


def test_a_provider_and_its_model_are_created_and_priced(manage: Manage, here: Here) -> None:
    provider = manage(
        *("provider", "create", "--name", "acme", "--kind", "openai"),
        *("--base-url", "https://models.example/v1/", "--api-key-env", "ACME_KEY", "--json"),
        ACME_KEY="sk-very-secret",
    )
    model = manage(
        *("model", "create", "acme/small", "--provider", "acme", "--upstream-model", "s-1"),
        *("--price-input", "0.25", "--price-output", "1", "--json"),
    ).json
    priced = here(
        *("model", "price", "acme/small", "--price-input", "0.5", "--price-output", "2.125"),
        "--json",
    ).json

    assert provider.json == {
        "name": "acme",
        "kind": "openai",
        "base_url": "https://models.example/v1",
        "has_credential": True,
        "active": True,
    }
    assert "very-secret" not in provider.out
    assert b"very-secret" not in bytes(Provider.objects.get().credential or b"")
    assert model == {
        "name": "acme/small",
        "aliases": [],
        "providers": ["acme"],
        "upstream_models": ["s-1"],
        "price_input_usd": "0.25",
        "price_output_usd": "1.00",
        "callable": True,
    }
    assert priced == {**model, "price_input_usd": "0.50", "price_output_usd": "2.125"}
    assert PriceVersion.objects.count() == 2


def test_a_provider_may_speak_anthropics_messages(here: Here) -> None:
    made = here(
        *("provider", "create", "--name", "claude", "--kind", "anthropic"),
        *("--base-url", "https://api.anthropic.example", "--json"),
    ).json

    assert (made["kind"], made["base_url"]) == ("anthropic", "https://api.anthropic.example")
    assert Provider.objects.get().kind == "anthropic"


def test_a_model_without_a_price_is_listed_as_not_callable(here: Here) -> None:
    offer_upstream("http://127.0.0.1:1")

    made = here(
        *("model", "create", "bare", "--provider", "mock", "--upstream-model", "b", "--json")
    ).json
    listed = here("model", "list", "--json").json

    assert (made["callable"], made["price_input_usd"], made["price_output_usd"]) == (
        False,
        None,
        None,
    )
    assert [(model["name"], model["callable"]) for model in listed] == [
        ("bare", False),
        ("mock", True),
    ]


def test_an_alias_is_made_turned_to_another_model_and_removed(here: Here) -> None:
    offer_upstream("http://127.0.0.1:1")
    here("model", "create", "bare", "--provider", "mock", "--upstream-model", "b")

    made = here("model", "alias", "latest", "--for", "mock", "--json").json
    listed = here("model", "list", "--json").json
    turned = here("model", "alias", "latest", "--for", "bare", "--json").json
    target = ModelAlias.objects.get().public_model.name
    removed = here("model", "alias", "latest", "--remove", "--json").json

    assert made == {"alias": "latest", "model": "mock"}
    assert [model["aliases"] for model in listed] == [[], ["latest"]]
    assert (turned, target) == ({"alias": "latest", "model": "bare"}, "bare")
    assert removed == {"alias": "latest", "model": None}
    assert ModelAlias.objects.count() == 0
    told = AuditEvent.objects.filter(target="latest").order_by("pk")
    assert list(told.values_list("action", "before", "after")) == [
        ("model.alias", None, {"model": "mock"}),
        ("model.alias", {"model": "mock"}, {"model": "bare"}),
        ("model.unalias", {"model": "bare"}, None),
    ]


@pytest.mark.parametrize("table", [ModelAlias, PublicModel])
def test_the_database_lets_no_name_be_both_a_model_and_an_alias(
    database: str, table: type[ModelAlias | PublicModel]
) -> None:
    offer_upstream("http://127.0.0.1:1")
    alias_model("nickname", "mock", actor="test")
    name = "mock" if table is ModelAlias else "nickname"
    fields = {"public_model": PublicModel.objects.get()} if table is ModelAlias else {}

    with pytest.raises(IntegrityError, match="is the name of a model or alias"):
        table.objects.create(name=name, **fields)
    with pytest.raises(ValidationError):
        table(name=name, **fields).full_clean()


def test_of_two_who_take_a_name_at_once_one_gets_it(database: str) -> None:
    offer_upstream("http://127.0.0.1:1")
    model, other = (
        PublicModel.objects.get_or_create(name=name)[0].pk for name in ("mock", "other")
    )
    alias = (
        "insert into gateway_modelalias (name, public_model_id, created_at) values (%s, %s, now())"
    )
    taken = "update gateway_publicmodel set name = %s where id = %s"

    with (
        psycopg.connect(database) as first,
        psycopg.connect(database) as second,
        ThreadPoolExecutor(1) as pool,
    ):
        first.execute(alias, ("wanted", model))
        waiting = pool.submit(second.execute, taken, ("wanted", other))
        wait_for(lambda: _waits_for_a_lock(first), what="the second's wait")
        first.commit()
        with pytest.raises(psycopg.errors.UniqueViolation):
            waiting.result(timeout=20)


def _waits_for_a_lock(connection: psycopg.Connection[Any]) -> bool:
    found = connection.execute("select 1 from pg_locks where locktype = 'advisory' and not granted")
    return found.fetchone() is not None


BAD_OFFERS: list[tuple[tuple[str, ...], str]] = [
    (
        ("provider", "create", "--name", "a b", "--kind", "openai", "--base-url", "http://x"),
        "'a b' is not a provider name.",
    ),
    (
        ("provider", "create", "--name", "a", "--kind", "openai", "--base-url", "ftp://x"),
        "A base URL starts with http:// or https://.",
    ),
    (
        ("provider", "create", "--name", "mock", "--kind", "simulator"),
        "There is a provider 'mock' already.",
    ),
    (
        ("provider", "create", "--name", "a", "--kind", "simulator", "--api-key-env", "NO_VAR"),
        "The environment variable NO_VAR is not set.",
    ),
    (
        ("model", "create", "m", "--provider", "nobody", "--upstream-model", "m"),
        "There is no provider 'nobody'.",
    ),
    (
        ("model", "create", "mock", "--provider", "mock", "--upstream-model", "m"),
        "There is a model 'mock' already.",
    ),
    (
        (
            *("model", "create", "m", "--provider", "mock", "--upstream-model", "m"),
            *("--price-input", "1"),
        ),
        "Give --price-input and --price-output together.",
    ),
    (
        (
            *("model", "create", "m", "--provider", "mock", "--upstream-model", "m"),
            *("--price-input", "0", "--price-output", "0"),
        ),
        "A price must be above zero in at least one bucket; say so if the model is free.",
    ),
    (
        ("model", "create", "nickname", "--provider", "mock", "--upstream-model", "m"),
        "There is an alias 'nickname' already.",
    ),
    (("model", "alias", "a b", "--for", "mock"), "'a b' is not a model name."),
    (("model", "alias", "mock", "--for", "mock"), "There is a model 'mock' already."),
    (("model", "alias", "a", "--for", "gone"), "There is no model 'gone'."),
    (("model", "alias", "a", "--for", "nickname"), "There is no model 'nickname'."),
    (("model", "alias", "mock", "--remove"), "There is no alias 'mock'."),
    (
        ("model", "price", "gone", "--price-input", "1", "--price-output", "1"),
        "There is no model 'gone'.",
    ),
    (
        ("model", "price", "mock", "--price-input", "NaN", "--price-output", "1"),
        "'NaN' is not an amount: write dollars with at most nine decimals, for example 12.50.",
    ),
]


def test_a_bad_offer_is_one_line_and_nothing_is_made(here: Here) -> None:
    offer_upstream("http://127.0.0.1:1")
    tables = (Provider, PublicModel, ModelAlias, Deployment, PriceVersion, AuditEvent)
    here("model", "alias", "nickname", "--for", "mock")
    before = [table.objects.count() for table in tables]

    for arguments, line in BAD_OFFERS:
        assert here.refused(*arguments) == line
        assert [table.objects.count() for table in tables] == before


def test_the_demo_gives_its_secrets_once_and_makes_everything_once(
    manage: Manage, here: Here
) -> None:
    first = manage("demo", "--json").json
    counted = [table.objects.count() for table in (Organization, ApiKey, User, PriceVersion)]
    second = here("demo", "--json").json

    secrets = {"api_key", "operator_password", "member_password"}
    assert {name for name in first if second[name] != first[name]} == secrets
    assert {second[name] for name in secrets} == {None}
    assert first["org_id"] == Organization.objects.get().public_id
    assert counted == [1, 1, 2, 9]
    assert [
        table.objects.count() for table in (Organization, ApiKey, User, PriceVersion)
    ] == counted
    operator = User.objects.get(email=first["operator_email"])
    assert operator.check_password(first["operator_password"])
    assert (operator.is_staff, operator.is_superuser) == (True, True)
    assert_proven(manage.stores.database_url)


def test_the_models_for_tests_are_offered_while_the_setting_says_so(database: str) -> None:
    def offered() -> set[str]:
        models = PublicModel.objects.filter(name__startswith="hacxgpt-", active=True)
        return {model.name for model in models}

    seed_demo(test_models=False)
    assert offered() == set()
    seed_demo(test_models=True)
    assert offered() == {"hacxgpt-slow", "hacxgpt-faulty"}
    seed_demo(test_models=False)
    assert offered() == set()
    seed_demo(test_models=True)
    assert offered() == {"hacxgpt-slow", "hacxgpt-faulty"}
    assert PriceVersion.objects.filter(model="hacxgpt-slow").count() == 1
    changes = AuditEvent.objects.filter(action="model.set", target="hacxgpt-slow").order_by("pk")
    assert [event.after for event in changes] == [{"active": False}, {"active": True}]


def test_a_model_of_an_operators_own_under_such_a_name_is_left_alone(database: str) -> None:
    seed_demo(test_models=False)
    create_provider(
        "acme", kind="openai", base_url="https://api.example.com", credential=None, actor="test"
    )
    create_model("hacxgpt-slow", provider="acme", upstream_model="m", price=None, actor="test")

    seed_demo(test_models=False)

    assert PublicModel.objects.get(name="hacxgpt-slow").active


def test_a_later_demo_leaves_an_operators_prices_alone(here: Here) -> None:
    here("demo")
    here("model", "price", "hacxgpt", "--price-input", "9", "--price-output", "9")
    here("demo")

    listed = {model["name"]: model for model in here("model", "list", "--json").json}

    assert listed["hacxgpt"]["price_input_usd"] == "9.00"
