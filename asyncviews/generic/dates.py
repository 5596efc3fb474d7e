"""Archives: objects by their dates. What they compute, and what they query, is Django's."""

from __future__ import annotations

from datetime import date
from typing import Any, TypeAlias

from asgiref.sync import sync_to_async
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.generic.list import MultipleObjectTemplateResponseMixin

from asyncviews.generic.base import AsyncTemplateResponseMixin
from asyncviews.generic.bases import (
    BaseArchiveIndexView,
    BaseDateDetailView,
    BaseDateListView,
    BaseDayArchiveView,
    BaseMonthArchiveView,
    BaseTodayArchiveView,
    BaseWeekArchiveView,
    BaseYearArchiveView,
    M,
)
from asyncviews.generic.detail import AsyncDetailView
from asyncviews.generic.list import AsyncMultipleObjectMixin
from asyncviews.hooks import require_decided
from asyncviews.views import AsyncView

DatedItems: TypeAlias = "tuple[QuerySet[M, date] | None, QuerySet[M], dict[str, Any]]"


class AsyncDateListView(
    AsyncTemplateResponseMixin,
    MultipleObjectTemplateResponseMixin,
    AsyncMultipleObjectMixin[M],
    AsyncView,
    BaseDateListView[M],
):
    """What the archives share."""

    async def get_dated_items(self) -> DatedItems[M]:
        """Return the list of dates, the objects, and what else goes into the context."""
        return await sync_to_async(self._query_dated_items)()

    def _query_dated_items(self) -> DatedItems[M]:
        require_decided(self, "get_allow_empty", "get_allow_future", "get_make_object_list")
        items: DatedItems[M] = super().get_dated_items()  # type: ignore[misc]
        return items

    async def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.date_list, self.object_list, extra_context = await self.get_dated_items()
        context = await self.get_context_data(
            object_list=self.object_list, date_list=self.date_list, **extra_context
        )
        return self.render_to_response(context)


class AsyncArchiveIndexView(AsyncDateListView[M], BaseArchiveIndexView[M]):
    """The latest objects, and the years in which there are any."""

    template_name_suffix = "_archive"


class AsyncYearArchiveView(AsyncDateListView[M], BaseYearArchiveView[M]):
    """A year, its months, and its objects if `make_object_list` says so."""

    template_name_suffix = "_archive_year"


class AsyncMonthArchiveView(AsyncDateListView[M], BaseMonthArchiveView[M]):
    """The objects of a month, and its days."""

    template_name_suffix = "_archive_month"


class AsyncWeekArchiveView(AsyncDateListView[M], BaseWeekArchiveView[M]):
    """The objects of a week."""

    template_name_suffix = "_archive_week"


class AsyncDayArchiveView(AsyncDateListView[M], BaseDayArchiveView[M]):
    """The objects of a day."""

    template_name_suffix = "_archive_day"


class AsyncTodayArchiveView(AsyncDateListView[M], BaseTodayArchiveView[M]):
    """The objects of today."""

    template_name_suffix = "_archive_day"


class AsyncDateDetailView(AsyncDetailView[M], BaseDateDetailView[M]):
    """One object of a day."""
