"""What can be called and who serves it."""

from django.core.exceptions import ValidationError
from django.db import models

from accounts.models import Organization, limits_at_least_one
from gateway.base_urls import check_base_url
from gateway.media_bounds import PICTURE_TOKENS
from kernel import clock
from kernel.errors import BadRequestError


class Provider(models.Model):
    """A place that runs models. Its credential is write-only: stored encrypted, never shown."""

    class Kind(models.TextChoices):
        SIMULATOR = "simulator"
        OPENAI = "openai"
        ANTHROPIC = "anthropic"

    class AnthropicVersion(models.TextChoices):
        FIRST = "2023-06-01", "2023-06-01"
        LATER = "2026-10-21", "2026-10-21"

    name = models.CharField(max_length=60, unique=True)
    kind = models.CharField(max_length=12, choices=Kind.choices)
    base_url = models.CharField(max_length=400, blank=True)
    credential = models.BinaryField(null=True, editable=False)
    connect_timeout_s = models.PositiveIntegerField(default=5)
    # from the request on: to the answer's head, of a stream to its first token; then between tokens
    read_timeout_s = models.PositiveIntegerField(default=60)
    first_token_timeout_s = models.PositiveIntegerField(default=60)
    stall_timeout_s = models.PositiveIntegerField(default=30)
    total_timeout_s = models.PositiveIntegerField(default=600)
    # of Anthropic's dialect; the later one refuses to be told how tokens are drawn
    anthropic_version = models.CharField(
        max_length=10, choices=AnthropicVersion.choices, default=AnthropicVersion.FIRST
    )
    # calls at once of each api process
    concurrency = models.PositiveIntegerField(null=True, blank=True)
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~models.Q(concurrency=0), name="provider_has_places"),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        self.base_url = self.base_url.rstrip("/")
        try:
            check_base_url(self.kind, self.base_url)
        except BadRequestError as error:
            raise ValidationError({"base_url": error.message}) from error


class PublicModel(models.Model):
    """A model as customers name it. Without a price it cannot be called.

    Rate limits: what each organization may ask of this model.
    """

    name = models.CharField(max_length=200, unique=True)
    description = models.CharField(max_length=400, blank=True)
    owned_by = models.CharField(max_length=60, default="tollgate")
    context_tokens = models.PositiveIntegerField(default=128_000)
    max_output_tokens = models.PositiveIntegerField(default=8_192)
    # writes tokens that are paid for and not shown, asked to think or not: streams are held in full
    thinks_unseen = models.BooleanField(default=False)
    # the most its providers count for a picture: that much is held for each
    picture_tokens = models.PositiveIntegerField(default=PICTURE_TOKENS)
    active = models.BooleanField(default=True)
    rpm = models.PositiveBigIntegerField(null=True, blank=True)
    rpd = models.PositiveBigIntegerField(null=True, blank=True)
    tpm = models.PositiveBigIntegerField(null=True, blank=True)
    concurrency = models.PositiveIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        constraints = [limits_at_least_one("model")]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if ModelAlias.objects.filter(name=self.name).exists():
            raise ValidationError({"name": "There is an alias of this name."})


class ModelAlias(models.Model):
    """Another name that customers may call a public model by; everything else is the model's.

    An alias stands for a model, never for an alias, and no name is both: a trigger sees to it.
    """

    name = models.CharField(max_length=200, unique=True)
    public_model = models.ForeignKey(PublicModel, on_delete=models.CASCADE, related_name="aliases")
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        verbose_name_plural = "model aliases"

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if PublicModel.objects.filter(name=self.name).exists():
            raise ValidationError({"name": "There is a model of this name."})


class Deployment(models.Model):
    """A public model served by a provider under the provider's own name for it.

    The lowest ``priority`` is asked first; within one, by lot in proportion to ``weight``.
    ``limit_field`` is how the limit of an answer is called there; empty for what the provider and
    the caller call it.
    """

    class LimitField(models.TextChoices):
        OLD = "max_tokens", "max_tokens"
        NEW = "max_completion_tokens", "max_completion_tokens"

    public_model = models.ForeignKey(
        PublicModel, on_delete=models.CASCADE, related_name="deployments"
    )
    provider = models.ForeignKey(Provider, on_delete=models.PROTECT, related_name="deployments")
    upstream_model = models.CharField(max_length=200)
    priority = models.PositiveSmallIntegerField(default=0)
    weight = models.PositiveSmallIntegerField(default=1)
    limit_field = models.CharField(
        max_length=21, choices=LimitField.choices, blank=True, default=""
    )
    active = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["public_model", "provider", "upstream_model"], name="deployment_once"
            ),
            models.CheckConstraint(condition=models.Q(weight__gte=1), name="deployment_has_weight"),
        ]

    def __str__(self) -> str:
        return f"{self.public_model} at {self.provider}"


class ProviderKey(models.Model):
    """An organization's own key at a provider. Write-only: sealed, of which only the end is shown.

    The organization's calls to that provider carry it instead of the platform's.
    """

    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="provider_keys")
    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="own_keys")
    credential = models.BinaryField(editable=False)
    last_four = models.CharField(max_length=4, editable=False)
    set_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["org", "provider"], name="provider_key_once"),
        ]

    def __str__(self) -> str:
        return f"…{self.last_four} of {self.org} at {self.provider}"
