"""Requests through the handler: threads, signals, connections, disconnects, and what they cost."""

from __future__ import annotations

import asyncio
import contextvars
import json
import threading
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.core import signals
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers import asgi as django_asgi
from django.db import close_old_connections, connection, connections
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import path
from django.utils.decorators import async_only_middleware, sync_only_middleware

from asyncviews import AsyncView, BackgroundTaskMixin
from asyncviews.asgi import ASGIHandler, lifespan
from asyncviews.handler import request_threads
from tests.conftest import Postgres, busy_thread, http_scope, until

pytestmark = pytest.mark.urls(__name__)

HERE = threading.get_ident
trail: list[Any] = []
"""What the views did."""


@pytest.fixture(autouse=True)
def _clear():
    request_threads.retire(timeout=5)  # those of other tests, which may have had more
    trail.clear()
    yield
    trail.clear()
    request_threads.retire(timeout=5)
    assert request_threads.size == 0


# Views


async def no_thread(request):
    trail.append(HERE())
    return HttpResponse("no thread")


async def closes(request):
    """Needs a thread only to be closed."""
    response = HttpResponse("closes")
    response._resource_closers.append(lambda: trail.append(HERE()))
    return response


def sync_view(request):
    trail.append(HERE())
    return HttpResponse("sync")


async def threads(request):
    """Everything that reaches a thread: one after the other, at once, and nested both ways."""

    async def inner():
        return await sync_to_async(HERE)()

    trail.append(await sync_to_async(HERE)())
    trail.extend(await asyncio.gather(*(sync_to_async(HERE)() for _ in range(20))))
    trail.append(await sync_to_async(async_to_sync(inner))())
    trail.append(await asyncio.create_task(inner()))
    return HttpResponse("threads")


async def query(request):
    trail.append(await sync_to_async(pid)())
    return HttpResponse("queried")


def pid() -> int:
    with connections[Postgres.alias].cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


class Gate:
    """Views that wait here until the test lets them go on."""

    entered: asyncio.Event
    go: asyncio.Event

    @classmethod
    async def wait(cls) -> None:
        cls.entered.set()
        try:
            await cls.go.wait()
        except asyncio.CancelledError:
            trail.append("cancelled")
            raise


@pytest.fixture(autouse=True)
async def _gate():
    Gate.entered, Gate.go = asyncio.Event(), asyncio.Event()
    HeldThread.entered, HeldThread.go = threading.Event(), threading.Event()


async def holds_a_thread(request):
    async with busy_thread():
        await Gate.wait()
    return HttpResponse("held")


async def stream(request):
    async def chunks():
        trail.append(await sync_to_async(HERE)())
        yield b"1"
        await Gate.wait()
        trail.append(await sync_to_async(HERE)())
        yield b"2"

    return StreamingHttpResponse(chunks())


