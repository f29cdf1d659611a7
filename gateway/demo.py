"""The demo organization: seeded once, so that the first call works a minute after the clone."""

from dataclasses import dataclass

from django.db import transaction

from accounts.keys import KeySpec, mint_key
from accounts.models import Member, Organization, Project, User
from billing.organizations import OrganizationSpec, add_member, create_organization
from billing.prices import text_price
from billing.usage import Usage
from gateway.deployments import change_model
from gateway.models import Provider, PublicModel
from gateway.offers import create_model, create_provider
from kernel.ids import random_base62
from kernel.money import parse_usd

ACTOR = "demo"
ORG_NAME = "Acme"
OPERATOR_EMAIL = "operator@example.com"
MEMBER_EMAIL = "alice@example.com"
CREDIT_USD = "100"
# name: (USD per 1M input tokens, USD per 1M output tokens)
MODELS = {
    "hacxgpt": ("1.00", "2.00"),
    "gpt-3.5-turbo": ("0.50", "1.50"),
    "gpt-4o": ("2.50", "10.00"),
    "gpt-4o-mini": ("0.15", "0.60"),
    "gpt-4-1-nano-2025-04-14": ("0.10", "0.40"),
    "claude-sonnet-4-20250514": ("3.00", "15.00"),
    "claude-sonnet-4-6": ("3.00", "15.00"),
    "gemini-2.5-pro": ("1.25", "10.00"),
}
# USD per 1M tokens
EMBEDDING_MODELS = {"text-embedding-3-small": "0.02"}
TEST_MODELS = {"hacxgpt-slow": ("1.00", "2.00"), "hacxgpt-faulty": ("1.00", "2.00")}


@dataclass(frozen=True, slots=True)
class Demo:
    """What the first start made; secrets are None ever after."""

    org_id: str
    api_key: str | None = None
    operator_email: str = OPERATOR_EMAIL
    operator_password: str | None = None
    member_email: str = MEMBER_EMAIL
    member_password: str | None = None


def seed_catalog(*, test_models: bool) -> None:
    """Offer the built-in models; those that exist are left as an operator has them.

    Those for tests are offered while ``test_models`` says so, and not a start longer.
    """
    if not Provider.objects.filter(name="simulator").exists():
        create_provider(
            "simulator", kind=Provider.Kind.SIMULATOR, base_url="", credential=None, actor=ACTOR
        )
    texts = {**MODELS, **(TEST_MODELS if test_models else {})}
    wanted = {
        name: text_price(parse_usd(read), parse_usd(written))
        for name, (read, written) in texts.items()
    } | {name: Usage(embedding=parse_usd(usd)) for name, usd in EMBEDDING_MODELS.items()}
    for model in PublicModel.objects.filter(
        name__in=TEST_MODELS, active=not test_models, deployments__provider__name="simulator"
    ):
        change_model(model.name, {"active": test_models}, actor=ACTOR)
    offered = set(PublicModel.objects.values_list("name", flat=True))
    for name, price in wanted.items():
        if name not in offered:
            create_model(
                name,
                provider="simulator",
                upstream_model=name,
                price=price,
                actor=ACTOR,
            )


def seed_demo(*, test_models: bool = False) -> Demo:
    """Seed catalogue, operator, organization and key, once."""
    with transaction.atomic():
        seed_catalog(test_models=test_models)
        existing = Organization.objects.filter(name=ORG_NAME).order_by("id").first()
        if existing is not None:
            return Demo(existing.public_id)
        org = create_organization(
            OrganizationSpec(ORG_NAME, credit_nanos=parse_usd(CREDIT_USD)), actor=ACTOR
        )
        operator_password, member_password = random_base62(16), random_base62(16)
        User.objects.create_superuser(OPERATOR_EMAIL, operator_password, name="Operator")
        alice = User.objects.create_user(MEMBER_EMAIL, member_password, name="Alice")
        add_member(org, alice, Member.Role.OWNER, actor=ACTOR)
        project = Project.objects.get(org=org)
        minted = mint_key(project, KeySpec(name="demo"), actor=ACTOR, user=alice)
    return Demo(
        org.public_id,
        minted.text,
        operator_password=operator_password,
        member_password=member_password,
    )
