"""What clients send cannot write lines of its own into a log, or colour a terminal."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest, HttpResponse
from django.urls import re_path

from asyncviews import AsyncView, BackgroundTaskMixin, server
from asyncviews.asgi import ASGIHandler, lifespan
from asyncviews.diagnosis import what_runs
from asyncviews.inline import busy_response
from asyncviews.logs import ContextFilter
from asyncviews.management.commands.runserver import RequestLogger
from asyncviews.problems import djangos_problem
from asyncviews.text import printable, quotable
from asyncviews.threads import NoThreadAvailable
from tests.conftest import http_scope, until

pytestmark = pytest.mark.urls(__name__)

Get = Callable[..., Awaitable[list[dict[str, Any]]]]
FORGED = "forged\r\n2026-01-01 ERROR all is lost \x1b[31m\x9b\u2028\u202e\x00"
RAW = b"forged%0d%0a2026-01-01%20ERROR\x1b[31m\x9b"


async def burn(oven: str) -> None:
    raise ValueError("burned")


class Roast(BackgroundTaskMixin, AsyncView):
    async def get(self, request: HttpRequest, rest: str) -> HttpResponse:
        logging.getLogger("project").warning("roasting")
        self.add_background_task(burn, rest)
        return HttpResponse()


class Hold(AsyncView):
    async def get(self, request: HttpRequest, rest: str) -> HttpResponse:
        loop, thread = asyncio.get_running_loop(), threading.get_ident()
        asking = threading.Thread(
            target=lambda: logging.getLogger("project").error("%s", what_runs(loop, thread))
        )
        asking.start()
        asking.join()
        return HttpResponse()


class Wait(AsyncView):
    async def post(self, request: HttpRequest, rest: str) -> HttpResponse:
        await asyncio.Event().wait()
        raise AssertionError


ANY = r"(?P<rest>(?s:.*))$"
urlpatterns = [
    re_path("^roast/" + ANY, Roast.as_view()),
    re_path("^hold/" + ANY, Hold.as_view()),
    re_path("^wait/" + ANY, Wait.as_view()),
]


@pytest.fixture
def log() -> Iterator[StringIO]:
    """All that is logged, as a project would write it."""
    out = StringIO()
    handler = logging.StreamHandler(out)
    handler.addFilter(ContextFilter())
    names = "{message} [{request_method} {request_path}] [{task_name} {task_origin}]"
    handler.setFormatter(logging.Formatter("LINE " + names, style="{"))
    loggers = [logging.getLogger(), logging.getLogger("django.server")]  # which does not propagate
    for logger in loggers:
        logger.addHandler(handler)
    yield out
    for logger in loggers:
        logger.removeHandler(handler)


def assert_not_forged(lines: str) -> None:
    """Each line begins where a record does, but for tracebacks; nothing is for the terminal."""
    assert "forged" in lines
    assert not [line for line in lines.splitlines() if line.startswith("2026-01-01")]
    assert all(char.isprintable() for char in lines.replace("\n", ""))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/plain/ä/?a=b", "/plain/ä/?a=b"),
        ("/a\r\nb", r"/a\r\nb"),
        (r"/a\nb", r"/a\\nb"),
        ("\x1b[31m\x9b\u2028\u202e\udc80", r"\x1b[31m\x9b\u2028\u202e\udc80"),
    ],
)
def test_what_is_not_printable_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert quotable(f'"{text}') == rf"\"{shown}"


async def test_paths_in_records_of_views_and_tasks(log: StringIO, get: Get) -> None:
    async with lifespan():
        await get(f"/roast/{FORGED}")
        await until(lambda: "burned" in log.getvalue())
    assert "started by GET /roast/forged\\r\\n" in log.getvalue()
    assert_not_forged(log.getvalue())


def test_messages_of_suspicious_operations(log: StringIO) -> None:
    problem = djangos_problem(HttpRequest(), SuspiciousOperation(f"There is no {FORGED}"))
    assert problem is not None
    assert_not_forged(log.getvalue())


def test_requests_for_which_no_thread_is_free(log: StringIO) -> None:
    request = HttpRequest()
    request.method, request.path = "GET", f"/{FORGED}"
    assert busy_response(request, NoThreadAvailable("All are busy.")).status_code == 503
    assert_not_forged(log.getvalue())


async def test_requests_that_are_cut_off(log: StringIO, settings: Any) -> None:
    settings.ASYNCVIEWS = {"DRAIN_TIMEOUT": 0}
    handler = ASGIHandler()
    request = ApplicationCommunicator(handler, http_scope(f"/wait/{FORGED}", method="POST"))
    async with lifespan(handler._in_flight):
        await request.send_input({"type": "http.request", "body": b""})
        await until(lambda: len(handler._in_flight))
    assert "is cut off" in log.getvalue()
    assert_not_forged(log.getvalue())
    request.stop(exceptions=False)


async def test_what_holds_the_event_loop(log: StringIO, get: Get) -> None:
    await get(f"/hold/{FORGED}")
    assert "GET /hold/forged" in log.getvalue()
    assert_not_forged(log.getvalue())


SCOPES = {
    "http_version": "2",
    "method": "GET",
    "scheme": "https",
    "path": f"/{FORGED}",
    "raw_path": b"/" + RAW,
    "query_string": b"forged=\x1b[31m",
    "client": ("127.0.0.1", 1),
    "headers": [(b"user-agent", b'forged\x1b[31m" 200'), (b"referer", b"forged\x9b\x85")],
}


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_the_access_log(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    config = server.configure([], certfile=None, keyfile=None)
    config.accesslog = "-"
    response = {"status": 200, "headers": [(b"content-length", b"2")]}
    await config.log.access({**SCOPES, "type": kind}, response, 0.1)
    await config.log.access({**SCOPES, "type": kind}, None, 0.1)
    lines = capsys.readouterr().out
    assert lines.count("\n") == 2
    assert r'"forged\x1b[31m\" 200"' in lines
    assert_not_forged(lines)


async def test_the_log_of_runserver(log: StringIO) -> None:
    logger = RequestLogger(server.configure([], certfile=None, keyfile=None))
    scope = {**SCOPES, "method": "GET\x1b", "type": "http"}
    await logger.access(scope, {"status": 200, "headers": []}, 0.1)
    assert_not_forged(log.getvalue())