class Waits(BackgroundTaskMixin, AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        self.add_background_task(trail.append, "task")
        await Gate.wait()
        trail.append("end")
        return HttpResponse("waited")

    post = get


class Cancels(Waits):
    on_disconnect = "cancel"


class Finishes(Waits):
    on_disconnect = "finish"


class PostStream(AsyncView):
    async def post(self, request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(self.chunks())

    async def chunks(self):
        yield b"1"
        await Gate.wait()
        trail.append("end")
        yield b"2"


class PostStreamFinishes(PostStream):
    on_disconnect = "finish"


async def leaves_work_behind(request):
    """Ends while its thread, as it waits for this view, is still busy with what nobody awaits."""
    HeldThread.task = asyncio.create_task(sync_to_async(HeldThread.wait)())
    await until(HeldThread.entered.is_set)
    Gate.entered.set()
    return HttpResponse("left")


class HeldThread:
    entered: threading.Event
    go: threading.Event
    task: asyncio.Task[None]

    @classmethod
    def wait(cls) -> None:
        cls.entered.set()
        cls.go.wait(10)


@sync_only_middleware
def on_a_thread(get_response):
    def middleware(request):
        return get_response(request)

    return middleware


async def outlived(request):
    async def late():
        await Gate.wait()
        trail.append(await sync_to_async(pid)())

    outlived.task = asyncio.create_task(late())
    return HttpResponse("outlived")


def read_file(request):
    return FileResponse(open(__file__, "rb"))  # noqa: PTH123


async def read_body(request):
    return HttpResponse(request.body + str(len(request.FILES)).encode())


async def broken_stream(request):
    async def chunks():
        yield b"1"
        raise ZeroDivisionError

    return StreamingHttpResponse(chunks())


urlpatterns = [
    path("no_thread/", no_thread),
    path("closes/", closes),
    path("sync/", sync_view),
    path("threads/", threads),
    path("query/", query),
    path("holds/", holds_a_thread),
    path("stream/", stream),
    path("waits/", Waits.as_view()),
    path("cancels/", Cancels.as_view()),
    path("finishes/", Finishes.as_view()),
    path("post_stream/", PostStream.as_view()),
    path("post_stream_finishes/", PostStreamFinishes.as_view()),
    path("leaves_work_behind/", leaves_work_behind),
    path("outlived/", outlived),
    path("file/", read_file),
    path("body/", read_body),
    path("broken_stream/", broken_stream),
]


async def send(url: str, *, method: str = "GET", body: bytes = b"") -> ApplicationCommunicator:
    """Send a request; the caller reads what comes, or leaves."""
    application = ApplicationCommunicator(ASGIHandler(), http_scope(url, method=method))
    await application.send_input({"type": "http.request", "body": body})
    return application


# Threads


async def test_a_request_that_needs_no_thread_gets_none(get):
    await get("/no_thread/")
    assert trail == [HERE()]
    assert request_threads.size == 0


async def test_all_sync_code_of_a_request_runs_on_one_thread(get):
    await get("/threads/")
    assert len(trail) == 23
    assert len(set(trail)) == 1
    assert trail[0] != HERE()


seen: contextvars.ContextVar[str] = contextvars.ContextVar("seen")


def sees(request):
    trail.append(seen.get())
    seen.set("by the view")
    trail.append(async_to_sync(loop_of_thread)() is loop_of_test)
    return HttpResponse("sees")


async def loop_of_thread():
    return asyncio.get_running_loop()


loop_of_test: asyncio.AbstractEventLoop


@async_only_middleware
def notes_what_is_seen(get_response):
    async def middleware(request):
        seen.set("by middleware")
        response = await get_response(request)
        trail.append(seen.get())
        return response

    return middleware


@override_settings(MIDDLEWARE=[f"{__name__}.notes_what_is_seen"])
async def test_a_synchronous_view_has_the_context_and_the_event_loop_of_its_request(get):
    global loop_of_test  # noqa: PLW0603
    loop_of_test = asyncio.get_running_loop()
    with Route("sees/", sees):
        await get("/sees/")
    assert trail == ["by middleware", True, "by the view"]


async def ignores_cancellation():
    try:
        await Gate.wait()
    except asyncio.CancelledError:
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("awaited", "expected"),
    [(Gate.wait, ["cancelled", "CancelledError"]), (ignores_cancellation, ["cancelled", "None"])],
)
async def test_what_a_synchronous_view_awaits_is_cancelled_with_it(awaited, expected):
    def view(request):
        try:
            trail.append(str(async_to_sync(awaited)()))
        except asyncio.CancelledError:
            trail.append("CancelledError")
            raise
        return HttpResponse("awaited")

    with Route("awaits/", view):
        application = await send("/awaits/")
        await Gate.entered.wait()
        await application.send_input({"type": "http.disconnect"})
        await application.wait(5)
    await until(lambda: trail == expected)


async def test_the_next_request_has_the_same_thread(get):
    for _ in range(5):
        await get("/sync/")
        await until(lambda: request_threads.busy == 0)
    assert len(set(trail)) == 1


@override_settings(ASYNCVIEWS={"REQUEST_THREADS": 2})
async def test_fifty_requests_at_once_share_the_threads_there_may_be(get):
    answers = await asyncio.gather(*(get("/threads/") for _ in range(50)))
    assert {start["status"] for start, _ in answers} == {200}
    assert len(trail) == 50 * 23
    assert request_threads.size == 2


@override_settings(ASYNCVIEWS={"REQUEST_THREADS": 1})
async def test_who_holds_the_last_thread_makes_others_wait_who_need_one(get):
    holder = await send("/holds/")
    await Gate.entered.wait()
    await get("/no_thread/")
    waiting = asyncio.create_task(get("/sync/"))
    await until(lambda: request_threads.waiting == 1)
    Gate.go.set()
    assert (await holder.receive_output(5))["status"] == 200
    await holder.wait(5)
    assert (await waiting)[1]["body"] == b"sync"


@override_settings(ASYNCVIEWS={"REQUEST_THREADS": 1, "REQUEST_THREADS_QUEUE": 0})
async def test_when_too_many_wait_the_answer_is_503(get):
    await refused(get, b"All 1 threads are in use")


@override_settings(ASYNCVIEWS={"REQUEST_THREADS": 1, "REQUEST_THREADS_TIMEOUT": 0.02})
async def test_who_waits_too_long_is_answered_503(get):
    """So a view that asks its own site for something it has no thread for does not wait forever."""
    await refused(get, b"became free")


@override_settings(ASYNCVIEWS={"REQUEST_THREADS": 1, "REQUEST_THREADS_TIMEOUT": 0.02})
async def test_who_gets_no_thread_to_close_its_response_closes_it_all_the_same(get):
    holder = await send("/holds/")
    await Gate.entered.wait()
    start, _ = await get("/closes/")
    assert start["status"] == 200
    assert len(trail) == 1
    assert trail[0] != HERE()
    Gate.go.set()
    await holder.receive_output(5)
    await holder.wait(5)


async def refused(get, cause: bytes) -> None:
    holder = await send("/holds/")
    await Gate.entered.wait()
    start, body = await get("/sync/")
    headers = dict(start["headers"])
    assert start["status"] == 503
    assert headers[b"Retry-After"] == b"5"
    assert headers[b"Content-Type"] == b"application/problem+json"
    assert json.loads(body["body"])["detail"] == "The server is busy."
    assert int(headers.get(b"Content-Length", len(body["body"]))) == len(body["body"])
    assert trail == []
    Gate.go.set()
    assert (await holder.receive_output(5))["status"] == 200
    await holder.wait(5)


@override_settings(ASYNCVIEWS={"REQUEST_THREADS": 1})
async def test_a_stream_gives_its_thread_to_others_while_it_waits(get):
    streaming = await send("/stream/")
    await Gate.entered.wait()
    for _ in range(3):
        await get("/sync/")
    Gate.go.set()
    await until(lambda: len(trail) == 5)
    assert len(set(trail)) == 1
    await streaming.receive_output(5)
    bodies = [(await streaming.receive_output(5)).get("body") for _ in range(3)]
    assert bodies == [b"1", b"2", None]
    await streaming.wait(5)


async def test_a_task_that_outlives_its_request_gets_a_thread_and_leaves_no_connection(
    get, postgres
):
    await get("/outlived/")
    Gate.go.set()
    await outlived.task
    assert len(trail) == 1
    await until(lambda: postgres.sessions() == 0)


async def test_the_lifespans_end_closes_threads_and_connections(get, postgres):
    postgres.set(CONN_MAX_AGE=60)
    async with lifespan():
        await get("/query/")
        assert postgres.sessions() == 1
    await until(lambda: request_threads.size == 0 and postgres.sessions() == 0)


@pytest.mark.django_db
def test_under_async_to_sync_the_callers_thread_is_the_requests():
    """As with Django's handler: a test's transaction is that of the view which it calls."""

    received = [{"type": "http.request", "body": b""}]

    async def receive():
        return received.pop() if received else await asyncio.Event().wait()

    async def discard(message):
        pass

    async_to_sync(ASGIHandler())(http_scope("/threads/"), receive, discard)
    assert set(trail) == {HERE()}


async def test_an_outer_context_decides_where_sync_code_runs(get, postgres):
    """And whoever has entered it has the connections closed there, as with Django's handler."""
    postgres.set(CONN_MAX_AGE=0)
    received = [{"type": "http.request", "body": b""}]

    async def receive():
        return received.pop() if received else await asyncio.Event().wait()

    async def discard(message):
        pass

    async with ThreadSensitiveContext():
        outer = await sync_to_async(HERE)()
        await ASGIHandler()(http_scope("/query/"), receive, discard)
        assert await sync_to_async(HERE)() == outer
        await until(lambda: postgres.sessions() == 0)
    assert len(trail) == 1
    assert request_threads.size == 0


async def test_a_server_may_start_a_request_in_the_context_of_the_one_before(settings):
    """As uvicorn does, when the response is sent and the request that was answered has not ended."""
    settings.MIDDLEWARE = [f"{__name__}.waits"]
    handler, statuses, tasks = ASGIHandler(), [], []

    async def ask(url, then=None):
        received = [{"type": "http.request", "body": b""}]

        async def receive():
            return received.pop() if received else await asyncio.Event().wait()

        async def send(message):
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            elif then:
                tasks.append(asyncio.create_task(ask(then)))

        await handler(http_scope(url), receive, send)

    await ask("/no_thread/", then="/threads/")
    trail.clear()
    await tasks[0]
    assert statuses == [200, 200]
    assert len(trail) == 24
    assert len(set(trail)) == 1


@sync_only_middleware
def waits(get_response):
    def middleware(request):
        trail.append(HERE())
        return get_response(request)

    return middleware


# Connections


async def test_connections_persist_as_long_as_conn_max_age_says(get, postgres):
    postgres.set(CONN_MAX_AGE=60)
    for _ in range(5):
        await get("/query/")
        await until(lambda: request_threads.busy == 0)
    assert len(set(trail)) == 1
    assert postgres.sessions() == 1


async def test_without_conn_max_age_each_request_has_its_own(get, postgres):
    for _ in range(3):
        await get("/query/")
        await until(lambda: postgres.sessions() == 0)
    assert len(set(trail)) == 3


async def test_a_broken_connection_is_not_given_to_the_next_request(get, postgres):
    postgres.set(CONN_MAX_AGE=60, CONN_HEALTH_CHECKS=True)
    await get("/query/")
    await until(lambda: request_threads.busy == 0)
    postgres.terminate()
    start, _ = await get("/query/")
    assert start["status"] == 200
    assert len(set(trail)) == 2


@override_settings(ASYNCVIEWS={"REQUEST_THREADS": 1})
async def test_a_stream_keeps_its_connection_though_others_come_and_go(get, postgres):
    """One with an open cursor would lose its rows."""

    async def chunks():
        for _ in range(2):
            trail.append(await sync_to_async(pid)())
            yield b"1"
            await Gate.wait()

    stream_view.chunks = chunks
    streaming = await send("/stream_view/")
    await Gate.entered.wait()
    await get("/query/")
    Gate.go.set()
    await streaming.wait(5)
    assert len(trail) == 3
    assert len(set(trail)) == 1
    await until(lambda: postgres.sessions() == 0)


async def stream_view(request):
    return StreamingHttpResponse(stream_view.chunks())


@override_settings(ASYNCVIEWS={"REQUEST_THREADS": 1})
async def test_not_even_a_receiver_that_closes_old_connections_takes_it_away(get, postgres, listen):
    listen(signals.request_finished, lambda **kwargs: close_old_connections())
    await test_a_stream_keeps_its_connection_though_others_come_and_go(get, postgres)


urlpatterns.append(path("stream_view/", stream_view))


@override_settings(DEBUG=True)
async def test_the_queries_of_a_request_are_forgotten_before_the_next(get, postgres):
    postgres.set(CONN_MAX_AGE=60)

    def count() -> int:
        pid()
        return len(connections[Postgres.alias].queries)

    async def view(request):
        trail.append(await sync_to_async(count)())
        return HttpResponse("")

    with Route("counts/", view):
        for _ in range(3):
            await get("/counts/")
            await until(lambda: request_threads.busy == 0)
    assert trail == [1, 1, 1]


class Route:
    def __init__(self, url, view):
        self.pattern = path(url, view)

    def __enter__(self):
        urlpatterns.append(self.pattern)

    def __exit__(self, *exc):
        urlpatterns.remove(self.pattern)


# Signals


@pytest.fixture
def listen():
    """Connect a receiver; it is disconnected after the test."""
    connected = []

    def connect(signal, receiver):
        signal.connect(receiver)
        connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


async def test_other_receivers_get_a_thread_as_with_django(get, listen):
    def started(scope, **kwargs):
        trail.append(("started", scope["path"], HERE() != loop_thread))

    def finished(sender, **kwargs):
        trail.append(("finished", sender, HERE() != loop_thread))

    loop_thread = HERE()
    listen(signals.request_started, started)
    listen(signals.request_finished, finished)
    await get("/no_thread/")
    assert trail == [
        ("started", "/no_thread/", True),
        loop_thread,
        ("finished", ASGIHandler, True),
    ]
    assert request_threads.size == 1


async def test_an_async_receiver_is_awaited_in_the_context_of_the_request(get, listen):
    """What a request has opened on the event loop, a connection say, is closed there."""
    opened: contextvars.ContextVar[str] = contextvars.ContextVar("opened")

    async def started(scope, **kwargs):
        opened.set(scope["path"])

    async def view(request):
        trail.append(opened.get())
        opened.set("by the view")
        return HttpResponse("")

    async def finished(**kwargs):
        trail.append(opened.get())

    listen(signals.request_started, started)
    listen(signals.request_finished, finished)
    with Route("opens/", view):
        await get("/opens/")
    assert trail == ["/opens/", "by the view"]
    assert request_threads.size == 0


@override_settings(ASYNCVIEWS={"REQUEST_THREADS": 1, "REQUEST_THREADS_TIMEOUT": 0.02})
async def test_the_end_is_told_though_no_thread_is_free(get, listen):
    listen(signals.request_finished, lambda **kwargs: trail.append("finished"))
    holder = await send("/holds/")
    await Gate.entered.wait()
    await get("/no_thread/")
    assert trail[1:] == ["finished"]
    Gate.go.set()
    await holder.receive_output(5)
    await holder.wait(5)


async def test_a_client_that_leaves_ends_its_request_for_the_receivers(listen):
    def finished(**kwargs):
        trail.append("finished")

    listen(signals.request_finished, finished)
    application = await send("/waits/")
    await Gate.entered.wait()
    await application.send_input({"type": "http.disconnect"})
    await application.wait(5)
    assert trail == ["cancelled", "finished"]


async def test_a_client_that_leaves_while_middlewares_thread_winds_up_is_forgotten(
    listen, settings
):
    """What asgiref then takes for the request's thread is one that takes no more calls."""
    settings.MIDDLEWARE = [f"{__name__}.on_a_thread"]
    listen(signals.request_finished, lambda **kwargs: trail.append("finished"))
    application = await send("/leaves_work_behind/")
    await Gate.entered.wait()
    await application.send_input({"type": "http.disconnect"})
    await until(application.input_queue.empty)
    for _ in range(5):
        await asyncio.sleep(0)
    assert trail == []
    HeldThread.go.set()
    await application.wait(5)
    assert trail == ["finished"]


async def test_a_client_that_leaves_as_its_response_ends_changes_nothing(listen):
    """The listener has heard of it, and its callback comes when nobody is to be ended any more."""
    listen(signals.request_finished, lambda **kwargs: trail.append("finished"))
    gone = asyncio.Event()
    body = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive():
        if body:
            return body.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        await asyncio.sleep(0)  # the listener starts
        if message["type"] == "http.response.body":
            gone.set()
            await asyncio.sleep(0)  # and ends just before the request does

    await ASGIHandler()(http_scope("/closes/"), receive, send)
    assert len(trail) == 2
    assert trail[-1] == "finished"


class ClosingCache(LocMemCache):
    def close(self, **kwargs):
        trail.append(HERE())


@override_settings(CACHES={"default": {"BACKEND": f"{__name__}.ClosingCache"}})
async def test_caches_that_close_are_closed_on_a_thread(get):
    async def view(request):
        await caches["default"].aget("x")
        return HttpResponse("")

    with Route("cached/", view):
        await get("/cached/")
    assert len(trail) == 1
    assert trail[0] != HERE()


# Responses


async def test_a_file_is_closed(get):
    messages = await get("/file/")
    assert messages[0]["status"] == 200
    assert b"FileResponse" in b"".join(message.get("body", b"") for message in messages)


async def test_a_stream_that_fails_is_closed_and_its_thread_given_back(listen):
    def finished(**kwargs):
        trail.append("finished")

    listen(signals.request_finished, finished)
    application = await send("/broken_stream/")
    with pytest.raises(ZeroDivisionError):
        await application.wait(5)
    assert trail == ["finished"]
    await until(lambda: request_threads.busy == 0)


@pytest.mark.parametrize("size", [0, 10, 100])
@pytest.mark.parametrize("chunks", [1, 3])
async def test_bodies_large_and_small_in_one_piece_and_more(settings, size, chunks):
    settings.MIDDLEWARE, settings.FILE_UPLOAD_MAX_MEMORY_SIZE = [], 50
    application = ApplicationCommunicator(ASGIHandler(), http_scope("/body/", method="POST"))
    for number in range(chunks):
        more = number < chunks - 1
        await application.send_input(
            {"type": "http.request", "body": b"x" * size, "more_body": more}
        )
    assert (await application.receive_output(5))["status"] == 200
    assert (await application.receive_output(5))["body"] == b"x" * size * chunks + b"0"
    await application.wait(5)


async def test_a_client_that_leaves_during_its_body_reaches_no_view():
    application = ApplicationCommunicator(ASGIHandler(), http_scope("/no_thread/", method="POST"))
    await application.send_input({"type": "http.request", "body": b"x", "more_body": True})
    await application.send_input({"type": "http.disconnect"})
    await application.wait(5)
    assert await application.receive_nothing()
    assert trail == []


async def test_a_request_that_cannot_be_decoded_is_answered_400():
    scope = http_scope("/no_thread/") | {"query_string": b"\xff"}
    application = ApplicationCommunicator(ASGIHandler(), scope)
    await application.send_input({"type": "http.request", "body": b""})
    assert (await application.receive_output(5))["status"] == 400
    await application.receive_output(5)
    await application.wait(5)


# Disconnects


@pytest.mark.parametrize(
    ("method", "url", "expected"),
    [
        ("GET", "/waits/", ["cancelled"]),
        ("POST", "/waits/", ["end", "task"]),
        ("POST", "/cancels/", ["cancelled"]),
        ("GET", "/finishes/", ["end", "task"]),
        ("POST", "/holds/", ["cancelled"]),  # no AsyncView: as with Django
        ("POST", "/post_stream/", ["cancelled"]),
        ("POST", "/post_stream_finishes/", ["end"]),
    ],
)
async def test_what_a_disconnect_does_is_the_views_policy(
    method, url, expected, app_lifespan, settings
):
    settings.MIDDLEWARE = []
    application = await send(url, method=method)
    await Gate.entered.wait()
    await application.send_input({"type": "http.disconnect"})
    await until(application.input_queue.empty)
    for _ in range(5):
        await asyncio.sleep(0)
    Gate.go.set()
    await application.wait(5)
    await until(lambda: trail == expected)


@pytest.mark.parametrize(
    ("method", "url", "expected"),
    [
        ("GET", "/waits/", []),
        ("POST", "/waits/", ["end", "task"]),
        ("POST", "/cancels/", ["cancelled"]),
        ("POST", "/holds/", []),  # before it waits
    ],
)
async def test_a_disconnect_before_the_view_is_known(method, url, expected, app_lifespan, settings):
    """What may change something is asked when it is: its handler might just begin."""
    settings.MIDDLEWARE = [f"{__name__}.delays"]
    delays.entered, delays.go = asyncio.Event(), asyncio.Event()
    application = await send(url, method=method)
    await delays.entered.wait()
    await application.send_input({"type": "http.disconnect"})
    await until(application.input_queue.empty)
    for _ in range(5):
        await asyncio.sleep(0)
    delays.go.set()
    if "end" in expected:
        Gate.go.set()
    await application.wait(5)
    await until(lambda: trail == expected)


@async_only_middleware
def delays(get_response):
    async def middleware(request):
        delays.entered.set()
        await delays.go.wait()
        return await get_response(request)

    return middleware


def test_a_policy_that_does_not_exist_is_refused():
    with pytest.raises(ImproperlyConfigured, match=r'Wrong\.on_disconnect must be "cancel"'):

        class Wrong(AsyncView):
            on_disconnect = "ignore"


async def test_a_server_that_sends_nonsense_is_told():
    application = await send("/waits/")
    await Gate.entered.wait()
    await application.send_input({"type": "http.request", "body": b""})
    with pytest.raises(AssertionError, match="Invalid ASGI message"):
        await application.wait(5)
    assert trail == ["cancelled"]


async def test_a_timeout_of_the_view_is_not_taken_for_a_disconnect(get):
    async def view(request):
        async def chunks():
            yield b"1"
            raise TimeoutError

        return StreamingHttpResponse(chunks())

    with Route("timeout/", view):
        application = await send("/timeout/")
        with pytest.raises(TimeoutError):
            await application.wait(5)


async def test_a_response_that_is_there_at_once_starts_no_listener(monkeypatch):
    """A server may therefore be asked for the body only."""
    calls = []

    async def receive():
        calls.append(True)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def discard(message):
        pass

    await ASGIHandler()(http_scope("/no_thread/"), receive, discard)
    assert calls == [True]


# Requests do not see each other


mine = contextvars.ContextVar("mine", default=None)


async def test_context_variables_stay_in_their_request(settings):
    settings.MIDDLEWARE = [f"{__name__}.remember"]
    handler = ASGIHandler()

    async def ask(name: str) -> bytes:
        application = ApplicationCommunicator(handler, http_scope(f"/who/{name}/"))
        await application.send_input({"type": "http.request", "body": b""})
        await application.receive_output(5)
        body = (await application.receive_output(5))["body"]
        await application.wait(5)
        return body

    async def who(request, name):
        await sync_to_async(mine.get)()
        await asyncio.sleep(0)
        return HttpResponse(str(mine.get()))

    with Route("who/<name>/", who):
        names = [f"n{number}" for number in range(50)]
        assert await asyncio.gather(*map(ask, names)) == [name.encode() for name in names]


def remember(get_response):
    """A sync middleware: what it sets on its thread is there in the view."""

    def middleware(request):
        mine.set(request.path.split("/")[2])
        return get_response(request)

    return middleware


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")  # Django does
async def test_djangos_handler_answers_the_same(get):
    """The messages, header for header."""
    for url in ("/no_thread/", "/sync/", "/missing/", "/file/"):
        assert await get(url) == await get(url, handler=django_asgi.ASGIHandler)
    assert connection.in_atomic_block is False
