"""`async_mixin()`: where its code runs, what it refuses, and that it knows all hooks."""

from __future__ import annotations

import threading

import pytest
from asgiref.sync import iscoroutinefunction
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import HttpResponse
from django.test import AsyncRequestFactory
from django.views.generic.base import View

from asyncviews import AsyncView, auth, generic
from asyncviews.generic import AsyncFormView, AsyncTemplateView, async_mixin
from asyncviews.generic.adapters import AWAITED
from asyncviews.hooks import _declared


def here() -> bool:
    return threading.current_thread() is threading.main_thread()


class Threads:
    """Says which code runs on the event loop's thread."""

    def get_context_data(self, **kwargs):
        found = [*kwargs.pop("found", []), ("mixin", here())]
        return super().get_context_data(found=found, **kwargs)


class Behind(AsyncTemplateView):
    template_name = "x"

    async def get_context_data(self, **kwargs):
        kwargs["found"] = [*kwargs["found"], ("behind", here())]
        return await super().get_context_data(**kwargs)


class Page(async_mixin(Threads), Behind):
    async def get_context_data(self, **kwargs):
        return await super().get_context_data(found=[("page", here())], **kwargs)


async def test_code_of_the_mixin_runs_on_a_thread_and_async_hooks_on_the_event_loop():
    response = await Page.as_view()(AsyncRequestFactory().get("/"))
    found = [("page", True), ("mixin", False), ("behind", True)]
    assert response.context_data["found"] == found


async def test_subclasses_go_on():
    class More(Page):
        async def get_context_data(self, **kwargs):
            return await super().get_context_data(**kwargs) | {"more": here()}

    response = await More.as_view()(AsyncRequestFactory().get("/"))
    assert response.context_data["more"] is True
    assert len(response.context_data["found"]) == 3


async def test_a_thread_may_call_what_is_async():
    class Calls:
        def get(self, request, *args, **kwargs):
            context = self.get_context_data()
            return HttpResponse(f"{context['name']} {here()}")

    class Named(async_mixin(Calls), AsyncTemplateView):
        async def get_context_data(self, **kwargs):
            return await super().get_context_data(name=f"ribs {here()}", **kwargs)

    response = await Named.as_view()(AsyncRequestFactory().get("/"))
    assert response.content == b"ribs True False"


@pytest.mark.parametrize("bases", ["auth first", "mixin first"])
async def test_access_is_asked_in_the_order_of_the_bases(bases):
    asked = []

    class Asks:
        def dispatch(self, request, *args, **kwargs):
            asked.append("mixin")
            return super().dispatch(request, *args, **kwargs)

    class Refuses(auth.UserPassesTestMixin):
        def test_func(self):
            asked.append("auth")
            raise PermissionDenied

    order = (Refuses, async_mixin(Asks)) if bases == "auth first" else (async_mixin(Asks), Refuses)
    view = type("View", (*order, AsyncTemplateView), {"template_name": "x"})
    with pytest.raises(PermissionDenied):
        await view.as_view()(AsyncRequestFactory().get("/", headers={"accept": "text/html"}))
    assert asked == (["auth"] if bases == "auth first" else ["mixin", "auth"])


def test_what_needs_no_adapter_is_refused():
    class Plain:
        def get_form_kwargs(self): ...

    with pytest.raises(ImproperlyConfigured, match=r"Plain overrides nothing that is awaited"):
        async_mixin(Plain)


def test_djangos_access_mixins_are_still_refused():
    with pytest.raises(ImproperlyConfigured, match=r"take the class of that name from asyncviews"):

        class Page(async_mixin(LoginRequiredMixin), AsyncTemplateView): ...


def test_the_error_about_a_synchronous_hook_names_the_adapter():
    class Saves:
        def form_valid(self, form): ...

    with pytest.raises(ImproperlyConfigured, match=r"Or inherit from async_mixin\(Saves\)"):

        class Page(Saves, AsyncFormView): ...


def test_all_hooks_are_known():
    """Each hook of Django's that is awaited by a view or a mixin here."""
    classes = [AsyncView, auth.PermissionRequiredMixin, *map(generic.__dict__.get, generic.__all__)]
    awaited = {
        name
        for cls in classes
        if isinstance(cls, type)
        for base, name, function in _declared(cls)
        if base.__module__.startswith("asyncviews.") and iscoroutinefunction(function)
    }
    ours = {"authorize", "throttle", "render", "handle", "handle_invalid", "handle_exception"}
    ours |= {"process_form", *View.http_method_names}
    assert {name for name in awaited if name[0] != "_"} - ours == {*AWAITED}
