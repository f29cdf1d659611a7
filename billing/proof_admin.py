"""Operators' view of the proof's runs and the reconciliation's: what was broken, and which rows."""

from django.contrib import admin
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from billing.models import ProofRun, ReconciliationRun
from pages.admin import ReadOnlyAdmin


class _RunAdmin(ReadOnlyAdmin):
    list_filter = ("is_clean",)
    readonly_fields = ("broken",)
    exclude = ("report",)

    @admin.display(description="broken")
    def broken_numbers(self, run: ProofRun | ReconciliationRun) -> str:
        return ", ".join(each.number for each in run.broken)

    @admin.display(description="broken")
    def broken(self, run: ProofRun | ReconciliationRun) -> SafeString:
        rows = (
            (each.number, each.promise, what, left, right)
            for each in run.broken
            for what, left, right in each.rows
        )
        lines = format_html_join(
            "",
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{} ≠ {}</td></tr>",
            rows,
        )
        if not lines:
            return format_html("{}", "nothing")
        return format_html(
            "<table><thead><tr><th>equation</th><th>promise</th><th>row</th><th>differs</th></tr>"
            "</thead><tbody>{}</tbody></table>",
            lines,
        )


@admin.register(ProofRun)
class ProofRunAdmin(_RunAdmin):
    list_display = ("at", "is_clean", "broken_numbers", "duration_ms")


@admin.register(ReconciliationRun)
class ReconciliationRunAdmin(_RunAdmin):
    list_display = ("at", "hours", "is_clean", "broken_numbers", "duration_ms")
