"""What fails while an exception is answered: the next outer middleware answers it, as in Django."""

from __future__ import annotations

import gc
import sys
from itertools import product
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.core.handlers.asgi import ASGIHandler
from django.core.signals import got_request_exception
from django.http import Http404, HttpResponse
from django.test import override_settings
from django.urls import clear_url_caches, path
from django.utils.deprecation import MiddlewareMixin

from asyncviews.handler import HTTPHandler as Handler
from tests.test_inline import SEVEN, SHORT, Browser, Request, get, only_sync, post

__all__ = ["only_sync"]  # a middleware

MANY = post("/fields/", form={f"field{number}": "1" for number in range(1001)})
EVIL = get("/plain/", headers={"host": "evil.com"})


pytestmark = [
    pytest.mark.django_db,  # whose connection the handlers tidy
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.usefixtures("collected"),
]


@pytest.fixture
def collected():
    """Django's handler leaves the file of a body to the garbage collector when it raises."""
    yield
    gc.collect()


# A site whose error handlers fail


async def plain(request):
    return HttpResponse("plain")


async def fields(request):
    return HttpResponse(str(len(request.POST)))


def raising(exception: type[Exception], text: str):
    async def view(request):
        raise exception(text)

    return view


FAILURES = {
    "bug": ValueError,
    "suspicious": SuspiciousOperation,
    "denied": PermissionDenied,
    "missing": Http404,
}
BROKEN: list[int] = [0]
"""How many more error handlers fail."""


def reads_the_host(request, exception=None):
    """Build an absolute URL, as error pages do; of a bad host there is none."""
    return HttpResponse(request.build_absolute_uri("/help/"), status=418)


def reads_the_form(request, exception=None):
    return HttpResponse(str(len(request.POST)), status=418)


def fails(request, exception=None):
    BROKEN[0] -= 1
    if BROKEN[0] >= 0:
        raise LookupError(f"error handler, {BROKEN[0]} to go")
    return HttpResponse("answered", status=418)


def denies(request, exception=None):
    BROKEN[0] -= 1
    if BROKEN[0] >= 0:
        raise PermissionDenied("error handler")
    return HttpResponse("answered", status=418)


def urlconf(handler) -> Any:
    names = ("handler400", "handler403", "handler404", "handler500")
    attributes = {name: staticmethod(handler) for name in names}
    views = [path("plain/", plain), path("fields/", fields)]
    views += [path(f"{name}/", raising(failure, name)) for name, failure in FAILURES.items()]
    return type("Errors", (), {"urlpatterns": views, **attributes})


# Middleware that says what it saw

SAW: list[str] = []


class Outer(MiddlewareMixin):
    inline_capable = True

    def process_request(self, request):
        SAW.append(f"{type(self).__name__} request")

    def process_response(self, request, response):
        SAW.append(f"{type(self).__name__} {response.status_code} {sys.exc_info()[1]!r}")
        response.headers[type(self).__name__] = "here"
        return response


class Inner(Outer):
    inline_capable = True


class FailsBefore(MiddlewareMixin):
    inline_capable = True

    def process_request(self, request):
        raise ValueError("before")


class FailsAfter(MiddlewareMixin):
    inline_capable = True

    def process_response(self, request, response):
        raise ValueError("after")


class FailsAfterInThread(MiddlewareMixin):
    def process_response(self, request, response):
        raise ValueError("after, in a thread")


CHAINS = {
    "seven": f"Outer {SEVEN} Inner",
    "fails before": "Outer Security Inner FailsBefore",
    "fails after": "Outer Security Inner FailsAfter",
    "fails after, twice": "Outer FailsAfter Security Inner FailsAfterInThread Common",
    "fails outermost": "FailsAfter Outer",
    "sync between": f"Outer Security only_sync {SEVEN} only_sync Inner",
    "alone": "Outer",
}


def middleware(chain: str) -> list[str]:
    own = {"Outer", "Inner", "FailsBefore", "FailsAfter", "FailsAfterInThread", "only_sync"}
    return [f"{__name__}.{name}" if name in own else SHORT[name] for name in chain.split()]


# The comparison


def outcome(
    handler: type[ASGIHandler], request: Request, caplog: Any, *, broken: int
) -> dict[str, Any]:
    """Return all that can be seen of how a handler answers a request."""
    signalled = []

    def signal(request, **kwargs):
        signalled.append(repr(sys.exc_info()[1]))

    caplog.clear()
    SAW.clear()
    BROKEN[0] = broken
    got_request_exception.connect(signal)
    try:
        answer: Any = Browser(handler()).send(request)
    except Exception as exc:  # noqa: BLE001 - it is compared
        seen: dict[str, Any] = {"raised": repr(exc)}
    else:
        headers = sorted(header for header in answer.headers if header[0] != b"Content-Length")
        page = b"" if settings.DEBUG else answer.body  # tracebacks, addresses of functions
        seen = {"status": answer.status, "headers": headers, "body": page}
    finally:
        got_request_exception.disconnect(signal)
    logged = [(r.name, r.levelname, r.getMessage(), logged_exception(r)) for r in caplog.records]
    return seen | {"signalled": signalled, "logged": logged, "saw": [*SAW]}


def logged_exception(record: Any) -> str:
    return repr(record.exc_info[1]) if record.exc_info else ""


HANDLERS = {
    "reads the host": (reads_the_host, 0),
    "reads the form": (reads_the_form, 0),
    **{f"fails {times} times": (fails, times) for times in (1, 2, 3, 4, 99)},
    "denies once": (denies, 1),
    "denies twice": (denies, 2),
}
REQUESTS = {"evil": EVIL, "many fields": MANY} | {name: get(f"/{name}/") for name in FAILURES}
MODES: dict[str, dict[str, Any]] = {
    "production": {},
    "debug": {"DEBUG": True},
    "propagate": {"DEBUG_PROPAGATE_EXCEPTIONS": True},
}


CASES = [
    *product(["production"], CHAINS, HANDLERS),
    # Of the project's handlers, few are called in these.
    *product(["debug", "propagate"], CHAINS, ["reads the host", "fails 99 times"]),
]


@pytest.mark.parametrize(("mode", "chain", "handlers"), CASES)
def test_the_next_outer_middleware_answers(caplog, mode, chain, handlers):
    """Status, headers, logs, signals and what each middleware sees are those of Django's handler."""
    handler, broken = HANDLERS[handlers]
    changes = {
        "ALLOWED_HOSTS": ["testserver"],
        "MIDDLEWARE": middleware(CHAINS[chain]),
        "ROOT_URLCONF": urlconf(handler),
        "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
        **MODES[mode],
    }
    with override_settings(**changes):
        clear_url_caches()
        for name, request in REQUESTS.items():
            djangos = outcome(ASGIHandler, request, caplog, broken=broken)
            assert outcome(Handler, request, caplog, broken=broken) == djangos, name
    clear_url_caches()


@pytest.mark.parametrize("request_", [EVIL, MANY])
def test_an_error_page_that_fails_leaves_the_security_headers(caplog, request_):
    """Which were missing as soon as any error handler had raised."""
    changes = {
        "ALLOWED_HOSTS": ["testserver"],
        "MIDDLEWARE": middleware("Security Session Common"),
        "ROOT_URLCONF": urlconf(fails),
        "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
    }
    with override_settings(**changes):
        clear_url_caches()
        seen = outcome(Handler, request_, caplog, broken=2)
    clear_url_caches()
    assert seen.get("status") == 418, seen
    assert (b"X-Content-Type-Options", b"nosniff") in seen["headers"]
