"""Django's generic views, asynchronous."""

from asyncviews.generic.base import (
    AsyncContextMixin,
    AsyncRedirectView,
    AsyncTemplateResponseMixin,
    AsyncTemplateView,
)
from asyncviews.generic.dates import (
    AsyncArchiveIndexView,
    AsyncDateDetailView,
    AsyncDayArchiveView,
    AsyncMonthArchiveView,
    AsyncTodayArchiveView,
    AsyncWeekArchiveView,
    AsyncYearArchiveView,
)
from asyncviews.generic.detail import AsyncDetailView, AsyncSingleObjectMixin
from asyncviews.generic.edit import (
    AsyncCreateView,
    AsyncDeleteView,
    AsyncFormMixin,
    AsyncFormView,
    AsyncModelFormMixin,
    AsyncUpdateView,
    SuccessMessageMixin,
)
from asyncviews.generic.list import AsyncListView, AsyncMultipleObjectMixin

__all__ = [
    "AsyncArchiveIndexView",
    "AsyncContextMixin",
    "AsyncCreateView",
    "AsyncDateDetailView",
    "AsyncDayArchiveView",
    "AsyncDeleteView",
    "AsyncDetailView",
    "AsyncFormMixin",
    "AsyncFormView",
    "AsyncListView",
    "AsyncModelFormMixin",
    "AsyncMonthArchiveView",
    "AsyncMultipleObjectMixin",
    "AsyncRedirectView",
    "AsyncSingleObjectMixin",
    "AsyncTemplateResponseMixin",
    "AsyncTemplateView",
    "AsyncTodayArchiveView",
    "AsyncUpdateView",
    "AsyncWeekArchiveView",
    "AsyncYearArchiveView",
    "SuccessMessageMixin",
]
