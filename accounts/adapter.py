"""How people come in: by invitation of an operator. Sign-up is closed until it is asked for."""

from collections.abc import Mapping

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest


class ClosedAdapter(DefaultAccountAdapter):  # type: ignore[misc] # allauth ships no types
    def is_open_for_signup(self, request: HttpRequest) -> bool:  # nobody
        return False


def sign_in_name(request: HttpRequest, credentials: Mapping[str, str] | None) -> str:
    """Return the account that a sign-in is for, as the lock-out counts it: the e-mail address.

    Axes asks without credentials while it only looks; then the form's field says it.
    """
    name = (credentials or {}).get("email") or request.POST.get("login", "")
    return name.strip().lower()
