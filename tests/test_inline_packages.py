"""Middleware of common packages runs where it is known to only compute, as under Django's handler."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from importlib import metadata

import pytest
import wrapt
from asgiref.sync import SyncToAsync
from csp.constants import NONCE
from django.contrib.auth.models import User
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpResponse
from django.template.response import TemplateResponse
from django.test import override_settings
from django.urls import clear_url_caches, path
from django.utils.deprecation import MiddlewareMixin
from django.utils.module_loading import import_string
from django_ratelimit.exceptions import Ratelimited
from prometheus_client import REGISTRY
from whitenoise.middleware import WhiteNoiseMiddleware

from asyncviews import inline_packages
from asyncviews.handler import HTTPHandler as Handler
from asyncviews.inline_classes import patcher
from asyncviews.inline_packages import PACKAGES
from asyncviews.middleware_costs import middleware_costs
from tests.test_inline import SHORT, Answer, Browser, Request, get, head, on_event_loop, post

# Django's own warning about static files, which its handler reads at once.
pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")

SECURITY, SESSION = SHORT["Security"], SHORT["Session"]
WHITENOISE = "whitenoise.middleware.WhiteNoiseMiddleware"
HIJACK = "hijack.middleware.HijackUserMiddleware"
BEFORE = "django_prometheus.middleware.PrometheusBeforeMiddleware"
AFTER = "django_prometheus.middleware.PrometheusAfterMiddleware"


async def plain(request):
    return HttpResponse("plain")


async def nonce(request):
    return HttpResponse(str(request.csp_nonce))


async def flags(request):
    request.waffles = {"new": [True, True], "old": [False, True]}
    request.waffle_tests = {"tried": True}
    return HttpResponse("flags")


async def template(request):
    response = TemplateResponse(request, "nowhere.html")
    response.content = "rendered"
    return response


async def browser(request):
    return HttpResponse(str(request.user_agent is not None))


async def session(request):
    await request.session.aset("count", 1)
    return HttpResponse("used")


async def too_many(request):
    raise Ratelimited


async def fail(request):
    raise ValueError("view")


VIEWS = [plain, nonce, flags, template, browser, session, too_many, fail]
urlpatterns = [path(f"{view.__name__}/", view) for view in VIEWS]


def handler500(request):
    return HttpResponse("broken", status=500)


def slow_down(request, exception):
    return HttpResponse("slow down", status=429)


def only_sync(get_response):
    def middleware(request):
        response = get_response(request)
        response["X-Sync"] = "yes"
        return response

    return middleware


@pytest.fixture(autouse=True)
def site(db, tmp_path, monkeypatch) -> Iterator[None]:
    monkeypatch.setattr(os, "urandom", bytes)
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "a.txt").write_text("static")
    changes = {
        "CONTENT_SECURITY_POLICY": {"DIRECTIVES": {"script-src": ["'self'", NONCE]}},
        "RATELIMIT_VIEW": f"{__name__}.slow_down",
        "ROOT_URLCONF": __name__,
        "STATIC_ROOT": str(tmp_path / "static"),
        "STATIC_URL": "/static/",
    }
    with override_settings(**changes):
        clear_url_caches()
        yield
    clear_url_caches()


@pytest.fixture
def hops(monkeypatch) -> list[str]:
    """Names what goes to a thread while middleware and view answer."""
    found: list[str] = []
    call = SyncToAsync.__call__

    async def counted(self, *args, **kwargs):
        found.append(getattr(self.func, "func", self.func).__name__)
        return await call(self, *args, **kwargs)

    monkeypatch.setattr(SyncToAsync, "__call__", counted)
    return found


def served(handler: ASGIHandler, request: Request, hops: list[str]) -> tuple[Answer, list[str]]:
    """Return what a handler answers, and what has run in a thread for it until then."""
    before = [*hops]
    hops.clear()
    answer = Browser(handler).send(request)
    around = {"_close_now", "_take", "close", "log_response", "render", "sync_send"}
    found = [name for name in hops if name not in around]
    hops[:] = before
    return answer, found


def both(middleware: list[str], request: Request, hops: list[str]) -> list[str]:
    """Check that our handler answers as Django's; return what it has run in threads."""
    with override_settings(MIDDLEWARE=middleware):
        expected, _ = served(ASGIHandler(), request, hops)
        answer, found = served(Handler(), request, hops)
    if SESSION in middleware:
        answer, expected = without_cookies(answer), without_cookies(expected)
    assert answer == expected
    return found


