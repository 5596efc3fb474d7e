"""Tasks of a view: held until the response has been sent, whoever serves it."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers import asgi as django_asgi
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified, StreamingHttpResponse
from django.test import AsyncClient, AsyncRequestFactory, Client
from django.urls import path
from django.utils.decorators import async_only_middleware
from django.views import View

from asyncviews import AsyncView, BackgroundTask, BackgroundTaskMixin, Query
from asyncviews.asgi import ASGIHandler
from asyncviews.background import State
from tests.conftest import http_scope, until

pytestmark = pytest.mark.urls(__name__)

tasks: list[BackgroundTask] = []


@pytest.fixture(autouse=True)
def _clear():
    tasks.clear()


class Starts(BackgroundTaskMixin, AsyncView):
    async def get(self, request: HttpRequest, n: Query[int] = 1) -> HttpResponse:
        tasks.extend(self.add_background_task(int, str(number)) for number in range(n))
        return HttpResponse("started")


class Streams(BackgroundTaskMixin, AsyncView):
    async def get(self, request: HttpRequest) -> StreamingHttpResponse:
        async def chunks():
            yield b"a"
            tasks.append(self.add_background_task(int, "7"))
            yield b"b"

        return StreamingHttpResponse(chunks())


class Hangs(BackgroundTaskMixin, AsyncView):
    started: asyncio.Event

    async def get(self, request: HttpRequest) -> HttpResponse:
        tasks.append(self.add_background_task(int, "7"))
        type(self).started.set()
        await asyncio.Event().wait()
        return HttpResponse("never")


class StartsAnother(BackgroundTaskMixin, AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        tasks.append(self.add_background_task(self.another))
        return HttpResponse("started")

    async def another(self) -> int:
        return await self.add_background_task(int, "7")


urlpatterns = [
    path("", Starts.as_view()),
    path("streams/", Streams.as_view()),
    path("hangs/", Hangs.as_view()),
    path("another/", StartsAnother.as_view()),
]


async def ended(count: int = 1) -> list:
    await until(lambda: len(tasks) == count and all(task.done() for task in tasks))
    return [task.result() for task in tasks]


async def test_under_our_handler(get, app_lifespan):
    await get(query="n=3")
    assert await ended(3) == [0, 1, 2]


async def test_under_djangos_handler():
    application = ApplicationCommunicator(django_asgi.ASGIHandler(), http_scope("/"))
    await application.send_input({"type": "http.request", "body": b""})
    await application.receive_output(5)
    await application.wait(5)
    assert await ended() == [0]


async def test_under_the_async_test_client():
    await AsyncClient().get("/")
    assert await ended() == [0]


def test_under_wsgi():
    Client().get("/")
    assert asyncio.run(ended()) == [0]


async def test_a_task_that_a_stream_adds_waits_for_the_streams_end(get, app_lifespan):
    messages = await get("/streams/")
    assert [message.get("body") for message in messages[1:]] == [b"a", b"b", None]
    assert await ended() == [7]


async def test_a_task_may_add_another_to_its_view(get, app_lifespan):
    await get("/another/")
    assert await ended() == [7]


async def test_a_response_that_middleware_replaces_still_starts_them(get, app_lifespan, settings):
    settings.MIDDLEWARE = [f"{__name__}.not_modified"]
    (start, _) = await get()
    assert start["status"] == 304
    assert await ended() == [0]


@async_only_middleware
def not_modified(get_response):
    async def middleware(request):
        await get_response(request)
        return HttpResponseNotModified()

    return middleware


async def test_middleware_that_fails_afterwards_does_not_lose_them(get, app_lifespan, settings):
    settings.MIDDLEWARE = [f"{__name__}.broken"]
    (start, _) = await get()
    assert start["status"] == 500
    assert await ended() == [0]


@async_only_middleware
def broken(get_response):
    async def middleware(request):
        await get_response(request)
        raise ZeroDivisionError

    return middleware


async def test_a_client_that_leaves_while_the_handler_runs_cancels_its_tasks(app_lifespan):
    Hangs.started = asyncio.Event()
    application = ApplicationCommunicator(ASGIHandler(), http_scope("/hangs/"))
    await application.send_input({"type": "http.request", "body": b""})
    await Hangs.started.wait()
    await application.send_input({"type": "http.disconnect"})
    await application.wait(5)
    assert tasks[0].state is State.CANCELLED


async def test_a_client_that_leaves_after_the_handler_does_not(app_lifespan, settings):
    """Also where no response is closed, because a middleware is cancelled in its turn."""
    settings.MIDDLEWARE = [f"{__name__}.lingering"]
    application = ApplicationCommunicator(ASGIHandler(), http_scope("/"))
    await application.send_input({"type": "http.request", "body": b""})
    await until(lambda: tasks)
    await application.send_input({"type": "http.disconnect"})
    await application.wait(5)
    del application
    await until(lambda: gc.collect() >= 0 and tasks[0].done())
    assert tasks[0].result() == 0


@async_only_middleware
def lingering(get_response):
    async def middleware(request):
        response = await get_response(request)
        await asyncio.Event().wait()
        return response

    return middleware


async def test_a_view_called_by_a_test_starts_them_when_its_request_is_gone(app_lifespan):
    request = AsyncRequestFactory().get("/")
    await Starts.as_view()(request)
    assert tasks[0].state is State.QUEUED
    request.close()
    assert await ended() == [0]


async def test_closing_the_request_still_closes_its_files(app_lifespan):
    with open(__file__, "rb") as file:  # noqa: ASYNC230, PTH123
        request = AsyncRequestFactory().post("/", {"file": file})
    upload = request.FILES["file"]
    request.method = "GET"
    await Starts.as_view()(request)
    request.close()
    assert upload.closed
    await ended()


def test_the_mixin_after_the_view_is_refused():
    with pytest.raises(ImproperlyConfigured, match="BackgroundTaskMixin stands before AsyncView"):

        class Wrong(AsyncView, BackgroundTaskMixin): ...


def test_a_mixin_of_mixins_is_fine():
    class Other: ...

    class Both(BackgroundTaskMixin, Other): ...

    class Fine(Both, AsyncView): ...

    assert Fine.as_view()


def test_outside_a_handler_of_an_async_view_adding_says_what_to_do():
    class Synchronous(BackgroundTaskMixin, View): ...

    with pytest.raises(RuntimeError, match=r"asyncviews\.add_background_task"):
        Synchronous().add_background_task(print)


async def test_requests_at_once_have_their_own_tasks(get, app_lifespan):
    await asyncio.gather(*(get(query="n=2") for _ in range(10)))
    assert sorted(await ended(20)) == [0] * 10 + [1] * 10
    assert threading.active_count() < 30
