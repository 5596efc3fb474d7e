"""Django's generic classes, as the views here are built on them.

At run time they are Django's, and subscriptable: ``SingleObjectMixin[Article]`` is the class
itself. Type checkers see them without the hooks that are asynchronous here, or each subclass of
each view would be told that `async def` is incompatible with Django's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = [
    "BaseArchiveIndexView",
    "BaseDateDetailView",
    "BaseDateListView",
    "BaseDayArchiveView",
    "BaseDeleteView",
    "BaseMonthArchiveView",
    "BaseTodayArchiveView",
    "BaseWeekArchiveView",
    "BaseYearArchiveView",
    "ContextMixin",
    "DeleteFormT",
    "DeletionMixin",
    "FormMixin",
    "FormT",
    "M",
    "ModelFormMixin",
    "ModelFormT",
    "MultipleObjectMixin",
    "RedirectView",
    "SingleObjectMixin",
    "SuccessMessageMixin",
]

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date
    from typing import Generic, Literal

    from django.core.paginator import Page, Paginator
    from django.db.models import Model, QuerySet
    from django.forms import Form, ModelForm
    from django.forms.forms import BaseForm
    from django.forms.formsets import BaseFormSet
    from django.forms.models import BaseInlineFormSet, BaseModelForm
    from django.http import HttpRequest
    from django.views.generic.dates import DateMixin, DayMixin, MonthMixin, WeekMixin, YearMixin
    from django_stubs_ext import StrOrPromise
    from typing_extensions import TypeVar

    M = TypeVar("M", bound=Model)
    FormT = TypeVar("FormT", bound=BaseForm | BaseFormSet[Any])
    DeleteFormT = TypeVar("DeleteFormT", bound=BaseForm | BaseFormSet[Any], default=Form)
    ModelFormT = TypeVar(
        "ModelFormT",
        bound=BaseModelForm[Any] | BaseInlineFormSet[Any, Any, Any],
        default=ModelForm[Any],
    )

    class ContextMixin:
        extra_context: Mapping[str, Any] | None
        request: HttpRequest
        args: tuple[Any, ...]
        kwargs: dict[str, Any]

    class RedirectView:
        permanent: bool
        url: StrOrPromise | None
        pattern_name: str | None
        query_string: bool

    class SingleObjectMixin(ContextMixin, Generic[M]):
        model: type[M] | None
        queryset: QuerySet[M] | None
        slug_field: str
        context_object_name: str | None
        slug_url_kwarg: str
        pk_url_kwarg: str
        query_pk_and_slug: bool

        def get_queryset(self) -> QuerySet[M]: ...
        def get_slug_field(self) -> str: ...
        def get_context_object_name(self, obj: object) -> str | None: ...

    class MultipleObjectMixin(ContextMixin, Generic[M]):
        allow_empty: bool
        queryset: QuerySet[M] | None
        model: type[M] | None
        paginate_by: int | None
        paginate_orphans: int
        context_object_name: str | None
        paginator_class: type[Any]
        page_kwarg: str
        ordering: str | Sequence[Any] | None

        def get_queryset(self) -> QuerySet[M]: ...
        def get_ordering(self) -> str | Sequence[Any] | None: ...
        def paginate_queryset(
            self, queryset: QuerySet[M], page_size: int
        ) -> tuple[Paginator[M], Page[M], QuerySet[M], bool]: ...
        def get_paginate_by(self, queryset: QuerySet[M]) -> int | None: ...
        def get_paginator(
            self,
            queryset: QuerySet[M],
            per_page: int,
            orphans: int = 0,
            allow_empty_first_page: bool = True,
            **kwargs: Any,
        ) -> Paginator[M]: ...
        def get_paginate_orphans(self) -> int: ...
        def get_allow_empty(self) -> bool: ...
        def get_context_object_name(self, object_list: object) -> str | None: ...

    class FormMixin(ContextMixin, Generic[FormT]):
        initial: dict[str, Any]
        form_class: type[FormT] | None
        success_url: StrOrPromise | None
        prefix: str | None

        def get_initial(self) -> dict[str, Any]: ...
        def get_prefix(self) -> str | None: ...
        def get_form_class(self) -> type[FormT]: ...
        def get_form_kwargs(self) -> dict[str, Any]: ...
        def get_success_url(self) -> str: ...

    class ModelFormMixin(FormMixin[ModelFormT], SingleObjectMixin[M], Generic[M, ModelFormT]):
        fields: Sequence[str] | Literal["__all__"] | None

    class DeletionMixin(Generic[M]):
        object: M
        success_url: StrOrPromise | None

        def get_success_url(self) -> str: ...

    class BaseDeleteView(DeletionMixin[M]): ...

    class BaseDateListView(MultipleObjectMixin[M], DateMixin):
        date_list_period: str

        def get_dated_queryset(self, **lookup: Any) -> QuerySet[M]: ...
        def get_date_list_period(self) -> str: ...
        def get_date_list(
            self, queryset: QuerySet[M], date_type: str | None = None, ordering: str = "ASC"
        ) -> QuerySet[M, date]: ...

    class BaseArchiveIndexView(BaseDateListView[M]): ...

    class BaseYearArchiveView(YearMixin, BaseDateListView[M]):
        make_object_list: bool

        def get_make_object_list(self) -> bool: ...

    class BaseMonthArchiveView(YearMixin, MonthMixin, BaseDateListView[M]): ...

    class BaseWeekArchiveView(YearMixin, WeekMixin, BaseDateListView[M]): ...

    class BaseDayArchiveView(YearMixin, MonthMixin, DayMixin, BaseDateListView[M]): ...

    class BaseTodayArchiveView(BaseDayArchiveView[M]): ...

    class BaseDateDetailView(YearMixin, MonthMixin, DayMixin, DateMixin, SingleObjectMixin[M]): ...

    class SuccessMessageMixin:
        success_message: StrOrPromise
        request: HttpRequest

        def get_success_message(self, cleaned_data: dict[str, Any]) -> str: ...

else:
    from typing import TypeVar

    from django.contrib.messages.views import SuccessMessageMixin
    from django.views.generic import dates, detail, edit
    from django.views.generic import list as list_
    from django.views.generic.base import ContextMixin, RedirectView

    M = TypeVar("M")
    FormT = TypeVar("FormT")
    DeleteFormT = TypeVar("DeleteFormT")
    ModelFormT = TypeVar("ModelFormT")

    def _subscriptable(cls: type) -> type:
        namespace = {"__module__": __name__, "__class_getitem__": lambda cls, _: cls}
        return type(cls.__name__, (cls,), namespace)

    BaseArchiveIndexView = _subscriptable(dates.BaseArchiveIndexView)
    BaseDateDetailView = _subscriptable(dates.BaseDateDetailView)
    BaseDateListView = _subscriptable(dates.BaseDateListView)
    BaseDayArchiveView = _subscriptable(dates.BaseDayArchiveView)
    BaseDeleteView = _subscriptable(edit.BaseDeleteView)
    BaseMonthArchiveView = _subscriptable(dates.BaseMonthArchiveView)
    BaseTodayArchiveView = _subscriptable(dates.BaseTodayArchiveView)
    BaseWeekArchiveView = _subscriptable(dates.BaseWeekArchiveView)
    BaseYearArchiveView = _subscriptable(dates.BaseYearArchiveView)
    DeletionMixin = _subscriptable(edit.DeletionMixin)
    FormMixin = _subscriptable(edit.FormMixin)
    ModelFormMixin = _subscriptable(edit.ModelFormMixin)
    MultipleObjectMixin = _subscriptable(list_.MultipleObjectMixin)
    SingleObjectMixin = _subscriptable(detail.SingleObjectMixin)