def without_cookies(answer: Answer) -> Answer:
    headers = [(name, value) for name, value in answer.headers if name != b"Set-Cookie"]
    return dataclasses.replace(answer, headers=headers)


PLAIN = get("/plain/")


@pytest.mark.parametrize(
    ("middleware", "request_", "in_thread"),
    [
        (["csp.middleware.CSPMiddleware"], PLAIN, []),
        (["csp.middleware.CSPMiddleware"], get("/nonce/"), []),
        (["waffle.middleware.WaffleMiddleware"], PLAIN, []),
        (["waffle.middleware.WaffleMiddleware"], get("/flags/"), []),
        ([BEFORE, SECURITY, AFTER], PLAIN, []),
        ([BEFORE, SECURITY, AFTER], get("/template/"), []),
        ([BEFORE, SECURITY, AFTER], get("/nowhere/"), ["response_for_exception"]),
        (["django_ratelimit.middleware.RatelimitMiddleware"], PLAIN, []),
        (
            ["django_ratelimit.middleware.RatelimitMiddleware"],
            get("/too_many/"),
            ["process_exception_by_middleware"],
        ),
        (["django_user_agents.middleware.UserAgentMiddleware"], get("/browser/"), []),
        ([SESSION, SHORT["Authentication"], HIJACK], PLAIN, []),
        (
            [SESSION, SHORT["Authentication"], HIJACK],
            get("/session/"),
            ["process_response", "process_response"],
        ),
        ([SECURITY, WHITENOISE, SESSION], PLAIN, []),
        ([SECURITY, WHITENOISE, SESSION], get("/static/b.txt"), ["response_for_exception"]),
        ([SECURITY, WHITENOISE, SESSION], get("/static/a.txt"), ["_static_file"]),
        ([SECURITY, WHITENOISE, SESSION], head("/static/a.txt"), ["_static_file"]),
        ([SECURITY, WHITENOISE, SESSION], post("/static/a.txt"), ["_static_file"]),
        ([SECURITY, WHITENOISE], get("/static/a.txt", headers={"range": "bytes=1-2"}), 1),
        ([SECURITY, WHITENOISE], get("/static/a.txt", headers={"range": "bytes=9-9"}), 1),
        (
            [SECURITY, WHITENOISE],
            get("/fail/"),
            ["process_exception_by_middleware", "response_for_exception"],
        ),
        # Synchronous middleware of the project around it
        ([f"{__name__}.only_sync", WHITENOISE, SECURITY], PLAIN, 1),
        ([WHITENOISE, f"{__name__}.only_sync", SECURITY], PLAIN, 1),
        ([SECURITY, WHITENOISE, f"{__name__}.only_sync", SESSION], PLAIN, 1),
        ([SECURITY, WHITENOISE, f"{__name__}.only_sync"], get("/static/a.txt"), 1),
        ([WHITENOISE, "django_ratelimit.middleware.RatelimitMiddleware"], PLAIN, []),
    ],
)
def test_it_answers_as_under_djangos_handler(hops, middleware, request_, in_thread):
    found = both(middleware, request_, hops)
    found = ["response_for_exception" if name == "_response_for" else name for name in found]
    if isinstance(in_thread, int):
        assert len(found) == in_thread
    else:
        assert found == in_thread


@pytest.mark.parametrize("handler", [ASGIHandler, Handler])
def test_what_prometheus_counts_is_counted_once(handler):
    def counted() -> list[float | None]:
        labels = {"view": f"{__name__}.plain", "transport": "http", "method": "GET"}
        name = "django_http_requests_total_by_view_transport_method_total"
        return [
            REGISTRY.get_sample_value(name, labels) or 0,
            REGISTRY.get_sample_value("django_http_requests_before_middlewares_total") or 0,
        ]

    with override_settings(MIDDLEWARE=[BEFORE, AFTER]):
        Browser(handler()).send(PLAIN)
        before = counted()
        Browser(handler()).send(PLAIN)
    assert [now - then for now, then in zip(counted(), before, strict=True)] == [1, 1]


def test_files_that_are_looked_for_are_looked_for_in_a_thread(hops):
    with override_settings(WHITENOISE_AUTOREFRESH=True):
        assert both([WHITENOISE], get("/static/a.txt"), hops) == ["_static_file"]
        assert both([WHITENOISE], PLAIN, hops) == ["_static_file"]


# What is known


