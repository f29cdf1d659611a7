"""Codes give credit as often as they say, to an organization once, and nothing to a guess."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from accounts.keys import KeySpec, mint_key
from accounts.models import AuditEvent
from billing.models import CodeFailure, CodeRedemption, CreditGrant, RedeemCode
from billing.payments.codes import CodeSpec, create_code, redeem_code
from kernel import clock
from kernel.errors import TollgateError
from tests.books import assert_proven
from tests.commands.manage import Here, here
from tests.factories import ACTOR, Tenant, make_tenant
from tests.payments.conftest import Customer

__all__ = ["here"]

DOLLAR = 1_000_000_000
DAY = timedelta(days=1)


def make(**other: Any) -> tuple[RedeemCode, str]:
    made = create_code(CodeSpec(5 * DOLLAR, "a fair", **other), actor=ACTOR)
    return made.code, made.text


def at_once(redeem: Callable[[Tenant], object], tenants: list[Tenant]) -> list[str]:
    """Redeem in as many threads, each with a connection of its own; what each came to."""

    def attempt(tenant: Tenant) -> str:
        try:
            redeem(tenant)
        except TollgateError as error:
            return str(error.code)
        else:
            return "redeemed"
        finally:
            connection.close()

    with ThreadPoolExecutor(25) as pool:
        return list(pool.map(attempt, tenants))


def test_a_code_gives_what_it_says_when_it_is_redeemed(database: str, acme: Customer) -> None:
    code, text = make(allowed_models=["m"], grant_lasts=30 * DAY)

    answer = acme.post("codes/redeem", {"code": f" {text.lower().replace('-', '')} "})

    grant = CreditGrant.objects.get()
    assert grant.expires_at is not None
    assert answer.json() == {
        "object": "credit",
        "id": grant.pk,
        "kind": "promotional",
        "amount": "5.00",
        "currency": "usd",
        "models": ["m"],
        "expires_at": int(grant.expires_at.timestamp()),
    }
    assert (grant.source, grant.granted_nanos) == ("code", 5 * DOLLAR)
    assert timedelta(days=29, hours=23) < grant.expires_at - clock.now() <= 30 * DAY
    assert acme.tenant.account.promotional_nanos == 5 * DOLLAR
    assert AuditEvent.objects.get(action="code.redeem").target == code.public_id
    assert_proven(database)


def test_a_sold_code_is_paid_credit(database: str, acme: Customer) -> None:
    _, text = make(kind="paid")

    acme.post("codes/redeem", {"code": text})

    assert acme.tenant.account.deferred_nanos == 5 * DOLLAR
    assert_proven(database)


def test_a_code_has_125_random_bits_and_its_text_is_kept_nowhere(database: str) -> None:
    texts = {make()[1] for _ in range(50)}

    assert {len(text.replace("-", "")) for text in texts} == {25}
    assert len(texts) == 50
    with connection.cursor() as cursor:
        cursor.execute("select row_to_json(c)::text from billing_redeemcode c")
        rows = str(cursor.fetchall())
        cursor.execute("select row_to_json(e)::text from accounts_auditevent e")
        rows += str(cursor.fetchall())
    assert [t for t in texts if t in rows or t.replace("-", "") in rows] == []


def test_fifty_attempts_at_once_of_one_organization_redeem_once(
    database: str, acme: Customer
) -> None:
    _, text = make(most_redemptions=50)

    said = at_once(lambda t: redeem_code(t.org, text, actor=ACTOR), [acme.tenant] * 50)

    assert sorted(said) == ["code_already_redeemed"] * 49 + ["redeemed"]
    assert acme.tenant.account.promotional_nanos == 5 * DOLLAR
    assert_proven(database)


@pytest.mark.parametrize("most", [1, 3])
def test_fifty_attempts_at_once_of_ten_organizations_redeem_as_often_as_the_code_says(
    database: str, most: int
) -> None:
    code, text = make(most_redemptions=most)
    tenants = [make_tenant(f"Acme {n}", credit_usd="0") for n in range(10)]

    said = at_once(lambda t: redeem_code(t.org, text, actor=ACTOR), tenants * 5)

    code.refresh_from_db()
    assert said.count("redeemed") == most
    assert set(said) <= {"redeemed", "code_already_redeemed", "invalid_code"}
    assert CodeRedemption.objects.count() == CreditGrant.objects.count() == code.redemptions == most
    assert sum(t.account.promotional_nanos for t in tenants) == most * 5 * DOLLAR
    assert_proven(database)


def test_unknown_used_up_expired_and_revoked_are_refused_alike(
    acme: Customer, other: Customer, here: Here
) -> None:
    _, used_text = make()
    other.post("codes/redeem", {"code": used_text})
    expired, expired_text = make(lasts=DAY)
    RedeemCode.objects.filter(pk=expired.pk).update(expires_at=clock.now())
    revoked, revoked_text = make()
    here("code", "revoke", revoked.public_id, "--reason", "leaked")

    texts = (used_text, expired_text, revoked_text, "AAAAA-AAAAA", "' or 1=1 --", "x" * 5000)
    answers = [acme.post("codes/redeem", {"code": text}) for text in texts]

    assert {(a.status_code, a.json()["error"]["code"]) for a in answers} == {(404, "invalid_code")}
    assert len({a.content for a in answers}) == 1
    assert CreditGrant.objects.filter(org=acme.tenant.org).count() == 0
    assert CodeFailure.objects.count() == len(texts)


def test_after_ten_failures_in_an_hour_even_a_good_code_waits_and_others_do_not(
    database: str, acme: Customer, other: Customer
) -> None:
    _, text = make(most_redemptions=2)

    guesses = [acme.post("codes/redeem", {"code": f"GUESS{n}"}).status_code for n in range(12)]
    good = acme.post("codes/redeem", {"code": text})
    others = other.post("codes/redeem", {"code": text})
    CodeFailure.objects.update(at=clock.now() - timedelta(minutes=61))
    later = acme.post("codes/redeem", {"code": text})

    assert guesses == [404] * 10 + [429] * 2
    assert (good.status_code, good.headers["retry-after"]) == (429, "60")
    assert good.json()["error"]["code"] == "too_many_wrong_codes"
    assert (others.status_code, later.status_code) == (200, 200)
    assert_proven(database)


def test_guesses_at_once_get_no_more_than_ten_tries(acme: Customer) -> None:
    said = at_once(lambda t: redeem_code(t.org, "WRONG", actor=ACTOR), [acme.tenant] * 40)

    assert (said.count("invalid_code"), said.count("too_many_wrong_codes")) == (10, 30)


@pytest.mark.parametrize("code", [None, "", 7, True, ["x"], {"a": 1}])
def test_what_is_no_text_is_no_code_and_no_guess(acme: Customer, code: Any) -> None:
    answer = acme.post("codes/redeem", {"code": code})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "code")
    assert CodeFailure.objects.count() == 0


def test_only_an_admin_key_redeems(acme: Customer) -> None:
    code, text = make()
    service = mint_key(acme.tenant.project, KeySpec(kind="svcacct"), actor=ACTOR).text

    said = [
        acme.post("codes/redeem", {"code": text}, key=key).status_code
        for key in (acme.tenant.key_text, service, "")
    ]

    code.refresh_from_db()
    assert (said, code.redemptions) == ([403, 403, 401], 0)


def test_operators_make_list_redeem_and_revoke_codes(database: str, here: Here) -> None:
    acme = make_tenant(credit_usd="0")
    made = here(
        *("code", "create", "12.50", "--reason", "fair", "--paid", "--models", "m, n"),
        *("--credit-lasts", "30d", "--expires-in", "7d", "--redemptions", "2", "--json"),
    ).json
    redeemed = here("code", "redeem", acme.org.public_id, made["code"], "--json").json
    listed = here("code", "list", "--json").json
    revoked = here("code", "revoke", made["id"], "--reason", "over", "--json").json

    assert (made["amount_usd"], made["kind"], made["models"]) == (
        "12.500000000",
        "paid",
        ["m", "n"],
    )
    assert (redeemed["granted_usd"], redeemed["kind"]) == ("12.500000000", "paid")
    assert (listed[0]["redeemed"], "code" in listed[0]) == ("1 of 2", False)
    assert revoked["revoked_at"] is not None
    assert [(e.actor, e.action) for e in AuditEvent.objects.filter(action__startswith="code.")] == [
        ("cli", "code.create"),
        ("cli", "code.redeem"),
        ("cli", "code.revoke"),
    ]
    assert_proven(database)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("0",), "'0' is not an amount"),
        (("-5",), "'-5' is not an amount"),
        (("1e3",), "'1e3' is not an amount"),
        (("１２",), "'１２' is not an amount"),
        (("1000.01",), "A code gives 1000.00 dollars at most; more needs a second person"),
        (("5", "--redemptions", "0"), "'0' is not a whole number"),
        (("5", "--expires-in", "soon"), "'soon' is not a duration"),
        (("5", "--reason", " "), "Say why the code is made."),
    ],
)
def test_a_code_that_cannot_be_is_one_line(
    here: Here, arguments: tuple[str, ...], sentence: str
) -> None:
    flags = (*arguments[1:], *(() if "--reason" in arguments else ("--reason", "fair")))

    assert sentence in here.refused("code", "create", *flags, "--", arguments[0])
    assert RedeemCode.objects.count() == 0
