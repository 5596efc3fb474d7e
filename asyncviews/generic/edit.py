"""Forms, and objects that are created, changed and deleted with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, cast

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase

from asyncviews.generic import bases
from asyncviews.generic.base import (
    AsyncContextMixin,
    AsyncTemplateResponseMixin,
    render,
    share_parameters,
)
from asyncviews.generic.bases import (
    BaseDeleteView,
    DeleteFormT,
    DeletionMixin,
    FormMixin,
    FormT,
    M,
    ModelFormMixin,
    ModelFormT,
)
from asyncviews.generic.detail import (
    AsyncBaseDetailView,
    AsyncSingleObjectMixin,
    AsyncSingleObjectTemplateResponseMixin,
)
from asyncviews.hooks import decide
from asyncviews.views import AsyncView


class AsyncFormMixin(AsyncContextMixin, FormMixin[FormT]):
    """Django's `FormMixin`. Forms are made, validated and saved on the request's thread."""

    async def get_form(self, form_class: type[FormT] | None = None) -> FormT:
        """Return the form, bound to what the request carries if that is a POST or PUT."""
        make: Callable[..., FormT] = super().get_form  # type: ignore[misc]
        return await sync_to_async(make)(form_class)

    async def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        if "form" not in kwargs:
            kwargs["form"] = await self.get_form()
        return await super().get_context_data(**kwargs)

    async def process_form(self) -> HttpResponse:
        """Answer with `form_valid()` or `form_invalid()`, as the form that was sent is."""
        form = await self.get_form()
        answer = await sync_to_async(form.is_valid)()
        is_valid = await decide(answer, f"{type(form).__qualname__}.is_valid()")
        return await (self.form_valid(form) if is_valid else self.form_invalid(form))

    async def form_valid(self, form: FormT) -> HttpResponse:
        """Do what the form asks for, and redirect to `get_success_url()`."""
        save: Callable[..., HttpResponse] = super().form_valid  # type: ignore[misc]
        return await sync_to_async(save)(form)

    async def form_invalid(self, form: FormT) -> HttpResponse:
        """Render the form with its errors."""
        return cast("HttpResponse", await render(self, await self.get_context_data(form=form)))


class AsyncModelFormMixin(
    AsyncFormMixin[ModelFormT],
    AsyncSingleObjectMixin[M],
    ModelFormMixin[M, ModelFormT],
    Generic[M, ModelFormT],
):
    """Django's `ModelFormMixin`. A valid form is saved, and `self.object` is what it has saved."""


class AsyncProcessFormView(AsyncView):
    """Renders a form on GET, and processes it on POST and PUT."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        share_parameters(cls, "post", "put", owner=AsyncProcessFormView)

    if TYPE_CHECKING:
        get_context_data: Any
        process_form: Any

    async def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return await render(self, await self.get_context_data())

    async def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response: HttpResponseBase = await self.process_form()
        return response

    async def put(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return await self.post(request, *args, **kwargs)


class AsyncBaseFormView(AsyncFormMixin[FormT], AsyncProcessFormView):
    """Shows a form, and redirects once it is valid, however ``render_to_response()`` shows it."""


class AsyncFormView(AsyncTemplateResponseMixin, AsyncBaseFormView[FormT]):
    """The same, with a template."""


class AsyncBaseCreateView(AsyncModelFormMixin[M, ModelFormT], AsyncProcessFormView):
    """Shows a form for a new object, and saves it."""

    if TYPE_CHECKING:
        object: M | None

    async def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.object = None
        return await super().get(request, *args, **kwargs)

    async def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.object = None
        return await super().post(request, *args, **kwargs)


class AsyncCreateView(AsyncSingleObjectTemplateResponseMixin, AsyncBaseCreateView[M, ModelFormT]):
    """The same, with a template."""

    template_name_suffix = "_form"


class AsyncBaseUpdateView(AsyncModelFormMixin[M, ModelFormT], AsyncProcessFormView):
    """Shows a form for an object that there is, and saves what is changed in it."""

    if TYPE_CHECKING:
        object: M

    async def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.object = await self.get_object()
        return await super().get(request, *args, **kwargs)

    async def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.object = await self.get_object()
        return await super().post(request, *args, **kwargs)


class AsyncUpdateView(AsyncSingleObjectTemplateResponseMixin, AsyncBaseUpdateView[M, ModelFormT]):
    """The same, with a template."""

    template_name_suffix = "_form"


class AsyncDeletionMixin(DeletionMixin[M]):
    """Django's `DeletionMixin`: deletes what ``get_object()`` returns, on POST and DELETE."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if issubclass(cls, AsyncView):
            share_parameters(cls, "delete", "post", owner=AsyncDeletionMixin)

    async def delete(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.object = await self.get_object()  # type: ignore[attr-defined]
        return await sync_to_async(self._delete)()

    async def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return await self.delete(request, *args, **kwargs)

    def _delete(self) -> HttpResponse:
        success_url = self.get_success_url()  # while there is an object to name in it
        self.object.delete()
        return HttpResponseRedirect(success_url)


class AsyncBaseDeleteView(
    AsyncDeletionMixin[M],
    AsyncFormMixin[DeleteFormT],
    AsyncBaseDetailView[M],
    BaseDeleteView[M],
    Generic[M, DeleteFormT],
):
    """Asks whether to delete an object on GET, and deletes it on POST and DELETE."""

    async def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.object = await self.get_object()
        return await self.process_form()


class AsyncDeleteView(AsyncSingleObjectTemplateResponseMixin, AsyncBaseDeleteView[M, DeleteFormT]):
    """The same, with a template."""

    template_name_suffix = "_confirm_delete"


class SuccessMessageMixin(bases.SuccessMessageMixin):
    """Django's `SuccessMessageMixin`: a message for the user once a form was valid."""

    async def form_valid(self, form: Any) -> HttpResponse:
        response: HttpResponse = await super(bases.SuccessMessageMixin, self).form_valid(form)  # type: ignore[misc]
        await sync_to_async(self._add_message)(form)
        return response

    def _add_message(self, form: Any) -> None:
        if message := self.get_success_message(form.cleaned_data):
            messages.success(self.request, message)
