"""Durable tasks in the admin: to look at, to retry, to cancel.

Arguments and results are shown without secrets, so nothing may be asked about them either: by
filters, one letter after the other can be guessed.
"""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from asyncviews.durable import store, worker
from asyncviews.durable.models import StoredTask
from asyncviews.durable.results import shown_arguments, shown_result


@admin.register(StoredTask)
class StoredTaskAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # generic for mypy only
    """The list of tasks. They are made and changed by code only."""

    list_display = (
        "task_path", "status", "arguments", "queue_name", "priority", "enqueued_at", "run_after",
        "started_at", "finished_at", "interruptions",
    )  # fmt: skip
    list_filter = ("status", "backend", "queue_name", "task_path")
    search_fields = ("id", "task_path")
    date_hierarchy = "enqueued_at"
    ordering = ("-enqueued_at",)
    actions = ("retry", "cancel")
    fields = (
        "id", "task_path", "arguments", "backend", "queue_name", "priority", "run_after", "status",
        "enqueued_at", "started_at", "last_attempted_at", "finished_at", "interruptions",
        "cancel_requested", "leased_by", "worker_ids", "result", "tracebacks",
    )  # fmt: skip
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Whether a URL may filter by `lookup`: only by what there is a filter for."""
        field = lookup.partition("__")[0]
        if field in {each.name for each in self.opts.get_fields()}:
            return field in self._filtered(request)
        return super().lookup_allowed(lookup, value, request)

    def _filtered(self, request: HttpRequest) -> set[object]:
        filters = self.get_list_filter(request)
        names = {each[0] if isinstance(each, tuple) else each for each in filters}
        return {*names, self.date_hierarchy}

    @admin.display(description=_("arguments"))
    def arguments(self, stored: StoredTask) -> str:
        return shown_arguments(stored)

    @admin.display(description=_("return value"))
    def result(self, stored: StoredTask) -> str:
        return shown_result(stored)

    @admin.display(description=_("errors"))
    def tracebacks(self, stored: StoredTask) -> str:
        return "\n".join(error["traceback"] for error in stored.errors)

    @admin.action(description=_("Run selected failed tasks again"), permissions=["change"])
    def retry(self, request: HttpRequest, queryset: QuerySet[StoredTask]) -> None:
        backends = set(queryset.values_list("backend", flat=True))
        count = store.retry(queryset)
        for alias in backends:
            worker.wake(alias)
        message = ngettext("%d task is run again.", "%d tasks are run again.", count)
        self.message_user(request, message % count, messages.SUCCESS)

    @admin.action(description=_("Cancel selected tasks"), permissions=["change"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[StoredTask]) -> None:
        count = store.cancel(queryset)
        message = ngettext("%d task is cancelled.", "%d tasks are cancelled.", count)
        self.message_user(request, message % count, messages.SUCCESS)
