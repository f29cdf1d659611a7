"""Letters go to those who pay and decide, and say which, how much, of what, and until when."""

from datetime import UTC, datetime

import pytest
from django.core.mail import EmailMessage

from accounts.models import Member, User
from billing.budgets import BudgetSpec, add_budget
from billing.models import BillingAccount, BudgetWindow, Delivery, OutboxEvent
from billing.notices.letters import LETTERS, render_letter
from billing.notices.telling import tell
from kernel.money import parse_usd
from tests.books import run_tick, settlement
from tests.factories import ACTOR, hold_request, make_price
from tests.notices.conftest import Cast, make_member


def use_all(cast: Cast) -> None:
    """One call of 4,000,000 tokens at two dollars a million."""
    version, price = make_price()
    request = hold_request(cast.acme, version, parse_usd("10"))
    run_tick(cast.database_url, holds=[request])
    closing = settlement(request.request_id, price, input_tokens=0, output_tokens=4_000_000)
    run_tick(cast.database_url, closings=[closing])


def test_a_budget_letter_says_which_budget_how_much_and_when_it_renews_in_the_zone(
    cast: Cast, mailoutbox: list[EmailMessage]
) -> None:
    spec = BudgetSpec(
        "day", limit_nanos=parse_usd("10"), project=cast.acme.project, alert_percents=(80,)
    )
    add_budget(cast.acme.org, spec, actor=ACTOR)
    use_all(cast)
    BudgetWindow.objects.update(window_end=datetime(2026, 10, 25, 23, tzinfo=UTC))
    OutboxEvent.objects.filter(kind="budget.threshold_reached").update(
        payload={
            **OutboxEvent.objects.get(kind="budget.threshold_reached").payload,
            "window_end": "2026-10-25T23:00:00+00:00",
        }
    )

    tell()

    (letter,) = mailoutbox
    assert letter.to == ["alice@example.com"]
    assert letter.subject == "[Tollgate] Acme: 80 % of a budget is used"
    assert letter.body == (
        "80 % of a budget of Acme is used.\n\n"
        "Budget:  day budget of project Default\n"
        "Used:    8.00 USD\n"
        "Limit:   10.00 USD\n"
        "Renews:  2026-10-26 00:00 (Europe/Berlin)\n\n"
        "This budget refuses what would exceed it.\n\n"
        "-- \nTollgate, http://127.0.0.1:8000\n"
    )


def test_a_token_budget_of_one_model_is_told_in_tokens_and_a_lifetime_never_renews(
    cast: Cast, mailoutbox: list[EmailMessage]
) -> None:
    spec = BudgetSpec(
        "lifetime",
        limit_tokens=5_000_000,
        key=cast.acme.key,
        model="m",
        is_hard=False,
        alert_percents=(50,),
    )
    add_budget(cast.acme.org, spec, actor=ACTOR)
    version, price = make_price()
    request = hold_request(cast.acme, version, parse_usd("10"))
    run_tick(cast.database_url, holds=[request])
    OutboxEvent.objects.create(
        org=cast.acme.org,
        kind="budget.threshold_reached",
        payload={
            "budget": BudgetWindow.objects.get().budget_id,
            "percent": 50,
            "unit": "tokens",
            "used": "2500000",
            "limit": "5000000",
            "window_start": "1970-01-01T00:00:00+00:00",
            "window_end": None,
        },
    )

    tell()

    (letter,) = mailoutbox
    body = str(letter.body)
    assert f"lifetime budget of key {cast.acme.key.masked}, model m\n" in body
    assert "Used:    2500000 tokens\nLimit:   5000000 tokens\nRenews:  never\n" in body
    assert "This budget only tells; nothing is refused." in body
    assert price is not None


