"""The application answers http as Django does, and speaks the lifespan protocol."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core import asgi
from django.core.handlers import asgi as django_asgi
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path

from asyncviews import AsyncView, http_client, resource
from asyncviews.asgi import ASGIHandler, StartupFailed, get_asgi_application, lifespan
from asyncviews.background import add_background_task, runner
from asyncviews.health import is_ready
from tests.conftest import http_scope, until

pytestmark = pytest.mark.urls(__name__)


class Slow(AsyncView):
    started: asyncio.Event
    go: asyncio.Event

    async def get(self, request: HttpRequest) -> HttpResponse:
        type(self).started.set()
        await type(self).go.wait()
        return HttpResponse(str(http_client().is_closed))


urlpatterns = [path("slow/", Slow.as_view())]


@resource
async def broken():
    raise OSError("no wood")
    yield


class Lifespan:
    """Speaks the server's side of the lifespan protocol."""

    def __init__(self, application: ASGIHandler):
        self._app = ApplicationCommunicator(application, {"type": "lifespan"})

    async def startup(self) -> dict:
        await self._app.send_input({"type": "lifespan.startup"})
        return await self._app.receive_output(5)

    async def shutdown(self) -> dict:
        await self._app.send_input({"type": "lifespan.shutdown"})
        return await self._app.receive_output(5)


def test_it_is_djangos_handler():
    assert isinstance(get_asgi_application(), django_asgi.ASGIHandler)


def test_what_wraps_djangos_function_wraps_the_application(monkeypatch):
    """As ddtrace does, whose traces begin there."""

    class Traced:
        def __init__(self, app):
            self.app = app

    get_djangos = asgi.get_asgi_application
    monkeypatch.setattr(asgi, "get_asgi_application", lambda: Traced(get_djangos()))
    application = get_asgi_application()
    assert type(application) is Traced
    assert isinstance(application.app, ASGIHandler)
    assert type(get_djangos()) is django_asgi.ASGIHandler


def test_what_replaces_djangos_function_does_not_replace_the_application(monkeypatch):
    monkeypatch.setattr(asgi, "get_asgi_application", lambda: HttpResponse)
    assert isinstance(get_asgi_application(), ASGIHandler)


async def test_http_is_answered(get):
    start, body = await get("/nowhere/")
    assert start["status"] == 404
    assert b"not found" in body["body"].lower()


async def test_other_protocols_are_refused_as_by_django():
    with pytest.raises(ValueError, match="ASGI/HTTP connections, not webtransport"):
        await ApplicationCommunicator(ASGIHandler(), {"type": "webtransport"}).wait(5)


async def test_a_websocket_is_closed_before_it_opens(caplog):
    """Servers answer the handshake with 403 then."""
    communicator = ApplicationCommunicator(ASGIHandler(), {"type": "websocket", "path": "/"})
    await communicator.send_input({"type": "websocket.connect"})
    assert await communicator.receive_output(5) == {"type": "websocket.close"}
    await communicator.wait(5)
    assert caplog.records == []


async def test_lifespan_opens_resources_and_closes_them():
    server = Lifespan(ASGIHandler())
    assert await server.startup() == {"type": "lifespan.startup.complete"}
    client = http_client()
    assert await server.shutdown() == {"type": "lifespan.shutdown.complete"}
    assert client.is_closed


@override_settings(ASYNCVIEWS={"RESOURCES": [f"{__name__}.broken"]})
async def test_a_failing_startup_says_which_resource():
    answer = await Lifespan(ASGIHandler()).startup()
    assert answer["type"] == "lifespan.startup.failed"
    assert f"The resource {__name__}.broken could not be opened: OSError" in answer["message"]


async def test_a_shutdown_that_fails_says_why(caplog):
    @resource
    async def leaky():
        yield
        raise OSError("the door is stuck")

    globals()["leaky"] = leaky
    with override_settings(ASYNCVIEWS={"RESOURCES": [f"{__name__}.leaky"]}):
        server = Lifespan(ASGIHandler())
        await server.startup()
    answer = await server.shutdown()
    assert answer == {"type": "lifespan.shutdown.failed", "message": "the door is stuck"}


@pytest.fixture
async def slow():
    application = ASGIHandler()
    Slow.started, Slow.go = asyncio.Event(), asyncio.Event()
    server = Lifespan(application)
    await server.startup()
    request = ApplicationCommunicator(application, http_scope("/slow/"))
    await request.send_input({"type": "http.request", "body": b""})
    await Slow.started.wait()
    return server, request


async def test_shutdown_waits_for_requests_in_flight_before_it_closes_resources(slow):
    server, request = slow
    stopping = asyncio.create_task(server.shutdown())
    await until(server._app.input_queue.empty)
    assert not stopping.done()
    Slow.go.set()
    assert (await request.receive_output(5))["status"] == 200
    assert (await request.receive_output(5))["body"] == b"False"
    assert await stopping == {"type": "lifespan.shutdown.complete"}


