"""What the operators' browser of rows is made of: rows that are seen and never changed here."""

from typing import Any, ClassVar, cast

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.utils.functional import cached_property

MOST_LISTED = 10_000


def _refuse(*args: object) -> bool:  # noqa: ARG001 # whoever asks, whatever for
    """Stand in for a permission method of an admin that nobody gets."""
    return False


refuse: Any = _refuse  # fits every permission method's signature


class BoundedPaginator(Paginator):  # type: ignore[type-arg] # generic in the stubs only
    """Counts to ``MOST_LISTED`` and no further: counting a whole ledger would read all of it."""

    @cached_property
    def count(self) -> int:
        rows = cast("QuerySet[Model]", self.object_list)
        return rows.order_by()[:MOST_LISTED].count()


class BoundedAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # generic in the stubs only
    """Newest first by primary key; the total is never counted."""

    ordering: ClassVar[tuple[str, ...]] = ("-pk",)
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 0


class ReadOnlyAdmin(BoundedAdmin):
    """Rows that only the code which owns them may write."""

    has_add_permission = refuse
    has_change_permission = refuse
    has_delete_permission = refuse