def test_a_low_balance_is_written_to_owner_admin_and_billing_and_to_nobody_else(
    cast: Cast, mailoutbox: list[EmailMessage]
) -> None:
    make_member(cast.acme, "ada@example.com", Member.Role.ADMIN)
    make_member(cast.acme, "ben@example.com", Member.Role.BILLING)
    make_member(cast.acme, "dan@example.com", Member.Role.DEVELOPER)
    make_member(cast.acme, "gone@example.com", Member.Role.ADMIN)
    User.objects.filter(email="gone@example.com").update(is_active=False)
    BillingAccount.objects.filter(org=cast.acme.org).update(low_balance_nanos=parse_usd("95"))

    use_all(cast)
    tell()
    tell()

    assert sorted(letter.to[0] for letter in mailoutbox) == [
        *("ada@example.com", "alice@example.com", "ben@example.com"),
    ]
    assert all(len(letter.to) == 1 and not letter.cc for letter in mailoutbox)
    assert mailoutbox[0].subject == "[Tollgate] Acme: the balance is low"
    assert "The balance of Acme is 92.00 USD, below the 95.00 USD you set." in mailoutbox[0].body
    assert len({letter.extra_headers["Message-ID"] for letter in mailoutbox}) == 3


def test_what_concerns_the_platform_is_written_to_operators_only(
    cast: Cast, mailoutbox: list[EmailMessage]
) -> None:
    User.objects.create_superuser("operator@example.com")

    cast.event("topup.loss", topup="top_1", amount_nanos="1500000000")
    tell()

    (letter,) = mailoutbox
    assert letter.to == ["operator@example.com"]
    assert letter.subject == "[Tollgate] 1.50 USD lost on a top-up of Acme"


def test_a_name_with_a_line_break_does_not_become_a_header(
    cast: Cast, mailoutbox: list[EmailMessage]
) -> None:
    cast.acme.org.name = "Acme\nBcc: mallory@example.com"
    cast.acme.org.save()
    cast.event("balance.low", balance_nanos="1", threshold_nanos="2")

    tell()

    (letter,) = mailoutbox
    assert letter.subject == "[Tollgate] Acme Bcc: mallory@example.com: the balance is low"
    assert letter.message()["Bcc"] is None


def test_a_mail_server_that_fails_is_asked_again_with_the_same_message_id(
    cast: Cast, mailoutbox: list[EmailMessage], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def refuse(letter: EmailMessage) -> int:
        tried.append(letter.extra_headers["Message-ID"])
        raise ConnectionRefusedError

    cast.event("balance.low", balance_nanos="1", threshold_nanos="2")
    with monkeypatch.context() as patched:
        patched.setattr(EmailMessage, "send", refuse)
        tell()
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.tries.get().error) == (
        "due",
        "the mail server failed: ConnectionRefusedError",
    )
    Delivery.objects.update(next_at=delivery.created_at)
    tell()

    assert [letter.extra_headers["Message-ID"] for letter in mailoutbox] == tried
    assert Delivery.objects.get().state == "delivered"


@pytest.mark.parametrize("kind", sorted(LETTERS))
def test_every_letter_can_be_written(cast: Cast, kind: str) -> None:
    add_budget(cast.acme.org, BudgetSpec("month", limit_nanos=10**9), actor=ACTOR)
    told = {
        "budget": cast.acme.org.budgets.get().pk,
        "percent": 100,
        "unit": "nanos",
        "used": "1000000000",
        "limit": "1000000000",
        "window_end": "2026-12-01T00:00:00+00:00",
        "balance_nanos": "1",
        "threshold_nanos": "2",
        "topup": "top_1",
        "amount_nanos": "3",
        "why": "card_declined",
        "event": "evt_1",
        "monthly_cap_nanos": "6",
        "request": "req_1",
        "reason": "no open hold to settle: missing",
        "held_nanos": "5",
        "failures": 3,
        "webhook": "we_1",
        "run": 1,
        "hours": 3,
        "differences": 1,
        "first": ["R1 x: 1 ≠ 2"],
    }

    letter = render_letter(cast.event(kind, **told))

    assert letter.subject.startswith("[Tollgate] ")
    assert letter.text.endswith("-- \nTollgate, http://127.0.0.1:8000\n")