@override_settings(ASYNCVIEWS={"DRAIN_TIMEOUT": 0.05})
async def test_shutdown_names_requests_and_tasks_that_outlast_the_deadline(slow, caplog):
    server, request = slow
    task = add_background_task(asyncio.Event().wait)
    assert await server.shutdown() == {"type": "lifespan.shutdown.complete"}
    assert "The request GET /slow/ is cut off" in caplog.text
    assert f"Background task asyncio.locks.Event.wait ({task.id}) is cut off" in caplog.text
    Slow.go.set()
    assert (await request.receive_output(5))["status"] == 500
    assert "ResourceNotOpen" in caplog.text


@override_settings(ASYNCVIEWS={"DRAIN_TIMEOUT": 5})
async def test_a_task_of_a_request_in_flight_is_drained_too(slow):
    server, request = slow
    stopping = asyncio.create_task(server.shutdown())
    await until(server._app.input_queue.empty)
    task = add_background_task(asyncio.sleep, 0, "done")
    Slow.go.set()
    await request.receive_output(5)
    await stopping
    assert task.result() == "done"


# One within another


async def loop_of_a_task() -> asyncio.AbstractEventLoop:
    async def running() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    return await add_background_task(running)


async def test_one_within_another_is_a_part_of_it(app_lifespan):
    """What is open stays open, and is no other; tasks run on, and new ones on the same loop."""
    client, go = http_client(), asyncio.Event()
    async with lifespan():
        assert http_client() is client
        task = add_background_task(go.wait)
        await until(lambda: runner.stats().running == 1)
    assert not client.is_closed
    assert http_client() is client
    assert is_ready()
    assert await loop_of_a_task() is asyncio.get_running_loop()
    go.set()
    assert await task is True


async def test_one_after_another_is_a_new_one():
    async with lifespan():
        client = http_client()
    async with lifespan():
        assert http_client() is not client
        assert await loop_of_a_task() is asyncio.get_running_loop()


async def test_after_one_tasks_do_not_run_on_its_loop():
    """Which may end at any moment; nor does a callback bring them there that is still to come."""
    async with lifespan():
        await loop_of_a_task()
    assert await loop_of_a_task() is not asyncio.get_running_loop()


async def test_one_that_fails_to_start_leaves_room_for_the_next():
    names = {"RESOURCES": [f"{__name__}.broken"]}
    with override_settings(ASYNCVIEWS=names), pytest.raises(StartupFailed):
        async with lifespan():
            pytest.fail("it must not start")
    async with lifespan():
        assert not http_client().is_closed


async def test_a_handler_within_another_lifespan_waits_for_its_requests():
    application = ASGIHandler()
    Slow.started, Slow.go = asyncio.Event(), asyncio.Event()
    async with lifespan(run_stored_tasks=True):
        server = Lifespan(application)
        await server.startup()
        request = ApplicationCommunicator(application, http_scope("/slow/"))
        await request.send_input({"type": "http.request", "body": b""})
        await Slow.started.wait()
        stopping = asyncio.create_task(server.shutdown())
        await asyncio.sleep(0.02)
        assert not stopping.done()
        Slow.go.set()
        assert await stopping == {"type": "lifespan.shutdown.complete"}
        assert (await request.receive_output(5))["status"] == 200
        await request.wait(5)


async def test_on_another_loop_it_is_refused(app_lifespan):
    """A command that a view calls would end the tasks of the server, and shadow its resources."""

    async def command() -> None:
        async with lifespan():
            pytest.fail("it must not start")

    client = http_client()
    with ThreadPoolExecutor() as threads, pytest.raises(StartupFailed, match="another event loop"):
        await asyncio.wrap_future(threads.submit(asyncio.run, command()))
    assert http_client() is client
    assert await loop_of_a_task() is asyncio.get_running_loop()


@override_settings(ASYNCVIEWS={"RESOURCES": []})
def test_one_whose_loop_has_ended_without_it_is_forgotten():
    left = []

    async def leave_open() -> None:
        left.append(lifespan())
        await left[0].__aenter__()

    async def next_one() -> None:
        async with lifespan():
            assert await loop_of_a_task() is asyncio.get_running_loop()
        assert await loop_of_a_task() is not asyncio.get_running_loop()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave_open())
    loop.close()  # without shutdown_asyncgens()
    asyncio.run(next_one())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork()")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
async def test_a_forked_child_may_have_its_own(app_lifespan):
    def child() -> int:
        if pid := os.fork():
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        code = 1
        try:
            asyncio.run(next_one())
            code = 0
        finally:
            os._exit(code)

    async def next_one() -> None:
        async with lifespan():
            assert await loop_of_a_task() is asyncio.get_running_loop()

    assert await asyncio.to_thread(child) == 0


async def test_stored_tasks_are_not_run_by_a_part_of_what_does_not_run_them(app_lifespan):
    with pytest.raises(StartupFailed, match=r"lifespan\(run_stored_tasks=True\)"):
        async with lifespan(run_stored_tasks=True):
            pytest.fail("it must not start")
