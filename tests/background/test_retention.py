"""What a task works with lives as long as the task; the request that started it does not."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.core.handlers import asgi as django_asgi
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from asyncviews import AsyncView, BackgroundTask, BackgroundTaskMixin, background_task
from asyncviews.asgi import ASGIHandler
from asyncviews.background import State, runner
from tests.conftest import http_scope, until

pytestmark = [pytest.mark.urls(__name__), pytest.mark.usefixtures("app_lifespan")]

HANDLERS = [django_asgi.ASGIHandler, ASGIHandler]

gate = threading.Event()
tasks: list[BackgroundTask[Any]] = []
parts: list[weakref.ref[Any]] = []
"""Requests, their bodies, their responses, and the views."""


@pytest.fixture(autouse=True)
def _clear():
    gate.clear()
    tasks.clear()
    parts.clear()
    yield
    gate.set()
    runner.threads.retire(timeout=5)


async def waits() -> None:
    while not gate.is_set():
        await asyncio.sleep(0.001)


async def waits_with_a_thread() -> None:
    await sync_to_async(threading.current_thread)()
    await waits()


async def fails() -> None:
    raise ValueError("burned")


@background_task(timeout=0.001)
async def takes_too_long() -> None:
    await asyncio.Event().wait()


KINDS = {
    "running": waits,
    "running with a thread": waits_with_a_thread,
    "running in a thread": gate.wait,
    "queued": waits,
    "deferred": int,
    "succeeded": int,
    "failed": fails,
    "failed in a thread": lambda: fails().send(None),
    "timed out": takes_too_long,
    "cancelled": waits,
}


class Starts(BackgroundTaskMixin, AsyncView):
    kind = ""
    streams = False

    async def post(self, request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
        assert len(request.body) == 70_000
        await sync_to_async(request.session_of_nobody)()
        if self.kind == "deferred":
            task = runner.accept(BackgroundTask(int, run_after=time.time() + 3600))
            runner.start([task])
        else:
            task = self.add_background_task(KINDS[self.kind])
        tasks.append(task)
        response = StreamingHttpResponse(self.chunks()) if self.streams else HttpResponse("started")
        parts.extend(map(weakref.ref, (request, request._stream, response, self)))
        return response

    async def chunks(self):
        yield b"a"
        await sync_to_async(threading.current_thread)()
        yield b"b"


class Streams(Starts):
    streams = True


def use_a_thread(get_response):
    """A middleware that has the request's thread used before the view is called."""

    def middleware(request: HttpRequest) -> HttpResponse:
        request.session_of_nobody = threading.current_thread
        return get_response(request)

    return middleware


urlpatterns = [
    path(f"{view.__name__}/{kind}/", view.as_view(kind=kind))
    for kind in KINDS
    for view in (Starts, Streams)
]


async def post(handler: Any, address: str) -> None:
    communicator = ApplicationCommunicator(handler, http_scope(address, method="POST"))
    await communicator.send_input({"type": "http.request", "body": b"a" * 70_000})
    await communicator.receive_output(5)
    while (await communicator.receive_output(5)).get("more_body"):
        pass
    await communicator.wait(5)


def is_there(kind: str) -> bool:
    state = tasks[0].state
    if kind in {"queued", "deferred"}:
        return state is State.QUEUED
    if kind.startswith("running"):
        return tasks[0].attempts > 0
    return state == kind.removesuffix(" in a thread")


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("view", ["Starts", "Streams"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_task_keeps_nothing_of_the_request_that_started_it(settings, kind, view, handler):
    """Nor of its response, while it waits and runs, and when only its handle is there."""
    settings.MIDDLEWARE = [f"{__name__}.use_a_thread"]
    if kind == "queued":
        settings.ASYNCVIEWS = {"MAX_RUNNING": 1}
        first = runner.accept(BackgroundTask(waits))
        runner.start([first])
        await until(lambda: first.attempts)
    await post(handler(), f"/{view}/{kind}/")
    if kind == "cancelled":
        await until(lambda: tasks[0].attempts)
        tasks[0].cancel()
    await until(lambda: is_there(kind))
    await asyncio.sleep(0.01)
    gc.collect()
    kept = [part() for part in parts]
    assert kept == [None] * 4
    gate.set()
    if kind == "deferred":
        tasks[0].cancel()
    with suppress(ValueError, TimeoutError, asyncio.CancelledError):
        await tasks[0]
    await until(lambda: not runner.unfinished())


current: ContextVar[HttpRequest] = ContextVar("current")


def remember(get_response):
    """A middleware that makes the request known to all that is called for it."""

    def middleware(request: HttpRequest) -> HttpResponse:
        current.set(request)
        return get_response(request)

    return middleware


@pytest.mark.parametrize("handler", HANDLERS)
async def test_nothing_keeps_a_context_beyond_the_task_that_has_it(settings, handler):
    """Neither does the timer, set by whatever ended last, that waits for deferred tasks."""
    settings.MIDDLEWARE = [f"{__name__}.remember", f"{__name__}.use_a_thread"]
    deferred = runner.accept(BackgroundTask(int, run_after=time.time() + 3600))
    runner.start([deferred])
    await asyncio.sleep(0)
    for _ in range(3):
        await post(handler(), "/Starts/succeeded/")
    await until(lambda: all(task.done() for task in tasks))
    await asyncio.sleep(0.01)
    gc.collect()
    assert [part() for part in parts] == [None] * 12
    deferred.cancel()


class Meat: ...


@pytest.mark.parametrize("how", ["succeeds", "is cancelled", "is never called", "times out"])
async def test_a_kept_handle_keeps_nothing_that_its_task_has_worked_with(how):
    """That of a failed task has the exception, and with it the variables of its frames."""

    @background_task(timeout=0.01 if how == "times out" else None)
    async def smokes(meat: Meat) -> None:
        if how != "succeeds":
            await asyncio.Event().wait()

    meat = Meat()
    gone = weakref.ref(meat)
    task = runner.accept(BackgroundTask(smokes, (meat,)))
    del meat
    if how != "is never called":
        runner.start([task])
        await until(lambda: task.attempts)
    if how.startswith("is "):
        task.cancel()
    with suppress(TimeoutError, asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    gc.collect()
    assert gone() is None
    assert task.done()
