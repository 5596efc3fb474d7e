"""Many objects, and pages of them."""

from __future__ import annotations

from collections.abc import Sized
from typing import TYPE_CHECKING, Any, ClassVar

import django
from asgiref.sync import async_to_sync, sync_to_async
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from django.views.generic.list import MultipleObjectTemplateResponseMixin

from asyncviews.generic.base import AsyncContextMixin, AsyncTemplateResponseMixin, render
from asyncviews.generic.bases import M, MultipleObjectMixin
from asyncviews.hooks import decided
from asyncviews.views import AsyncView

if TYPE_CHECKING or django.VERSION >= (6, 0):
    from django.core.paginator import AsyncPaginator
else:
    AsyncPaginator = ()


class AsyncMultipleObjectMixin(AsyncContextMixin, MultipleObjectMixin[M]):
    """Django's `MultipleObjectMixin`.

    `paginator_class` may be an `AsyncPaginator`, which Django has from 6.0 on: it counts, and
    templates get a `Paginator` and its pages all the same.
    """

    _context_queries: ClassVar[bool] = True

    if TYPE_CHECKING:
        object_list: QuerySet[M]

    def get_paginator(self, *args: Any, **kwargs: Any) -> Paginator[M]:
        """Return the paginator. Called on the request's thread."""
        paginator: Any = super().get_paginator(*args, **kwargs)
        return _counted(paginator) if isinstance(paginator, AsyncPaginator) else paginator

    def paginate_queryset(
        self, queryset: QuerySet[M], page_size: int
    ) -> tuple[Paginator[M], Page[M], QuerySet[M], bool]:
        """Return paginator, page, its objects, and whether there are others. Called on the
        request's thread, where it fetches the objects, too.

        Raises:
            Http404: there is no such page.
        """
        paginator, page, object_list, has_others = super().paginate_queryset(queryset, page_size)
        len(object_list)
        return paginator, page, object_list, has_others


def _counted(counter: AsyncPaginator[M]) -> Paginator[M]:
    """Return a paginator that works in templates, with the count of an asynchronous one."""
    paginator = Paginator(
        counter.object_list,
        counter.per_page,
        counter.orphans,
        counter.allow_empty_first_page,
        counter.error_messages,
    )
    paginator.count = async_to_sync(counter.acount)()
    return paginator


class AsyncBaseListView(AsyncMultipleObjectMixin[M], AsyncView):
    """Renders a list of objects, `self.object_list`, however ``render_to_response()`` does that."""

    async def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.object_list = await sync_to_async(self._get_object_list)()
        return await render(self, await self.get_context_data())

    def _get_object_list(self) -> QuerySet[M]:
        object_list = self.get_queryset()
        allow_empty = decided(
            self.get_allow_empty(), f"{type(self).__qualname__}.get_allow_empty()"
        )
        if not allow_empty and self._is_empty(object_list):
            message = _("Empty list and “%(class_name)s.allow_empty” is False.")
            raise Http404(message % {"class_name": type(self).__name__})
        return object_list

    def _is_empty(self, object_list: Sized) -> bool:
        # As Django does: a cheap query if only one page is fetched later.
        if isinstance(object_list, QuerySet) and self.get_paginate_by(object_list) is not None:
            return not object_list.exists()
        return len(object_list) == 0


class AsyncMultipleObjectTemplateResponseMixin(
    AsyncTemplateResponseMixin, MultipleObjectTemplateResponseMixin
):
    """Django's `MultipleObjectTemplateResponseMixin`: the template is named after the model."""


class AsyncListView(AsyncMultipleObjectTemplateResponseMixin, AsyncBaseListView[M]):
    """Renders a list of objects with a template."""
