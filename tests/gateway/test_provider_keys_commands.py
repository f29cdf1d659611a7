"""``manage provider key``: set, listed by its end alone, removed."""

import io
import json
from typing import Any

import pytest
from django.contrib import admin
from django.core.management import CommandError, call_command

from gateway.models import ProviderKey
from gateway.offers import create_provider
from tests.factories import ACTOR, Tenant, make_tenant

SECRET = "sk-very-secret-9876"


@pytest.fixture
def acme(database: str) -> Tenant:
    create_provider(
        "models",
        kind="openai",
        base_url="https://models.example/v1",
        credential="sk-of-the-platform",
        actor=ACTOR,
    )
    return make_tenant()


def provider_key(
    capsys: pytest.CaptureFixture[str], verb: str, tenant: Tenant, *arguments: str
) -> Any:
    capsys.readouterr()
    call_command("provider", "key", verb, "--org", tenant.org.public_id, "--json", *arguments)
    out = capsys.readouterr().out
    assert SECRET not in out
    return json.loads(out)


def test_a_key_from_the_environment_is_set_listed_and_removed(
    acme: Tenant, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELS_KEY", SECRET)

    made = provider_key(capsys, "set", acme, "--provider", "models", "--api-key-env", "MODELS_KEY")
    listed = provider_key(capsys, "list", acme)
    theirs = provider_key(capsys, "list", make_tenant("Mallory"))
    removed = provider_key(capsys, "remove", acme, "--provider", "models")

    assert (made["provider"], made["key"]) == ("models", "…9876")
    assert listed == [made]
    assert theirs == []
    assert removed == {"provider": "models", "removed": True}
    assert provider_key(capsys, "list", acme) == []


def test_a_key_is_read_from_standard_input(
    acme: Tenant, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{SECRET}\n"))

    made = provider_key(capsys, "set", acme, "--provider", "models")

    assert made["key"] == "…9876"
    assert SECRET.encode() not in bytes(ProviderKey.objects.get().credential)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--provider", "nobody"], "no provider"),
        (["--provider", "models", "--api-key-env", "NOT_SET"], "NOT_SET is not set"),
    ],
)
def test_a_command_that_cannot_be_done_says_why_in_a_line(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch, arguments: list[str], why: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{SECRET}\n"))

    with pytest.raises(CommandError, match=why) as refused:
        call_command("provider", "key", "set", "--org", acme.org.public_id, *arguments)

    assert SECRET not in str(refused.value)
    assert not ProviderKey.objects.exists()


def test_the_administration_does_not_know_own_keys() -> None:
    assert ProviderKey not in admin.site._registry
