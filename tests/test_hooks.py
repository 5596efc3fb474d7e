"""Whose code runs when a hook or an attribute of a view is used, and on which thread that is."""

from __future__ import annotations

import functools
import threading
from unittest.mock import Mock, patch

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory
from django.views.generic.base import ContextMixin, TemplateResponseMixin

from asyncviews import AsyncView
from asyncviews.auth import LoginRequiredMixin, UserPassesTestMixin
from asyncviews.generic import AsyncDetailView, AsyncListView, AsyncRedirectView, AsyncTemplateView
from asyncviews.hooks import runs_own_code
from asyncviews.problems import NotFound


def here() -> bool:
    """Whether this is the thread of the event loop."""
    return threading.current_thread() is threading.main_thread()


class Own(AsyncTemplateView):
    def get_template_names(self):
        return ["x"]


class OwnProperty(AsyncTemplateView):
    @property
    def template_name(self):
        return "x"


class Inherits(Own):
    template_name = "y"


@pytest.mark.parametrize(
    ("view", "name", "own"),
    [
        (AsyncListView, "get_template_names", False),
        (AsyncDetailView, "get_context_object_name", False),
        (AsyncTemplateView, "template_name", False),
        (AsyncTemplateView, "response_class", False),
        (AsyncTemplateView, "nothing", False),
        (AsyncView, "setup", False),
        (Own, "get_template_names", True),
        (Own, "render_to_response", False),
        (OwnProperty, "template_name", True),
        (Inherits, "get_template_names", True),
        (Inherits, "template_name", False),
    ],
)
def test_whose_code_runs(view, name, own):
    assert runs_own_code(view, name) is own
    assert runs_own_code(view(), name) is own


def test_what_an_object_has_of_its_own():
    view = AsyncTemplateView(template_name="x", get_template_names=lambda: ["x"])
    assert not runs_own_code(view, "template_name")
    assert runs_own_code(view, "get_template_names")


def test_what_a_tool_has_put_in_place_of_djangos():
    """It may record in a database, or be a test's."""
    djangos = TemplateResponseMixin.get_template_names

    @functools.wraps(djangos)
    def traced(self):
        return djangos(self)

    for replacement in (traced, Mock(return_value=["x"]), lambda self: ["x"]):
        with patch.object(TemplateResponseMixin, "get_template_names", replacement):
            assert runs_own_code(AsyncTemplateView(), "get_template_names")
    assert not runs_own_code(AsyncTemplateView(), "get_template_names")


class Behind(ContextMixin):
    def get_context_data(self, **kwargs):
        return super().get_context_data(**kwargs) | {"behind": here()}


@pytest.mark.parametrize("view", [AsyncTemplateView, AsyncDetailView])
async def test_a_mixin_behind_a_view_adds_to_the_context_on_the_thread(view):
    async def get_object(self):
        return object()

    attributes = {"template_name": "x", "get_object": get_object}
    page = type("Page", (view, Behind), attributes)
    response = await page.as_view()(AsyncRequestFactory().get("/"))
    assert response.context_data["behind"] is False


async def answer(view, **attributes):
    page = type("Page", (view,), {"template_name": "x"} | attributes)
    return await page.as_view()(AsyncRequestFactory().get("/", headers={"Accept": "text/html"}))


def noted(threads, result=None):
    """Return a hook that notes on which thread it is called."""

    def hook(self, *args, **kwargs):
        threads.append(here())
        return result

    return hook


@pytest.mark.parametrize(
    ("view", "name", "result"),
    [
        (AsyncTemplateView, "render_to_response", HttpResponse()),
        (AsyncTemplateView, "get_template_names", ["x"]),
        (AsyncTemplateView, "extra_context", {}),
        (AsyncTemplateView, "template_name", "x"),
        (AsyncTemplateView, "content_type", None),
        (AsyncRedirectView, "url", "/"),
        (UserPassesTestMixin, "get_test_func", lambda: True),
    ],
)
async def test_where_a_hook_is_called(view, name, result):
    threads = []
    hook = noted(threads, result)
    base = view if issubclass(view, AsyncView) else type("View", (view, AsyncTemplateView), {})
    is_method = callable(getattr(base, name, None))
    await answer(base, **{name: hook if is_method else property(hook)})
    assert {*threads} == {False}


async def test_a_user_may_look_up_whether_it_is_authenticated():
    threads = []
    user = type("User", (), {"is_authenticated": property(noted(threads, True))})()

    class Protected(LoginRequiredMixin, AsyncView):
        async def get(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse()

    request = AsyncRequestFactory().get("/")
    request.user = user
    assert (await Protected.as_view()(request)).status_code == 200
    assert threads == [False]


class Fetches(AsyncView):
    def setup(self, request, *args, **kwargs):
        super().setup(request, *args, **kwargs)
        self.thread = here()
        if "missing" in request.GET:
            raise NotFound

    async def get(self, request: HttpRequest) -> dict[str, bool]:
        return {"setup": self.thread, "handler": here()}


async def test_setup_runs_on_the_thread():
    response = await Fetches.as_view()(AsyncRequestFactory().get("/"))
    assert response.content == b'{"setup":false,"handler":true}'


async def test_setup_may_raise_a_problem():
    response = await Fetches.as_view()(AsyncRequestFactory().get("/?missing"))
    assert response.status_code == 404


async def test_setup_has_to_call_super():
    class Forgets(Fetches):
        def setup(self, request, *args, **kwargs): ...

    with pytest.raises(AttributeError, match=r"Forgets\.setup\(\) must call super\(\)\.setup\(\)"):
        await Forgets.as_view()(AsyncRequestFactory().get("/"))


async def test_what_as_view_is_given_is_there_in_setup():
    class Named(Fetches):
        name = ""

        def setup(self, request, *args, **kwargs):
            super().setup(request, *args, **kwargs)
            self.thread = self.name == "ribs"

    response = await Named.as_view(name="ribs")(AsyncRequestFactory().get("/"))
    assert b'"setup":true' in response.content