@pytest.mark.parametrize("dotted", PACKAGES)
def test_what_is_known_is_there(dotted):
    """In the versions that are tested; a new one fails here until somebody reads it."""
    entry = PACKAGES[dotted]
    assert inline_packages.not_read(entry) == ""
    cls = import_string(dotted)
    for hook in entry.rules:
        assert hasattr(cls, hook) or entry.call
    assert not [name for name in vars(cls) if patcher(cls, name)]


def told(*middleware: str) -> dict[str, str]:
    with override_settings(MIDDLEWARE=list(middleware)):
        return {cost.path: cost.summary for cost in middleware_costs()}


def test_another_version_is_not_known(monkeypatch):
    versions = {"whitenoise": "7.0.1", "django-csp": "5.0"}
    monkeypatch.setattr(
        inline_packages, "version", lambda name: versions.get(name) or metadata.version(name)
    )
    assert told(WHITENOISE, "csp.middleware.CSPMiddleware") == {
        WHITENOISE: "thread, 1 hop: whitenoise 7.0 is not known, but 6.9, 6.10, 6.11, 6.12",
        "csp.middleware.CSPMiddleware": "thread, 2 hops: django-csp 5.0 is not known, but 3.8, 4.0",
    }


class OwnNoise(WhiteNoiseMiddleware):
    pass


def test_a_subclass_is_called_as_a_whole():
    assert told(f"{__name__}.OwnNoise") == {f"{__name__}.OwnNoise": "thread, 1 hop: synchronous"}


def test_a_patched_method_keeps_it_whole(monkeypatch):
    monkeypatch.setattr(WhiteNoiseMiddleware, "serve", staticmethod(lambda file, request: None))
    assert told(WHITENOISE) == {WHITENOISE: "thread, 1 hop: patched by tests"}


# What the project says


class Counts:
    """No `MiddlewareMixin`; Django calls its hook for it."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_view(self, request, callback, args, kwargs):
        SEEN.append(on_event_loop())


SEEN: list[bool] = []
AUDIT = f"{__name__}.Audit"


class Audit(MiddlewareMixin):
    def process_request(self, request):
        SEEN.append(on_event_loop())

    def process_response(self, request, response):
        SEEN.append(on_event_loop())
        return response


class Queries(MiddlewareMixin):
    def process_request(self, request):
        User.objects.count()


class AuditMore(Audit):
    pass


@pytest.mark.parametrize(
    ("marks", "seen", "summary"),
    [
        ({}, [False, False], "thread, 2 hops: not known"),
        ({AUDIT: ["process_request", "process_response"]}, [True, True], "inline"),
        ({AUDIT: ["process_request"]}, [True, False], "thread, 1 hop: not known"),
    ],
)
def test_a_marked_hook_runs_inline(marks, seen, summary):
    SEEN.clear()
    with override_settings(ASYNCVIEWS={"INLINE_MIDDLEWARE": marks}, MIDDLEWARE=[AUDIT]):
        assert Browser(Handler()).send(PLAIN).body == b"plain"
        assert told(AUDIT) == {AUDIT: summary}
    assert seen == SEEN


def test_the_mark_is_not_that_of_a_subclass():
    marks = {AUDIT: ["process_request", "process_response"]}
    with override_settings(ASYNCVIEWS={"INLINE_MIDDLEWARE": marks}):
        assert "not known" in told(f"{__name__}.AuditMore")[f"{__name__}.AuditMore"]


def test_a_marked_hook_that_is_patched_is_not_inline(monkeypatch):
    def other(self, request): ...

    monkeypatch.setattr(Audit, "process_request", wrapt.FunctionWrapper(other, other))
    marks = {AUDIT: ["process_request", "process_response"]}
    with override_settings(ASYNCVIEWS={"INLINE_MIDDLEWARE": marks}):
        assert told(AUDIT) == {AUDIT: "thread, 1 hop: patched by tests"}


def test_other_hooks_than_those_of_a_mixin_can_be_marked(hops):
    marks = {f"{__name__}.Counts": ["process_view"]}
    SEEN.clear()
    with override_settings(ASYNCVIEWS={"INLINE_MIDDLEWARE": marks}):
        both([f"{__name__}.Counts"], PLAIN, hops)
    assert SEEN == [False, True]


def test_a_marked_hook_that_queries_is_refused(caplog):
    marks = {f"{__name__}.Queries": ["process_request"]}
    with override_settings(
        ASYNCVIEWS={"INLINE_MIDDLEWARE": marks}, MIDDLEWARE=[f"{__name__}.Queries"]
    ):
        assert Browser(Handler()).send(PLAIN).status == 500
    assert "SynchronousOnlyOperation" in caplog.text
