"""Who comes in, who is sent where, and what happens to those who guess."""

from django.test import Client

from accounts.models import User
from tests.pages.conftest import PASSWORD, Cast

SIGN_IN = "/accounts/login/"


def test_the_process_answers_without_any_database() -> None:
    answer = Client().get("/healthz")

    assert (answer.status_code, answer.content) == (200, b"ok\n")


def test_a_visitor_is_asked_to_sign_in_and_comes_back_to_the_page_they_wanted(cast: Cast) -> None:
    client = Client()

    asked = client.get("/keys/")
    signed_in = client.post(
        asked["location"], {"login": "Alice@Example.com", "password": PASSWORD, "next": "/keys/"}
    )

    assert asked["location"] == f"{SIGN_IN}?next=/keys/"
    assert signed_in["location"] == "/keys/"
    assert client.get("/keys/").status_code == 200


def test_a_fragment_sends_the_whole_page_to_sign_in_when_the_session_is_over(cast: Cast) -> None:
    answer = Client().get("/live/balance", headers={"HX-Request": "true"})

    assert answer["HX-Redirect"] == SIGN_IN
    assert answer.content == b""


def test_sign_up_is_closed(cast: Cast) -> None:
    answer = Client().post("/accounts/signup/", {"email": "new@example.com", "password1": PASSWORD})

    assert b"Sign-up is closed" in answer.content
    assert not User.objects.filter(email="new@example.com").exists()


def test_after_five_wrong_passwords_the_right_one_does_not_open_that_account(cast: Cast) -> None:
    client = Client()
    for _ in range(5):
        client.post(SIGN_IN, {"login": "alice@example.com", "password": "a guess"})

    right = client.post(SIGN_IN, {"login": "ALICE@example.com", "password": PASSWORD})
    other = Client().post(SIGN_IN, {"login": "bob@example.com", "password": PASSWORD})

    assert right.status_code == 429
    assert b"Too many tries" in right.content
    assert "_auth_user_id" not in client.session
    assert (other.status_code, other["location"]) == (302, "/")


def test_signing_out_takes_a_post(cast: Cast) -> None:
    client = cast.signed_in(cast.alice)

    client.get("/accounts/logout/")
    still_in = client.get("/").status_code
    client.post("/accounts/logout/")

    assert still_in == 200
    assert client.get("/").status_code == 302


def test_an_operator_without_an_organization_is_sent_to_the_admin(cast: Cast) -> None:
    operator = User.objects.create_superuser("operator@example.com", PASSWORD)

    assert cast.signed_in(operator).get("/")["location"] == "/admin/"


def test_a_member_who_is_no_operator_is_kept_out_of_the_admin(cast: Cast) -> None:
    client = cast.signed_in(cast.alice)

    assert client.get("/admin/", follow=True).status_code == 403
    assert client.get("/admin/billing/hold/", follow=True).status_code == 403
