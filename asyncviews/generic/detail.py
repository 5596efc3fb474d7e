"""One object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.generic.detail import SingleObjectTemplateResponseMixin

from asyncviews.generic.base import AsyncContextMixin, AsyncTemplateResponseMixin, render
from asyncviews.generic.bases import M, SingleObjectMixin
from asyncviews.hooks import require_decided
from asyncviews.views import AsyncView


class AsyncSingleObjectMixin(AsyncContextMixin, SingleObjectMixin[M]):
    """Django's `SingleObjectMixin`."""

    async def get_object(self, queryset: QuerySet[M] | None = None) -> M:
        """Return the object that the URL names, out of `queryset` or `get_queryset()`.

        Raises:
            Http404: there is none.
        """
        return await sync_to_async(self._query_object)(queryset)

    def _query_object(self, queryset: QuerySet[M] | None) -> M:
        require_decided(self, "get_allow_future")  # of those that are found by date
        found: M = super().get_object(queryset)  # type: ignore[misc]
        return found


class AsyncBaseDetailView(AsyncSingleObjectMixin[M], AsyncView):
    """Renders one object, however ``render_to_response()`` does that."""

    if TYPE_CHECKING:
        object: M

    async def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.object = await self.get_object()
        return await render(self, await self.get_context_data(object=self.object))


class AsyncSingleObjectTemplateResponseMixin(
    AsyncTemplateResponseMixin, SingleObjectTemplateResponseMixin
):
    """Django's `SingleObjectTemplateResponseMixin`: the template is named after the model."""


class AsyncDetailView(AsyncSingleObjectTemplateResponseMixin, AsyncBaseDetailView[M]):
    """Renders one object with a template."""
