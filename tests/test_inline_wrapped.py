"""What tools put around middleware goes on working, and its hooks run inline where that is safe."""

from __future__ import annotations

import sys
from functools import wraps
from importlib import metadata
from types import FunctionType
from typing import Any

import pytest
import wrapt
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import MiddlewareNotUsed
from django.core.handlers import base
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.security import SecurityMiddleware
from django.utils.decorators import async_only_middleware
from django.utils.deprecation import MiddlewareMixin

from asyncviews import inline_classes
from asyncviews.handler import HTTPHandler as Handler
from asyncviews.inline_rules import THREAD
from asyncviews.middleware_costs import middleware_costs
from tests.test_inline import Browser, Scenario, get, hooks_seen, on_event_loop, post, stage

__all__ = ["stage"]  # a fixture

CALLS: list[str] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    CALLS.clear()


class Outer(MiddlewareMixin):
    """Loaded last, like a tool that then patches what was loaded before."""

    patch: Any = None

    def __init__(self, get_response):
        super().__init__(get_response)
        if self.patch:
            type(self).patch()


def noting(wrapped: Any, name: str) -> Any:
    """What a tool puts around a link: an async function that notes each call."""

    @wraps(wrapped)
    async def traced(request):
        CALLS.append(name)
        return await wrapped(request)

    return traced


@pytest.fixture
def traced_links(monkeypatch) -> None:
    """Each link is wrapped, as by New Relic."""
    convert = base.convert_exception_to_response

    def traced(get_response):
        link = convert(get_response)
        return noting(link, type(get_response).__name__) if iscoroutinefunction(link) else link

    monkeypatch.setattr(base, "convert_exception_to_response", traced)


SECURITY_AND_CSRF = Scenario("two", "Security CsrfView", [get("/plain/")], None)
INLINE = "Security.request CsrfView.request CsrfView.view CsrfView.response Security.response"


def played(stage: Any, scenario: Scenario = SECURITY_AND_CSRF) -> str:
    with stage(scenario):
        browser = Browser(Handler())
        with hooks_seen(scenario) as seen:
            assert browser.send(scenario.requests[-1]).status == 200
    return " ".join(seen)


def test_hooks_of_wrapped_links_run_inline(stage, traced_links):
    assert played(stage) == INLINE
    assert CALLS == ["SecurityMiddleware", "CsrfViewMiddleware", "method"]


def test_middleware_that_is_not_used_changes_nothing(stage, traced_links, monkeypatch):
    """Django adapts the link behind it a second time then."""

    def unused(get_response):
        raise MiddlewareNotUsed

    monkeypatch.setattr(sys.modules[__name__], "unused", unused, raising=False)
    scenario = Scenario("unused", f"{__name__}.unused Security CsrfView", [get("/plain/")], None)
    assert played(stage, scenario) == INLINE
    with stage(scenario):
        assert [cost.hops for cost in middleware_costs()] == [0, 0]


def test_what_a_project_wraps_itself_runs_inline(stage, monkeypatch):
    """A factory that makes a middleware, and puts something around it."""

    @async_only_middleware
    def factory(get_response):
        return noting(SecurityMiddleware(get_response), "own")

    monkeypatch.setattr(sys.modules[__name__], "factory", factory, raising=False)
    scenario = Scenario("own", f"{__name__}.factory", [get("/plain/")], None)
    with stage(scenario):
        handler = Handler()
        assert handler.middleware.loaded[0].hops == 0
        assert Browser(handler).send(get("/plain/")).status == 200
    assert CALLS == ["own"]


@pytest.mark.parametrize("name", ["__call__", "__acall__"])
def test_a_patched_mixin_is_called(stage, monkeypatch, name):
    """A tool that traces how each middleware is called hears of all calls."""
    original = getattr(MiddlewareMixin, name)

    def traced(self, request):
        CALLS.append(type(self).__name__)
        return original(self, request)

    monkeypatch.setattr(MiddlewareMixin, name, traced)
    expected = INLINE if name == "__call__" else INLINE.replace("request ", "request! ")
    seen = played(stage)
    assert CALLS == ["SecurityMiddleware", "CsrfViewMiddleware"]
    if name == "__call__":
        assert seen == INLINE
    else:
        assert seen == expected.replace("response", "response!")


