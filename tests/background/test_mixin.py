"""Tasks of a view: held until the response has been sent, whoever serves it."""

from __future__ import annotations

import asyncio
import copy
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

from asyncviews import AsyncView, BackgroundTask, BackgroundTaskMixin, Problem, Query
from asyncviews.asgi import ASGIHandler
from asyncviews.background import State, runner
from asyncviews.problems import InvalidParameters
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


class Fails(BackgroundTaskMixin, AsyncView):
    async def get(self, request: HttpRequest, n: Query[int] = 1) -> HttpResponse:
        tasks.append(self.add_background_task(int, "1"))
        raise ZeroDivisionError

    async def handle_exception(self, exc: Exception) -> HttpResponse:
        tasks.append(self.add_background_task(int, "2"))
        return HttpResponse("answered", status=500)


class ReportsAndFails(Fails):
    """Its answer is Django's."""

    async def handle_exception(self, exc: Exception) -> HttpResponse:
        await super().handle_exception(exc)
        raise exc


class RefusesInvalid(Starts):
    async def handle_invalid(self, problem: InvalidParameters) -> HttpResponse:
        tasks.append(self.add_background_task(int, "3"))
        return await super().handle_invalid(problem)


class RefusesUnauthorized(Starts):
    async def authorize(self, request: HttpRequest) -> None:
        tasks.append(self.add_background_task(int, "1"))
        raise Problem(status=403)


class CannotRender(Starts):
    async def render(self, result, returns) -> HttpResponse:
        tasks.append(self.add_background_task(int, "1"))
        raise ZeroDivisionError


class AddsAfterwards(Fails):
    """By overriding what is called around the handler."""

    async def dispatch(self, request: HttpRequest, *args, **kwargs) -> HttpResponse:
        response = await super().dispatch(request, *args, **kwargs)
        tasks.append(self.add_background_task(int, "4"))
        return response


class AnswersWithAnother(BackgroundTaskMixin, AsyncView):
    view = Starts

    async def get(self, request: HttpRequest) -> HttpResponse:
        tasks.append(self.add_background_task(int, "5"))
        response = await self.view.as_view()(request)
        tasks.append(self.add_background_task(int, "6"))
        return response


class AnswersInsteadOfOneThatFails(AnswersWithAnother):
    view = ReportsAndFails

    async def get(self, request: HttpRequest) -> HttpResponse:
        try:
            return await super().get(request)
        except ZeroDivisionError:
            return HttpResponse("instead")


class Kept(Starts):
    views: list[Kept] = []

    async def get(self, request: HttpRequest) -> HttpResponse:
        self.views.append(self)
        return await super().get(request)


urlpatterns = [
    path("fails/", Fails.as_view()),
    path("reports/", ReportsAndFails.as_view()),
    path("invalid/", RefusesInvalid.as_view()),
    path("unauthorized/", RefusesUnauthorized.as_view()),
    path("unrendered/", CannotRender.as_view()),
    path("afterwards/", AddsAfterwards.as_view()),
    path("with-another/", AnswersWithAnother.as_view()),
    path("instead/", AnswersInsteadOfOneThatFails.as_view()),
    path("kept/", Kept.as_view()),
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


async def states(count: int) -> list:
    await until(lambda: len(tasks) == count and all(task.done() for task in tasks))
    return [task.state for task in tasks]


HANDLERS = [ASGIHandler, django_asgi.ASGIHandler]


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("address", ["/fails/", "/reports/"])
async def test_tasks_of_handle_exception_belong_to_its_answer(get, app_lifespan, address, handler):
    """Those of the handler that raised do not, even where the answer is Django's."""
    (start, _) = await get(address, handler=handler)
    assert start["status"] == 500
    assert await states(2) == [State.CANCELLED, State.SUCCEEDED]
    assert tasks[1].result() == 2


async def test_tasks_of_handle_invalid_belong_to_its_answer(get, app_lifespan):
    (start, _) = await get("/invalid/", query="n=many")
    assert start["status"] == 422
    assert await ended() == [3]


@pytest.mark.parametrize("address", ["/unauthorized/", "/unrendered/"])
async def test_what_raises_around_the_handler_takes_its_tasks_along(get, app_lifespan, address):
    await get(address)
    assert set(await states(len(tasks))) == {State.CANCELLED}


async def test_tasks_added_after_the_handler_start_after_the_response(get, app_lifespan):
    await get("/afterwards/")
    assert await states(3) == [State.CANCELLED, State.SUCCEEDED, State.SUCCEEDED]


def test_they_do_so_under_wsgi():
    Client().get("/afterwards/")
    assert asyncio.run(states(3)) == [State.CANCELLED, State.SUCCEEDED, State.SUCCEEDED]


async def test_no_place_is_lost_to_failing_requests(get, app_lifespan, settings):
    settings.ASYNCVIEWS = {"MAX_RUNNING": 2, "MAX_WAITING": 3}
    for number in range(1, 21):
        await get(("/fails/", "/afterwards/", "/unauthorized/")[number % 3])
        await until(lambda: all(task.done() for task in tasks))
    assert runner.stats().queued == 0
    assert runner.room == 5


@pytest.mark.parametrize("handler", HANDLERS)
async def test_a_view_that_answers_with_anothers_response_has_its_tasks_started(
    get, app_lifespan, handler
):
    gc.disable()  # a collected request would start them, too
    try:
        await get("/with-another/", handler=handler)
        assert sorted(await ended(3)) == [0, 5, 6]
    finally:
        gc.enable()


async def test_a_view_within_another_that_fails_takes_only_its_own_tasks_along(get, app_lifespan):
    (start, _) = await get("/instead/")
    assert start["status"] == 200
    assert await states(3) == [State.SUCCEEDED, State.CANCELLED, State.SUCCEEDED]


async def test_a_copied_request_has_its_own_tasks(app_lifespan):
    request = AsyncRequestFactory().get("/")
    await Starts.as_view()(request)
    copied = copy.copy(request)
    await Starts.as_view()(copied)
    copied.close()
    await until(tasks[1].done)
    assert tasks[0].state is State.QUEUED
    request.close()
    await ended(2)


async def test_a_task_added_when_the_request_has_been_closed_starts_at_once(get, app_lifespan):
    await get("/kept/")
    await ended()
    view = Kept.views.pop()
    assert await view.add_background_task(int, "8") == 8


async def test_a_task_that_has_started_outlives_a_handler_that_fails(app_lifespan):
    class Closes(BackgroundTaskMixin, AsyncView):
        async def get(self, request: HttpRequest) -> HttpResponse:
            tasks.append(self.add_background_task(asyncio.sleep, 0.01, "slept"))
            request.close()
            await until(lambda: tasks[0].state is State.RUNNING)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Closes.as_view()(AsyncRequestFactory().get("/"))
    assert await ended() == ["slept"]


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
