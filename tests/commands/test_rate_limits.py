"""``manage key|project|org|model limits``: set, kept, taken away, audited."""

from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import IntegrityError, transaction

from accounts.key_news import KEY_CHANNEL
from accounts.models import ApiKey, AuditEvent, Organization, Project
from accounts.rate_limits import limit_key, limit_org, limit_project
from gateway.models import PublicModel
from tests.commands.manage import Here, Manage
from tests.factories import Tenant, make_tenant, offer_upstream


def named(acme: Tenant) -> dict[str, str]:
    return {
        "key": acme.key.public_id,
        "project": acme.project.public_id,
        "org": acme.org.public_id,
        "model": "mock",
    }


@pytest.mark.parametrize("noun", ["key", "project", "org", "model"])
def test_limits_are_set_one_by_one_and_taken_away_by_the_word_none(here: Here, noun: str) -> None:
    offer_upstream("http://127.0.0.1:1")
    name = named(make_tenant())[noun]

    first = here(noun, "limits", name, "--rpm", "60", "--tpm", "90000", "--json").json
    second = here(noun, "limits", name, "--rpd", "5", "--concurrency", "2", "--json").json
    third = here(noun, "limits", name, "--tpm", "none", "--json").json
    shown = here(noun, "limits", name, "--json").json

    def limits(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row[limit] for limit in ("rpm", "rpd", "tpm", "concurrency"))

    assert limits(first) == (60, None, 90_000, None)
    assert limits(second) == (60, 5, 90_000, 2)
    assert limits(third) == (60, 5, None, 2)
    assert shown == third
    event = AuditEvent.objects.filter(action=f"{noun}.limits").latest("id")
    assert AuditEvent.objects.filter(action=f"{noun}.limits").count() == 3
    assert (event.actor, event.before, event.after) == ("cli", {"tpm": 90_000}, {"tpm": None})


@pytest.mark.parametrize("noun", ["key", "project", "org", "model"])
def test_a_bad_limit_is_one_line_and_nothing_is_changed(here: Here, noun: str) -> None:
    offer_upstream("http://127.0.0.1:1")
    name = named(make_tenant())[noun]
    here(noun, "limits", name, "--rpm", "60")

    for bad in ("0", "-1", "1.5", "many", "10000000000", ""):
        assert here.refused(noun, "limits", name, "--rpm", "5", f"--tpm={bad}") == (
            f"{bad!r} is not a whole number from 1 to 1000000000."
        )

    row = here(noun, "limits", name, "--json").json
    assert (row["rpm"], row["tpm"]) == (60, None)


def test_limits_of_what_is_not_there_are_refused(here: Here) -> None:
    assert here.refused("org", "limits", "org_x") == "There is no organization 'org_x'."
    assert here.refused("project", "limits", "proj_x") == "There is no project 'proj_x'."
    assert here.refused("model", "limits", "none") == "There is no model 'none'."
    assert here.refused("key", "limits", "nothing") == "There is no key 'nothing'."


def test_projects_are_opened_and_listed(manage: Manage, here: Here) -> None:
    acme, other = make_tenant(), make_tenant("Other")

    made = manage("project", "create", " chatbot ", "--org", acme.org.public_id, "--json").json
    listed = here("project", "list", "--org", acme.org.public_id, "--json").json

    none = dict.fromkeys(("archived_at", "rpm", "rpd", "tpm", "concurrency"))
    project = Project.objects.get(name="chatbot")
    assert made == {
        "id": project.public_id,
        "name": "chatbot",
        "org": acme.org.public_id,
        **none,
    }
    assert [row["name"] for row in listed] == ["Default", "chatbot"]
    assert len(here("project", "list", "--json").json) == 3
    assert AuditEvent.objects.get(action="project.create").org_id == acme.org.pk
    assert other.org.projects.count() == 1


def test_a_project_needs_a_name_of_its_own(here: Here) -> None:
    acme = make_tenant()

    taken = here.refused("project", "create", "Default", "--org", acme.org.public_id)
    empty = here.refused("project", "create", " ", "--org", acme.org.public_id)

    assert taken == "There is a project 'Default' already."
    assert empty == "Give the project a name of 1 to 120 characters."
    assert Project.objects.count() == 1


@pytest.mark.parametrize("model", [ApiKey, Project, Organization, PublicModel])
def test_the_database_refuses_a_limit_of_zero(database: str, model: Any) -> None:
    offer_upstream("http://127.0.0.1:1")
    make_tenant()

    for limit in ("rpm", "rpd", "tpm", "concurrency"):
        with pytest.raises(IntegrityError, match="limits_at_least_one"), transaction.atomic():
            model.objects.update(**{limit: 0})


def test_a_change_is_announced_and_no_change_is_not(database: str) -> None:
    acme = make_tenant()
    names = [acme.key.public_id.encode(), acme.org.public_id.encode()]
    with redis.Redis.from_url(settings.REDIS_URL) as client, client.pubsub() as news:
        news.subscribe(KEY_CHANNEL)
        assert news.get_message(timeout=5)

        for changes in ({}, {"rpm": 5}):
            limit_key(acme.key, changes, actor="test")
            limit_project(acme.project, changes, actor="test")
            limit_org(acme.org, changes, actor="test")
        client.publish(KEY_CHANNEL, "the end of this test")

        heard: list[Any] = []  # other tests' news too: a channel belongs to no database
        while not heard or heard[-1] != b"the end of this test":
            told = news.get_message(timeout=5)
            assert told is not None
            heard.append(told["data"])

    assert [name for name in heard if name in names] == [names[0], names[1], names[1]]