def test_a_patch_that_comes_late_counts(stage, monkeypatch):
    """The outermost middleware is loaded last, and may patch the others then, as Elastic APM does."""
    original = SecurityMiddleware.process_request

    def traced(self, request):
        CALLS.append("traced")
        return original(self, request)

    monkeypatch.setattr(
        Outer,
        "patch",
        lambda: monkeypatch.setattr(SecurityMiddleware, "process_request", traced),
    )
    scenario = Scenario("late", f"{__name__}.Outer Security", [get("/plain/")], None)
    assert played(stage, scenario) == "Security.request! Security.response"
    assert CALLS == ["traced"]


# Wrappers that only compute


def harmless(wrapped, instance, args, kwargs):
    CALLS.append("harmless" if on_event_loop() else "harmless!")
    return wrapped(*args, **kwargs)


@pytest.fixture
def known(monkeypatch) -> None:
    number = metadata.version("wrapt")
    read = ".".join(number.split(".")[:2])
    monkeypatch.setitem(inline_classes.HARMLESS, f"{__name__}.harmless", ("wrapt", read))


def test_a_wrapper_that_only_computes_runs_inline(stage, monkeypatch, known):
    wrapper = wrapt.FunctionWrapper(SecurityMiddleware.process_request, harmless)
    monkeypatch.setattr(SecurityMiddleware, "process_request", wrapper)
    assert played(stage) == INLINE
    assert CALLS == ["harmless"]


def test_so_it_does_where_it_is_put_into_the_code(stage, monkeypatch, known):
    """As by ddtrace, which has no other trace of it in the class."""
    put_around(SecurityMiddleware.process_request, harmless, monkeypatch)
    with stage(SECURITY_AND_CSRF):
        assert Browser(Handler()).send(get("/plain/")).status == 200
    assert CALLS == ["harmless"]


def test_another_wrapper_is_told_by_its_package(monkeypatch, known):
    wrapper = wrapt.FunctionWrapper(SecurityMiddleware.process_request, lambda w, i, a, k: None)
    monkeypatch.setattr(SecurityMiddleware, "process_request", wrapper)
    assert inline_classes.rules(SecurityMiddleware)["process_request"].because == "patched by tests"


def test_another_version_of_it_is_not_known(monkeypatch, known):
    monkeypatch.setitem(inline_classes.HARMLESS, f"{__name__}.harmless", ("wrapt", "0.1"))
    put_around(SecurityMiddleware.process_request, harmless, monkeypatch)
    assert inline_classes.rules(SecurityMiddleware)["process_request"].because == "patched by tests"


def test_a_hook_that_its_condition_calls_is_wrapped_once(stage, monkeypatch, known):
    """Nobody is to see two checks of a form where Django makes one."""
    put_around(CsrfViewMiddleware.process_view, harmless, monkeypatch)
    assert inline_classes.rules(CsrfViewMiddleware)["process_view"] == THREAD
    scenario = Scenario("form", "CsrfView", [get("/token/"), post("/form/", csrf=True)], None)
    with stage(scenario):
        browser = Browser(Handler())
        browser.send(scenario.requests[0])
        CALLS.clear()
        assert browser.send(scenario.requests[1]).status == 200
    assert CALLS == ["harmless!"]


def put_around(function: FunctionType, wrapper: Any, monkeypatch: Any) -> None:
    """Replace the code of a function by other code that calls a wrapper with what it was."""
    was = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__
    )
    was.__qualname__, was.__module__ = function.__qualname__, function.__module__

    def code(*args, **kwargs):
        around: Any = "wrapper"
        return around("was", None, args, kwargs)

    replaced = tuple(
        {"wrapper": wrapper, "was": was}.get(const, const) if isinstance(const, str) else const
        for const in code.__code__.co_consts
    )
    monkeypatch.setattr(function, "__code__", code.__code__.replace(co_consts=replaced))


# What is told of it


class Opaque:
    """Shows nothing of what it wraps."""

    async_capable = True

    def __init__(self, middleware, get_response):
        self._hidden = middleware(get_response)
        markcoroutinefunction(self)

    def __call__(self, request):
        return self._hidden(request)


def test_a_wrapper_that_shows_nothing_is_told(stage, monkeypatch):
    """Django's way is taken, and counted."""

    def import_string(path):
        def wrapper(get_response):
            return Opaque(cls, get_response)

        cls = original(path)
        wrapper.async_capable = True
        return wrapper

    original = base.import_string
    monkeypatch.setattr(base, "import_string", import_string)
    scenario = Scenario("opaque", "Security", [get("/plain/")], None)
    assert played(stage, scenario) == "Security.request! Security.response!"
    with stage(scenario):
        (cost,) = middleware_costs()
    assert (cost.hops, cost.summary) == (2, "thread, 2 hops: wrapped by tests")
