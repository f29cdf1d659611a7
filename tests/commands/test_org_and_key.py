"""``manage org`` and ``manage key``: the shapes of their answers, and one line for each refusal."""

from datetime import UTC, datetime, timedelta

from accounts.key_format import parse_key
from accounts.models import ApiKey, AuditEvent, Organization
from billing.models import BillingAccount, Budget, LedgerTransaction
from tests.books import assert_proven
from tests.commands.manage import Here, Manage
from tests.factories import make_price, make_tenant


def test_an_organization_is_created_given_credit_and_listed(manage: Manage, here: Here) -> None:
    made = manage(
        *("org", "create", "Acme", "--credit", "25.50"),
        *("--timezone", "Europe/Berlin", "--json"),
    ).json
    given = here(
        *("org", "credit", made["id"], "0.000000001", "--reason", "transfer 4711", "--json"),
    ).json
    listed = here("org", "list", "--json").json

    org = Organization.objects.get()
    assert made == {
        "id": org.public_id,
        "name": "Acme",
        "mode": "prepaid",
        "timezone": "Europe/Berlin",
        "status": "active",
        "credit_usd": "25.500000000",
        "reserved_usd": "0.000000000",
        "unbilled_usd": "0.000000000",
        "credit_limit_usd": "0.000000000",
        "project": org.projects.get().public_id,
    }
    txn = LedgerTransaction.objects.get(reason="transfer 4711")
    assert given == {**made, "credit_usd": "25.500000001", "transaction": txn.pk}
    assert listed == [{**made, "credit_usd": "25.500000001"}]
    assert txn.actor == "cli"
    assert_proven(manage.stores.database_url)


def test_without_json_an_organization_is_lines_and_a_list_is_a_table(here: Here) -> None:
    lines = here("org", "create", "Acme", "--mode", "postpaid", "--credit-limit", "500").out
    table = here("org", "list").out.splitlines()

    assert "name: Acme\nmode: postpaid\ntimezone: UTC\n" in lines
    assert "credit_limit_usd: 500.000000000\n" in lines
    assert table[0].split()[:4] == ["id", "name", "mode", "timezone"]
    assert table[1].split()[1:4] == ["Acme", "postpaid", "UTC"]


BAD_ORGANIZATIONS: list[tuple[tuple[str, ...], str]] = [
    (("create", " "), "Give the organization a name of 1 to 120 characters."),
    (
        ("create", "Acme", "--timezone", "Mars"),
        "'Mars' is not a time zone; write one like Europe/Berlin.",
    ),
    (
        ("create", "Acme", "--credit", "1e3"),
        "'1e3' is not an amount: write dollars with at most nine decimals, for example 12.50.",
    ),
    (
        ("create", "Acme", "--credit-limit", "5"),
        "A prepaid organization has no credit limit.",
    ),
    (
        ("credit", "org_nobody", "1", "--reason", "x"),
        "There is no organization 'org_nobody'.",
    ),
]


def test_a_bad_organization_is_one_line_and_nothing_is_made(here: Here) -> None:
    for arguments, line in BAD_ORGANIZATIONS:
        assert here.refused("org", *arguments) == line
    assert Organization.objects.count() == BillingAccount.objects.count() == 0


def test_credit_needs_an_amount_above_zero_and_a_reason(here: Here) -> None:
    org = make_tenant(credit_usd="1").org.public_id

    zero = here.refused("org", "credit", org, "0", "--reason", "x")
    silent = here.refused("org", "credit", org, "1", "--reason", " ")

    assert zero.startswith("'0' is not an amount")
    assert silent == "Say why the credit is given."
    assert BillingAccount.objects.get().deferred_nanos == 1_000_000_000


