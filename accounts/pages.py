"""What every page of a member begins with: who is here, for which organization, in which zone."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.utils import timezone
from django.views.decorators.cache import never_cache

from accounts.access import KEY_MINTERS, access_membership, access_organizations
from accounts.models import Member, Organization, User
from kernel import clock
from kernel.errors import ForbiddenError, NotFoundError, TollgateError


@dataclass(frozen=True, slots=True)
class Visit:
    """A signed-in person on a page of one of their organizations."""

    member: Member
    others: tuple[Organization, ...]

    @property
    def org(self) -> Organization:
        return self.member.org

    @property
    def user(self) -> User:
        return self.member.user

    @property
    def query(self) -> str:
        """What links carry to stay in this organization; nothing where it is the only one."""
        return "?" + urlencode({"org": self.org.public_id}) if self.others else ""

    @property
    def zone(self) -> str:
        """The zone's name and its present offset: ``Europe/Berlin (UTC+01:00)``."""
        if self.org.timezone == "UTC":
            return "UTC"
        offset = clock.now().astimezone(ZoneInfo(self.org.timezone)).strftime("%z")
        return f"{self.org.timezone} (UTC{offset[:3]}:{offset[3:]})"

    @property
    def may_mint(self) -> bool:
        return self.member.role in KEY_MINTERS


Page = Callable[..., HttpResponse]


def member_page(
    view: Callable[Concatenate[HttpRequest, Visit, ...], HttpResponse],
) -> Callable[..., HttpResponse]:
    """Hand a view its ``Visit``; answer what the visitor may not see as if it were not there.

    Operators who belong to no organization are sent to their own pages.
    """

    @never_cache
    @wraps(view)
    def page(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not isinstance(request.user, User):
            return _to_sign_in(request)
        try:
            visit = _open_visit(request.user, request.GET.get("org"))
        except NotFoundError as error:
            if request.user.is_staff and "org" not in request.GET:
                return redirect("admin:index")
            return render_fault(request, error)
        with timezone.override(ZoneInfo(visit.org.timezone)):
            try:
                return view(request, visit, *args, **kwargs)
            except TollgateError as error:
                return render_fault(request, error, visit)

    return page


def check_may_mint(visit: Visit) -> None:
    """Raise ForbiddenError for a role that may only look at keys."""
    if not visit.may_mint:
        raise ForbiddenError(
            f"Your role here is {visit.member.role}: it may see keys, not change them. "
            "Ask an owner or an admin of the organization.",
            code="role_not_allowed",
        )


def render_page(
    request: HttpRequest, visit: Visit, template: str, *, status: int = 200, **context: Any
) -> HttpResponse:
    return render(request, template, {"visit": visit, **context}, status=status)


def render_fault(
    request: HttpRequest, error: TollgateError, visit: Visit | None = None
) -> HttpResponse:
    """Show an error as a page: its sentence says what to do."""
    context = {"visit": visit, "error": error, "status": error.http_status}
    return render(request, "fault.html", context, status=error.http_status)


def _to_sign_in(request: HttpRequest) -> HttpResponse:
    """Send the whole page to sign-in, also when a fragment of it asked."""
    if request.headers.get("HX-Request"):
        return HttpResponse(headers={"HX-Redirect": resolve_url(settings.LOGIN_URL)})
    return redirect_to_login(request.get_full_path())


def _open_visit(user: User, org_public_id: str | None) -> Visit:
    member = access_membership(user, org_public_id)
    return Visit(member, tuple(access_organizations(user).exclude(pk=member.org_id)))
