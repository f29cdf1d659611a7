"""The form of a new key: what a person may ask for, checked into a ``KeyRequest``."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django import forms

from accounts.keys import KeySpec
from accounts.models import Project
from accounts.networks import parse_networks
from kernel import clock
from kernel.errors import BadRequestError, InvalidAmountError
from kernel.money import parse_usd

LIFETIMES = {"": None, "7": 7, "30": 30, "90": 90, "365": 365}
LIFETIME_NAMES = [
    ("", "Never"),
    ("7", "In 7 days"),
    ("30", "In 30 days"),
    ("90", "In 90 days"),
    ("365", "In a year"),
]
PERIOD_NAMES = [
    ("month", "a month"),
    ("week", "a week"),
    ("day", "a day"),
    ("hour", "an hour"),
    ("lifetime", "in total"),
]


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A key as it was asked for. ``budget_nanos`` of None means no budget of its own."""

    project_id: str
    spec: KeySpec
    budget_nanos: int | None
    budget_period: str


class KeyForm(forms.Form):
    """Choices of projects and models come from the organization; others are refused."""

    name = forms.CharField(max_length=120)
    project = forms.ChoiceField()
    models = forms.MultipleChoiceField(required=False)
    rpm = forms.IntegerField(required=False, min_value=1, max_value=10**9)
    budget = forms.CharField(required=False, max_length=24)
    period = forms.ChoiceField(choices=PERIOD_NAMES)
    networks = forms.CharField(required=False, max_length=3000)
    lifetime = forms.ChoiceField(choices=LIFETIME_NAMES, required=False)

    def __init__(
        self, posted: object, *, projects: Sequence[Project], models: Sequence[str]
    ) -> None:
        super().__init__(posted)  # type: ignore[arg-type] # a QueryDict or None
        self.fields["project"].choices = [(p.public_id, p.name) for p in projects]  # type: ignore[attr-defined] # a ChoiceField
        self.fields["models"].choices = [(name, name) for name in models]  # type: ignore[attr-defined] # a ChoiceField
        self.label_suffix = ""

    def clean_budget(self) -> int | None:
        text = self.cleaned_data["budget"].strip().removeprefix("$")
        if not text:
            return None
        try:
            nanos = parse_usd(text)
        except InvalidAmountError as error:
            raise forms.ValidationError(error.message) from error
        if nanos <= 0:
            raise forms.ValidationError("A budget is above zero; leave it empty for none.")
        return nanos

    def clean_networks(self) -> list[str] | None:
        try:
            return parse_networks(self.cleaned_data["networks"]) or None
        except BadRequestError as error:
            raise forms.ValidationError(error.message) from error

    def as_request(self) -> KeyRequest:
        """Return what a valid form asks for."""
        asked = self.cleaned_data
        days = LIFETIMES[asked["lifetime"]]
        return KeyRequest(
            asked["project"],
            KeySpec(
                name=asked["name"].strip(),
                allowed_models=asked["models"] or None,
                allowed_networks=asked["networks"],
                rpm=asked["rpm"],
                expires_at=None if days is None else clock.now() + timedelta(days=days),
            ),
            asked["budget"],
            asked["period"],
        )
