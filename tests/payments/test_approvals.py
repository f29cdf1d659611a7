"""Credit by hand above the operator's bound waits for a second person, and is then given once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, User
from billing.grants import GrantSpec
from billing.models import Approval, CreditGrant, LedgerTransaction
from billing.payments.approvals import approve, give_credit
from kernel import clock
from kernel.errors import TollgateError
from tests.books import assert_proven
from tests.commands.manage import Here, here
from tests.factories import Tenant, make_tenant

__all__ = ["here"]

DOLLAR = 1_000_000_000
ALICE, CAROL, DAVE = "alice@example.com", "carol@example.com", "dave@example.com"


@pytest.fixture
def acme(database: str) -> Tenant:
    """Acme without credit. Carol and Dave are operators; Alice owns Acme and is none."""
    User.objects.create_user(ALICE)
    for email in (CAROL, DAVE):
        User.objects.create_superuser(email)
    return make_tenant(credit_usd="0")


def operator(email: str) -> User:
    return User.objects.get(email=email)


def ask(acme: Tenant, *, actor: str = CAROL, nanos: int = 1_001 * DOLLAR) -> Approval:
    given = give_credit(acme.org, GrantSpec(nanos, "transfer 4711", "k"), actor=actor)
    assert isinstance(given, Approval)
    return given


def nothing_moved(acme: Tenant) -> bool:
    return (
        CreditGrant.objects.count() == LedgerTransaction.objects.count() == 0
        and acme.account.deferred_nanos == 0
    )


def test_credit_up_to_the_bound_is_given_at_once(database: str, acme: Tenant, here: Here) -> None:
    given = here("org", "credit", acme.org.public_id, "1000", "--reason", "r", "--json").json

    assert "transaction" in given
    assert acme.account.deferred_nanos == 1_000 * DOLLAR
    assert Approval.objects.count() == 0
    assert_proven(database)


@pytest.mark.parametrize(
    "command",
    [
        ("org", "credit", "{org}", "1000.01", "--reason", "r"),
        ("credit", "grant", "{org}", "1000.01", "--reason", "r"),
        ("credit", "grant", "{org}", "1000.01", "--reason", "r", "--promotional"),
        ("org", "create", "Acme West", "--credit", "1000.01"),
    ],
)
def test_above_it_every_door_waits_and_nothing_moves(
    acme: Tenant, here: Here, command: tuple[str, ...]
) -> None:
    said = here(*(word.format(org=acme.org.public_id) for word in command), "--json").json

    approval = Approval.objects.get()
    assert said["approval"] == approval.public_id
    assert (approval.kind, approval.state, approval.requested_by) == ("credit", "pending", "cli")
    lasts = approval.expires_at - clock.now()
    assert timedelta(days=6, hours=23) < lasts <= timedelta(days=7)
    assert nothing_moved(acme)


def test_where_the_bound_is_zero_nothing_ever_waits(
    acme: Tenant, here: Here, settings: Any
) -> None:
    settings.CREDIT_APPROVAL_NANOS = 0

    here("org", "credit", acme.org.public_id, "5000000", "--reason", "r")

    assert acme.account.deferred_nanos == 5_000_000 * DOLLAR


def test_another_operator_approves_and_both_names_are_in_the_audit_trail(
    database: str, acme: Tenant, here: Here
) -> None:
    asked = here(
        *("credit", "grant", acme.org.public_id, "2000", "--reason", "transfer 4711"),
        *("--models", "m,n", "--expires-in", "30d", "--priority", "5", "--as", CAROL, "--json"),
    ).json
    listed = here("approval", "list", "--json").json

    done = here("approval", "approve", asked["approval"], "--as", DAVE, "--json").json

    grant = CreditGrant.objects.get()
    assert [row["approval"] for row in listed] == [asked["approval"]]
    assert (done["state"], done["requested_by"], done["decided_by"]) == ("approved", CAROL, DAVE)
    assert (grant.granted_nanos, grant.created_by, grant.priority) == (2_000 * DOLLAR, CAROL, 5)
    assert (grant.allowed_models, grant.reason) == (["m", "n"], "transfer 4711")
    assert grant.expires_at is not None
    added = AuditEvent.objects.get(action="credit.add")
    assert (added.actor, added.after) == (
        CAROL,
        {
            "amount_usd": "2000.000000000",
            "kind": "paid",
            "reason": "transfer 4711",
            "approved_by": DAVE,
        },
    )
    assert AuditEvent.objects.get(action="approval.approve").actor == DAVE
    assert here("approval", "list", "--json").json == []
    assert_proven(database)


def test_what_the_command_line_asked_for_any_operator_may_approve(
    database: str, acme: Tenant, here: Here
) -> None:
    approval = ask(acme, actor="cli")

    here("approval", "approve", approval.public_id, "--as", CAROL)

    assert acme.account.deferred_nanos == 1_001 * DOLLAR
    assert_proven(database)


@pytest.mark.parametrize(
    ("email", "sentence"),
    [
        (CAROL, "Another person than who asked must decide."),
        (CAROL.upper(), "Another person than who asked must decide."),
        (ALICE, f"There is no operator '{ALICE}'."),
        ("nobody@example.com", "There is no operator 'nobody@example.com'."),
        ("cli", "There is no operator 'cli'."),
    ],
)
def test_nobody_else_may_decide(acme: Tenant, here: Here, email: str, sentence: str) -> None:
    approval = ask(acme)

    for verb in (("approve",), ("reject", "--reason", "no")):
        said = here.refused("approval", verb[0], approval.public_id, *verb[1:], "--as", email)
        assert said == sentence
    approval.refresh_from_db()
    assert approval.state == "pending"
    assert nothing_moved(acme)


def test_an_operator_who_has_left_neither_asks_nor_decides(acme: Tenant, here: Here) -> None:
    approval = ask(acme)
    User.objects.filter(email=DAVE).update(is_active=False)

    decided = here.refused("approval", "approve", approval.public_id, "--as", DAVE)
    asked = here.refused("org", "credit", acme.org.public_id, "1", "--reason", "r", "--as", DAVE)

    assert decided == asked == f"There is no operator '{DAVE}'."
    assert nothing_moved(acme)


def test_what_was_decided_or_is_over_cannot_be_decided_again(acme: Tenant, here: Here) -> None:
    rejected, late = ask(acme), ask(acme)
    here("approval", "reject", rejected.public_id, "--as", DAVE, "--reason", "not ours")
    Approval.objects.filter(pk=late.pk).update(expires_at=clock.now())

    again = here.refused("approval", "approve", rejected.public_id, "--as", DAVE)
    over = here.refused("approval", "approve", late.public_id, "--as", DAVE)
    unknown = here.refused("approval", "approve", "appr_x", "--as", DAVE)
    silent = here.refused("approval", "reject", late.public_id, "--as", DAVE, "--reason", " ")

    assert again == f"{rejected.public_id} was rejected by {DAVE} already."
    assert over == f"{late.public_id} is over; ask for it again."
    assert unknown == "There is no approval 'appr_x'."
    assert silent == "Say why it is rejected."
    assert AuditEvent.objects.get(action="approval.reject").after == {
        "summary": rejected.summary,
        "requested_by": CAROL,
        "reason": "not ours",
    }
    assert nothing_moved(acme)


def test_twenty_approvals_at_once_give_the_credit_once(database: str, acme: Tenant) -> None:
    approval, dave = ask(acme), operator(DAVE)

    def attempt(_: int) -> str:
        try:
            return approve(approval.public_id, approver=dave).state
        except TollgateError as error:
            return str(error.code)
        finally:
            connection.close()

    with ThreadPoolExecutor(20) as pool:
        said = list(pool.map(attempt, range(20)))

    assert sorted(said) == ["approved"] + ["decided"] * 19
    assert acme.account.deferred_nanos == 1_001 * DOLLAR
    assert_proven(database)


def test_bad_credit_is_refused_before_anybody_is_asked(acme: Tenant, here: Here) -> None:
    for arguments in (("-5000", "r"), ("1e9", "r"), ("１２００", "r"), ("5000", " ")):
        here.refused(
            *("org", "credit", "--reason", arguments[1], "--", acme.org.public_id, arguments[0])
        )

    assert Approval.objects.count() == 0
    assert nothing_moved(acme)


def decide_in_administration(email: str, approval: Approval, **fields: str) -> str:
    client = Client()
    client.force_login(operator(email))
    answer = client.post(
        reverse("admin:billing_approval_changelist"),
        {"_selected_action": [approval.pk], **fields},
        follow=True,
    )
    return answer.content.decode()


def test_operators_decide_in_the_administration_too(database: str, acme: Tenant) -> None:
    mine, theirs, unwanted = ask(acme), ask(acme), ask(acme)

    own = decide_in_administration(CAROL, mine, action="approve_chosen")
    before = nothing_moved(acme)
    silent = decide_in_administration(DAVE, unwanted, action="reject_chosen")
    decide_in_administration(DAVE, unwanted, action="reject_chosen", reason="twice")
    decide_in_administration(DAVE, theirs, action="approve_chosen")

    assert "Another person than who asked must decide." in own
    assert "Say why it is rejected." in silent
    assert before
    assert [a.state for a in Approval.objects.order_by("id")] == ["pending", "approved", "rejected"]
    assert acme.account.deferred_nanos == 1_001 * DOLLAR
    assert_proven(database)


def test_an_operator_without_the_right_sees_no_way_to_decide(acme: Tenant) -> None:
    approval = ask(acme)
    User.objects.create_user("erin@example.com", is_staff=True)

    decide_in_administration("erin@example.com", approval, action="approve_chosen")

    approval.refresh_from_db()
    assert approval.state == "pending"
    assert nothing_moved(acme)
