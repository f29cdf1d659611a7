"""Operators' view of people, organizations, keys and the audit trail."""

from allauth.account.models import EmailAddress
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import Model, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest

from accounts.key_news import announce_org_change
from accounts.keys import revoke_key
from accounts.models import ApiKey, AuditEvent, Member, Organization, Project, User
from pages.admin import BoundedAdmin, ReadOnlyAdmin, refuse

# not used here: a person has one address and no group
admin.site.unregister([EmailAddress, Group])


class PersonCreationForm(AdminUserCreationForm):  # type: ignore[type-arg] # generic in the stubs only
    class Meta:
        model = User
        fields = ("email",)


@admin.register(User)
class PersonAdmin(UserAdmin):  # type: ignore[type-arg] # generic in the stubs only
    add_form = PersonCreationForm
    ordering = ("email",)
    list_display = ("email", "name", "is_staff", "is_active", "date_joined")
    list_filter = ("is_staff", "is_active")
    search_fields = ("email", "name")
    fieldsets = (
        (None, {"fields": ("email", "name", "password")}),
        ("May do", {"fields": ("is_active", "is_staff", "is_superuser", "user_permissions")}),
        ("Seen", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "usable_password", "password1", "password2")}),)
    readonly_fields = ("last_login", "date_joined")


class TenantAdmin(BoundedAdmin):
    """A change is announced, so that api processes take it up at once."""

    def save_model(
        self,
        request: HttpRequest,
        obj: Organization | Project,
        form: "ModelForm[Model]",
        change: object,
    ) -> None:
        super().save_model(request, obj, form, bool(change))
        org = obj.org if isinstance(obj, Project) else obj
        transaction.on_commit(lambda: announce_org_change(org.public_id))


@admin.register(Organization)
class OrganizationAdmin(TenantAdmin):
    """Opened by ``manage org create``, which opens its money accounts too; never deleted."""

    list_display = ("name", "public_id", "status", "timezone", "created_at")
    list_filter = ("status",)
    search_fields = ("name", "=public_id")
    readonly_fields = ("public_id", "created_at")

    has_add_permission = refuse
    has_delete_permission = refuse


@admin.register(Member)
class MemberAdmin(BoundedAdmin):
    list_display = ("user", "org", "role", "created_at")
    list_filter = ("role",)
    list_select_related = ("user", "org")
    search_fields = ("user__email", "=org__public_id")
    autocomplete_fields = ("org", "user")


@admin.register(Project)
class ProjectAdmin(TenantAdmin):
    """Archived, never deleted."""

    list_display = ("name", "public_id", "org", "archived_at", "created_at")
    list_select_related = ("org",)
    search_fields = ("name", "=public_id", "=org__public_id")
    autocomplete_fields = ("org",)
    readonly_fields = ("public_id", "created_at")

    has_delete_permission = refuse


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    """A key's text is shown once, to the member who makes it. Operators see and revoke."""

    list_display = ("masked", "name", "org", "project", "expires_at", "revoked_at")
    list_select_related = ("org", "project")
    search_fields = ("=public_id", "name", "=org__public_id")
    actions = ("revoke",)
    fields = (
        *("masked", "name", "kind", "org", "project", "allowed_models", "allowed_networks"),
        *("rpm", "rpd", "tpm", "concurrency", "expires_at", "revoked_at", "previous_until"),
        *("created_by", "created_at"),
    )

    @admin.action(description="Revoke for good", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        for key in queryset:
            revoke_key(key, actor=str(request.user))

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.change_apikey")


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ("at", "actor", "action", "target", "org")
    list_select_related = ("org",)
    search_fields = ("=actor", "=action", "=target", "=org__public_id")
