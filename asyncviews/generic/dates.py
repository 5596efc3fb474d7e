"""Archives: objects by their dates. What they compute, and what they query, is Django's."""

from __future__ import annotations

from datetime import date
from typing import Any, TypeAlias

from asgiref.sync import sync_to_async
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from asyncviews.generic.base import render
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
from asyncviews.generic.detail import (
    AsyncBaseDetailView,
    AsyncSingleObjectTemplateResponseMixin,
)
from asyncviews.generic.list import (
    AsyncMultipleObjectMixin,
    AsyncMultipleObjectTemplateResponseMixin,
)
from asyncviews.hooks import require_decided
from asyncviews.views import AsyncView

DatedItems: TypeAlias = "tuple[QuerySet[M, date] | None, QuerySet[M], dict[str, Any]]"


class AsyncBaseDateListView(AsyncMultipleObjectMixin[M], AsyncView, BaseDateListView[M]):
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
        return await render(self, context)


class AsyncBaseArchiveIndexView(AsyncBaseDateListView[M], BaseArchiveIndexView[M]):
    """The latest objects, and the years in which there are any."""


class AsyncArchiveIndexView(AsyncMultipleObjectTemplateResponseMixin, AsyncBaseArchiveIndexView[M]):
    """The same, with a template."""

    template_name_suffix = "_archive"


class AsyncBaseYearArchiveView(AsyncBaseDateListView[M], BaseYearArchiveView[M]):
    """A year, its months, and its objects if `make_object_list` says so."""


class AsyncYearArchiveView(AsyncMultipleObjectTemplateResponseMixin, AsyncBaseYearArchiveView[M]):
    """The same, with a template."""

    template_name_suffix = "_archive_year"


class AsyncBaseMonthArchiveView(AsyncBaseDateListView[M], BaseMonthArchiveView[M]):
    """The objects of a month, and its days."""


class AsyncMonthArchiveView(AsyncMultipleObjectTemplateResponseMixin, AsyncBaseMonthArchiveView[M]):
    """The same, with a template."""

    template_name_suffix = "_archive_month"


class AsyncBaseWeekArchiveView(AsyncBaseDateListView[M], BaseWeekArchiveView[M]):
    """The objects of a week."""


class AsyncWeekArchiveView(AsyncMultipleObjectTemplateResponseMixin, AsyncBaseWeekArchiveView[M]):
    """The same, with a template."""

    template_name_suffix = "_archive_week"


class AsyncBaseDayArchiveView(AsyncBaseDateListView[M], BaseDayArchiveView[M]):
    """The objects of a day."""


class AsyncDayArchiveView(AsyncMultipleObjectTemplateResponseMixin, AsyncBaseDayArchiveView[M]):
    """The same, with a template."""

    template_name_suffix = "_archive_day"


class AsyncBaseTodayArchiveView(AsyncBaseDayArchiveView[M], BaseTodayArchiveView[M]):
    """The objects of today."""


class AsyncTodayArchiveView(AsyncMultipleObjectTemplateResponseMixin, AsyncBaseTodayArchiveView[M]):
    """The same, with a template."""

    template_name_suffix = "_archive_day"


class AsyncBaseDateDetailView(AsyncBaseDetailView[M], BaseDateDetailView[M]):
    """One object of a day."""


class AsyncDateDetailView(AsyncSingleObjectTemplateResponseMixin, AsyncBaseDateDetailView[M]):
    """The same, with a template."""
