"""The cast and its belongings, made through the platform's own functions."""

from dataclasses import dataclass

from accounts.keys import KeySpec, mint_key
from accounts.models import ApiKey, Organization, Project
from billing.holds import HoldRequest
from billing.models import BillingAccount, PriceVersion
from billing.organizations import OrganizationSpec, create_organization
from billing.prices import as_price, publish_price, text_price
from billing.pricing import Price
from gateway.models import Provider
from gateway.offers import create_model, create_provider
from kernel.ids import new_request_id
from kernel.money import parse_usd

ACTOR = "test"


@dataclass(frozen=True)
class Tenant:
    """An organization with a project and a key whose text is known."""

    org: Organization
    project: Project
    key: ApiKey
    key_text: str

    @property
    def account(self) -> BillingAccount:
        return BillingAccount.objects.get(org=self.org)


def make_tenant(
    name: str = "Acme",
    *,
    credit_usd: str = "100",
    mode: str = "prepaid",
    credit_limit_usd: str = "0",
    timezone: str = "UTC",
    spec: KeySpec | None = None,
) -> Tenant:
    org = create_organization(
        OrganizationSpec(
            name,
            mode=mode,
            timezone=timezone,
            credit_limit_nanos=parse_usd(credit_limit_usd),
            credit_nanos=parse_usd(credit_usd),
        ),
        actor=ACTOR,
    )
    project = Project.objects.get(org=org)
    minted = mint_key(project, spec or KeySpec(name="test"), actor=ACTOR)
    return Tenant(org, project, minted.key, minted.text)


def make_price(
    model: str = "m", *, input_usd: str = "1.00", output_usd: str = "2.00"
) -> tuple[PriceVersion, Price]:
    version = publish_price(
        model, text_price(parse_usd(input_usd), parse_usd(output_usd)), actor=ACTOR
    )
    return version, as_price(version)


def hold_request(
    tenant: Tenant, price: PriceVersion, amount_nanos: int, *, request_id: str | None = None
) -> HoldRequest:
    return HoldRequest(
        request_id or new_request_id(),
        tenant.org.pk,
        tenant.project.pk,
        tenant.key.pk,
        price.model,
        price.pk,
        amount_nanos,
        600,
    )


def offer_upstream(
    base_url: str, *, model: str = "mock", input_usd: str = "1.00", output_usd: str = "2.00"
) -> None:
    """Offer ``model``, served by an OpenAI-compatible server under the name ``up-1``."""
    create_provider(
        "mock",
        kind=Provider.Kind.OPENAI,
        base_url=f"{base_url}/v1",
        credential="sk-upstream-secret",
        actor=ACTOR,
    )
    create_model(
        model,
        provider="mock",
        upstream_model="up-1",
        price=text_price(parse_usd(input_usd), parse_usd(output_usd)),
        actor=ACTOR,
    )


def offer_evil(base_url: str) -> None:
    """Offer the model ``evil``, beside whatever is there, at a dollar and two a million."""
    kind = Provider.Kind.OPENAI
    create_provider("evil", kind=kind, base_url=base_url, credential=None, actor=ACTOR)
    price = text_price(parse_usd("1.00"), parse_usd("2.00"))
    create_model("evil", provider="evil", upstream_model="up-1", price=price, actor=ACTOR)