def test_a_key_is_created_with_its_limits_and_budget_and_printed_once(
    manage: Manage, here: Here
) -> None:
    org = make_tenant().org
    make_price("hacxgpt")
    make_price("gpt-4o")
    made = manage(
        *("key", "create", "--org", org.public_id, "--project", "chatbot", "--name", "Bob's"),
        *("--rpm", "60", "--rpd", "100", "--tpm", "5000", "--concurrency", "4"),
        *("--budget", "5", "--period", "month", "--models", "hacxgpt, gpt-4o"),
        *("--from", "203.0.113.9/24"),
        *("--expires-in", "30d", "--json"),
    ).json
    listed = here("key", "list", "--org", org.public_id, "--json").json

    key = ApiKey.objects.get(public_id=made["id"])
    presented = parse_key(made.pop("key"))
    assert presented is not None
    assert (presented.public_id, presented.kind) == (key.public_id, "proj")
    assert listed[1] == made
    assert made == {
        "id": key.public_id,
        "masked": key.masked,
        "name": "Bob's",
        "kind": "proj",
        "org": org.public_id,
        "project": key.project.public_id,
        "status": "active",
        "models": ["hacxgpt", "gpt-4o"],
        "networks": ["203.0.113.0/24"],
        "rpm": 60,
        "tpm": 5000,
        "rpd": 100,
        "concurrency": 4,
        "budget": "5.00 USD",
        "period": "month",
        "expires_at": str(key.expires_at),
    }
    assert key.project.name == "chatbot"
    assert key.expires_at is not None
    lasts = key.expires_at - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < lasts <= timedelta(days=30)
    assert Budget.objects.get(key=key).limit_nanos == 5_000_000_000


def test_a_key_is_rotated_revoked_and_then_not_rotated_again(manage: Manage, here: Here) -> None:
    acme = make_tenant()

    rotated = manage("key", "rotate", acme.key.public_id, "--overlap", "2h", "--json").json
    revoked = here("key", "revoke", rotated["key"], "--json").json
    again = here.refused("key", "rotate", acme.key.public_id)

    key = ApiKey.objects.get(pk=acme.key.pk)
    assert rotated["old_until"] == str(key.previous_until)
    assert rotated["key"].startswith(f"hk-proj-{acme.key.public_id}")
    assert (revoked["status"], "key" in revoked) == ("revoked", False)
    assert again == f"Key {key.masked} is revoked; make a new one."
    assert [
        e.actor for e in AuditEvent.objects.filter(action__in=["key.rotate", "key.revoke"])
    ] == [
        "cli",
        "cli",
    ]


BAD_KEYS: list[tuple[tuple[str, ...], str]] = [
    (("--rpm", "0"), "'0' is not a whole number from 1 to 1000000000."),
    (("--tpm", "1_000"), "'1_000' is not a whole number from 1 to 1000000000."),
    (("--budget", "5"), "Give --budget and --period together."),
    (("--expires-in", "soon"), "'soon' is not a duration: write 90s, 15m, 2h or 30d."),
    (("--project", "proj_x"), "There is no project 'proj_x'."),
]


def test_a_bad_key_is_one_line_and_nothing_is_made(here: Here) -> None:
    org = make_tenant().org.public_id
    before = (ApiKey.objects.count(), Budget.objects.count(), AuditEvent.objects.count())

    for arguments, line in BAD_KEYS:
        assert here.refused("key", "create", "--org", org, *arguments) == line
    assert (ApiKey.objects.count(), Budget.objects.count(), AuditEvent.objects.count()) == before


def test_a_key_that_is_not_there_is_one_line(manage: Manage, here: Here) -> None:
    assert manage.refused("key", "revoke", "0" * 12) == f"There is no key {'0' * 12!r}."
    assert here.refused("key", "list", "--org", "org_x") == "There is no organization 'org_x'."


def test_a_wrong_word_is_explained_with_exit_code_2(manage: Manage) -> None:
    said = manage("key", "burn")

    assert said.code == 2
    assert "invalid choice: 'burn'" in said.err
    assert "Traceback" not in said.err
