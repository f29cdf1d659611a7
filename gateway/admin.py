"""Operators' view of what is offered. A provider's credential is neither shown nor set here."""

from django.contrib import admin
from django.db import transaction
from django.db.models import Model
from django.forms import ModelForm
from django.http import HttpRequest

from gateway.models import Deployment, ModelAlias, Provider, PublicModel
from gateway.news import announce_catalog_change
from pages.admin import BoundedAdmin, refuse


class CatalogAdmin(BoundedAdmin):
    """A change is announced, so that api processes take it up at once."""

    def save_model(
        self, request: HttpRequest, obj: Model, form: "ModelForm[Model]", change: object
    ) -> None:
        super().save_model(request, obj, form, bool(change))
        transaction.on_commit(announce_catalog_change)

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        super().delete_model(request, obj)
        transaction.on_commit(announce_catalog_change)


@admin.register(Provider)
class ProviderAdmin(CatalogAdmin):
    """Added by ``manage provider add``, which seals the credential."""

    list_display = ("name", "kind", "base_url", "has_credential", "active")
    list_filter = ("kind", "active")
    search_fields = ("name",)
    readonly_fields = ("name", "kind", "has_credential", "created_at")

    has_add_permission = refuse

    @admin.display(boolean=True, description="credential")
    def has_credential(self, provider: Provider) -> bool:
        return provider.credential is not None


class DeploymentInline(admin.TabularInline):  # type: ignore[type-arg] # generic in the stubs only
    model = Deployment
    extra = 0


@admin.register(PublicModel)
class PublicModelAdmin(CatalogAdmin):
    list_display = (
        *("name", "owned_by", "context_tokens", "max_output_tokens", "thinks_unseen", "active"),
    )
    list_filter = ("active",)
    search_fields = ("name",)
    readonly_fields = ("created_at",)
    inlines = (DeploymentInline,)


@admin.register(ModelAlias)
class ModelAliasAdmin(CatalogAdmin):
    list_display = ("name", "public_model")
    list_select_related = ("public_model",)
    search_fields = ("name", "public_model__name")
    readonly_fields = ("created_at",)
    autocomplete_fields = ("public_model",)


@admin.register(Deployment)
class DeploymentAdmin(CatalogAdmin):
    list_display = ("public_model", "provider", "upstream_model", "priority", "weight", "active")
    list_filter = ("active",)
    list_select_related = ("public_model", "provider")
    search_fields = ("public_model__name", "upstream_model")
    autocomplete_fields = ("public_model", "provider")
