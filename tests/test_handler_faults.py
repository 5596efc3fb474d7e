"""What goes wrong around a request: it leaves nothing behind, and harms no other."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core import mail, signals
from django.core.files.uploadedfile import UploadedFile
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import path
from django.utils.deprecation import MiddlewareMixin

from asyncviews import AsyncView, BackgroundTaskMixin, Body, File, Form, ServerSentEvent
from asyncviews.asgi import ASGIHandler, lifespan
from asyncviews.background import runner
from asyncviews.handler import request_in, request_threads
from asyncviews.streaming import EventStreamResponse
from tests.conftest import Postgres, busy_thread, http_scope, until

pytestmark = pytest.mark.urls(__name__)

seen: list[weakref.ref[HttpRequest]] = []
local = threading.local()


class Gate:
    entered: asyncio.Event
    go: asyncio.Event

    @classmethod
    async def wait(cls) -> None:
        cls.entered.set()
        await cls.go.wait()


@pytest.fixture(autouse=True)
async def _fresh():
    request_threads.retire(timeout=5)  # those of other tests
    Gate.entered, Gate.go = asyncio.Event(), asyncio.Event()
    seen.clear()
    yield
    request_threads.retire(timeout=5)
    assert request_threads.size == 0


class Remember(MiddlewareMixin):
    inline_capable = True

    def process_request(self, request: HttpRequest) -> None:
        seen.append(weakref.ref(request))


class Client:
    """Sends one request; its `send` may be slow, and it may leave."""

    def __init__(self, url: str, *, handler: Any = None, body: bytes = b"", **scope: Any) -> None:
        self.sent: list[dict[str, Any]] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self._left = asyncio.Event()
        self._messages = [{"type": "http.request", "body": body}]
        scope = http_scope(url, method="POST" if body else "GET") | scope
        application = handler or ASGIHandler()
        self.task = asyncio.create_task(application(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if self._messages:
            return self._messages.pop()
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        await self.reads.wait()
        self.sent.append(message)

    def leave(self) -> None:
        self._left.set()

    @property
    def status(self) -> int:
        return self.sent[0]["status"]

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])


async def get(url: str, **how: Any) -> Client:
    client = Client(url, **how)
    await asyncio.wait_for(client.task, 5)
    return client


# Views


def page(request):
    return HttpResponse("page")


async def awaits_sync_code(request):
    await sync_to_async(len)("")
    return HttpResponse("awaited")


async def holds(request):
    async with busy_thread():
        await Gate.wait()
    return HttpResponse("held")


async def streams(request):
    async def chunks():
        for number in range(3):
            await sync_to_async(len)("")
            yield str(number)

    return StreamingHttpResponse(chunks())


async def fails(request):
    await sync_to_async(len)("")
    raise ZeroDivisionError


class Uploads(AsyncView):
    async def post(
        self, request: HttpRequest, file: File[UploadedFile], name: Form[str] = ""
    ) -> str:
        await sync_to_async(len)("")
        return name


class TakesJSON(AsyncView):
    async def post(self, request: HttpRequest, items: Body[list[int]]) -> int:
        await sync_to_async(len)("")
        return len(items)


class StartsTasks(BackgroundTaskMixin, AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        self.add_background_task(Gate.wait)
        self.add_background_task(len, "")
        return HttpResponse("started")


async def leaves_a_task(request):
    leaves_a_task.task = asyncio.create_task(Gate.go.wait())
    await sync_to_async(len)("")
    return HttpResponse("left")


def execute(sql: str) -> Any:
    with connections[Postgres.alias].cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone() if cursor.description else None


async def enters_a_transaction(request):
    block = transaction.atomic(using=Postgres.alias)
    await sync_to_async(block.__enter__)()
    await sync_to_async(execute)("CREATE TABLE left_open (id int)")
    if "wait" in request.GET:
        await Gate.wait()
    return HttpResponse("entered")


def queries(request):
    execute("SELECT 1")
    return HttpResponse("queried")


def shows_user(request):
    return HttpResponse(getattr(local, "user", "nobody"))


class KeepsUser(MiddlewareMixin):
    """As packages do that let models know who changes them."""

    def process_request(self, request: HttpRequest) -> None:
        if user := request.GET.get("user"):
            local.user = user

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        vars(local).pop("user", None)
        return response


urlpatterns = [
    path("page/", page),
    path("awaits_sync_code/", awaits_sync_code),
    path("holds/", holds),
    path("streams/", streams),
    path("fails/", fails),
    path("uploads/", Uploads.as_view()),
    path("json/", TakesJSON.as_view()),
    path("tasks/", StartsTasks.as_view()),
    path("leaves_a_task/", leaves_a_task),
    path("enters/", enters_a_transaction),
    path("queries/", queries),
    path("shows_user/", shows_user),
]

MULTIPART = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    + b"x" * 100_000
    + b'\r\n--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nn\r\n--b--\r\n'
)

KINDS: dict[str, dict[str, Any]] = {
    "/page/": {},
    "/awaits_sync_code/": {},
    "/streams/": {},
    "/fails/": {},
    "/missing/": {},
    "/uploads/": {"body": MULTIPART, "type": b"multipart/form-data; boundary=b"},
    "/json/": {"body": b'{"items": [1, 2, 3]}', "type": b"application/json"},
}


async def ask(url: str, handler: Any, *, body: bytes = b"", type: bytes = b"text/plain") -> Client:  # noqa: A002
    headers = [(b"host", b"testserver"), (b"content-type", type), (b"cookie", b"a=b")]
    length = (b"content-length", str(len(body)).encode())
    return await get(url, handler=handler, body=body, headers=[*headers, length])


def alive() -> int:
    gc.collect()
    return sum(request() is not None for request in seen)


@pytest.fixture
def handler(settings) -> Iterator[Any]:
    settings.MIDDLEWARE = [
        f"{__name__}.Remember",
        *(name for name in settings.MIDDLEWARE if "Csrf" not in name),
    ]
    logging.disable(logging.ERROR)
    yield ASGIHandler()
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("url", KINDS)
async def test_no_request_outlives_its_answer(url, handler, settings):
    settings.MIDDLEWARE.append(f"{__name__}.KeepsUser")  # each request uses a thread
    statuses = {(await ask(url, ASGIHandler(), **KINDS[url])).status for _ in range(20)}
    assert statuses <= {200, 404, 500}
    assert len(seen) == 20
    await until(lambda: request_threads.busy == 0)
    await until(lambda: alive() == 0)


async def test_a_background_task_that_goes_on_keeps_nothing_of_its_request(handler):
    async with lifespan():
        await asyncio.gather(*(ask("/tasks/", handler) for _ in range(20)))
        assert runner.stats().running >= 20
        await until(lambda: alive() == 0)
        Gate.go.set()


async def test_nor_does_an_asyncio_task_that_outlives_it(handler):
    await ask("/leaves_a_task/", handler)
    context = leaves_a_task.task.get_coro().cr_frame and leaves_a_task.task
    assert context is not None
    await until(lambda: alive() == 0)
    Gate.go.set()
    await leaves_a_task.task


async def test_a_context_knows_its_request_until_that_is_answered(get_context):
    context = await get_context("/page/")
    assert request_in(context) is None


@pytest.fixture
def get_context(settings) -> Callable[[str], Awaitable[Any]]:
    import contextvars

    async def context_of(url: str) -> Any:
        contexts = []

        class Handler(ASGIHandler):
            async def run_get_response(self, request):
                contexts.append(contextvars.copy_context())
                assert request_in(contexts[0]) is request
                return await super().run_get_response(request)

        await get(url, handler=Handler())
        return contexts[0]

    return context_of


# A full pool


@pytest.fixture
def failures() -> Iterator[list[Any]]:
    """What Django takes for an error of the project."""
    found: list[Any] = []

    def receive(**kwargs):
        found.append(kwargs)

    signals.got_request_exception.connect(receive)
    yield found
    signals.got_request_exception.disconnect(receive)


FULL = {"REQUEST_THREADS": 1, "REQUEST_THREADS_QUEUE": 0}


@override_settings(ASYNCVIEWS=FULL, ADMINS=[("A", "a@example.com")], DEBUG=False)
@pytest.mark.parametrize("url", ["/page/", "/awaits_sync_code/"])
async def test_a_refusal_is_no_error_of_the_project(url, failures, caplog):
    """No traceback, no mail, no signal; and the headers of the middleware that needs no thread."""
    holder = Client("/holds/")
    await Gate.entered.wait()
    refused = await get(url)
    assert refused.status == 503
    assert refused.headers[b"X-Content-Type-Options"] == b"nosniff"
    assert refused.headers[b"Retry-After"] == b"5"
    assert failures == []
    assert mail.outbox == []
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "All 1 threads are in use" in caplog.text
    Gate.go.set()
    await holder.task
    assert holder.status == 200


@override_settings(ASYNCVIEWS=FULL, MIDDLEWARE=[f"{__name__}.KeepsUser"])
async def test_nor_is_one_of_middleware_that_needs_a_thread(failures, caplog):
    holder = Client("/holds/")
    await Gate.entered.wait()
    refused = await get("/page/")
    assert refused.status == 503
    assert failures == []
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    Gate.go.set()
    await holder.task


@override_settings(ASYNCVIEWS=FULL)
async def test_nor_one_of_a_receiver_of_request_started(failures):
    def receive(**kwargs):
        pass

    holder = Client("/holds/")
    await Gate.entered.wait()
    signals.request_started.connect(receive)
    try:
        assert (await get("/page/")).status == 503
    finally:
        signals.request_started.disconnect(receive)
    assert failures == []
    Gate.go.set()
    await holder.task


@override_settings(ASYNCVIEWS={"REQUEST_THREADS": 1, "REQUEST_THREADS_TIMEOUT": 0.05})
async def test_a_stream_for_which_no_thread_is_free_ends():
    async def events():
        yield ServerSentEvent("1")
        await Gate.entered.wait()
        yield ServerSentEvent(await sync_to_async(str)(2))

    stream.response = lambda: EventStreamResponse(events())
    streaming = Client("/stream/")
    holder = Client("/holds/")
    with pytest.raises(RuntimeError, match="no thread is free"):
        await asyncio.wait_for(streaming.task, 5)
    assert [message.get("body") for message in streaming.sent[1:]] == [b"data: 1\n\n"]
    Gate.go.set()
    await holder.task


@override_settings(ASYNCVIEWS={"REQUEST_THREADS": 1})
async def test_a_client_that_reads_slowly_holds_no_thread():
    """One HTTP/2 connection with a window of zero, say."""
    slow = Client("/page/")
    slow.reads.clear()
    await until(lambda: request_threads.size == 1 and request_threads.busy == 0)
    for _ in range(3):
        assert (await get("/page/")).status == 200
    slow.reads.set()
    await slow.task
    assert slow.status == 200


@override_settings(ASYNCVIEWS={"REQUEST_THREADS": 1, "REQUEST_THREADS_QUEUE": 1})
async def test_a_client_that_has_left_keeps_no_place_in_the_queue():
    holder = Client("/holds/")
    await Gate.entered.wait()
    for _ in range(3):
        impatient = Client("/page/")
        await until(lambda: request_threads.waiting == 1)
        impatient.leave()
        await impatient.task
        assert request_threads.waiting == 0
    patient = Client("/page/")
    await until(lambda: request_threads.waiting == 1)
    Gate.go.set()
    await asyncio.gather(holder.task, patient.task)
    assert patient.status == 200


@override_settings(ASYNCVIEWS={"REQUEST_THREADS": 2, "REQUEST_THREADS_TIMEOUT": 0.5})
async def test_a_stream_goes_on_though_the_thread_it_has_used_is_busy():
    calls = asyncio.Event()

    async def chunks():
        first = await sync_to_async(threading.get_ident)()
        yield b"1"
        await calls.wait()
        yield b"2" if await sync_to_async(threading.get_ident)() != first else b"3"

    stream.response = lambda: StreamingHttpResponse(chunks())
    streaming = Client("/stream/")
    await until(lambda: len(streaming.sent) == 2 and request_threads.busy == 0)
    holder = Client("/holds/")  # on the thread that is warm
    await Gate.entered.wait()
    calls.set()
    await streaming.task
    assert [message.get("body") for message in streaming.sent[1:3]] == [b"1", b"2"]
    Gate.go.set()
    await holder.task


async def stream(request):
    return stream.response()


urlpatterns.append(path("stream/", stream))


class _Blocked:
    """Requests that keep their threads until they are told to end."""

    def __init__(self) -> None:
        self.threads: dict[str, threading.Event] = {}

    def view(self, request):
        end = self.threads.setdefault(threading.current_thread().name, threading.Event())
        assert end.wait(10)
        return HttpResponse()


blocked = _Blocked()
urlpatterns.append(path("blocks/", blocked.view))


# What a request leaves behind


def has_table(postgres: Postgres) -> bool:
    row = postgres._monitor.execute("SELECT to_regclass('left_open')").fetchone()
    return row != (None,)


async def test_a_transaction_of_a_cancelled_request_is_rolled_back(postgres):
    postgres.set(CONN_MAX_AGE=60)
    client = Client("/enters/", query_string=b"wait=1")
    await Gate.entered.wait()
    client.leave()
    await client.task
    await until(lambda: postgres.sessions() == 0)
    assert (await get("/queries/")).status == 200
    assert not has_table(postgres)


@override_settings(ASYNCVIEWS={"REQUEST_THREADS": 1})
async def test_one_that_a_view_has_left_open_is_rolled_back_and_said(postgres, caplog):
    postgres.set(CONN_MAX_AGE=60)
    assert (await get("/enters/")).status == 200
    for _ in range(2):
        assert (await get("/queries/")).status == 200
    assert caplog.text.count("was left open") == 1
    assert not has_table(postgres)


@override_settings(ASYNCVIEWS={"REQUEST_THREADS": 1}, MIDDLEWARE=[f"{__name__}.KeepsUser"])
async def test_what_middleware_has_left_on_the_thread_of_a_cancelled_request_is_gone():
    client = Client("/holds/", query_string=b"user=first")
    await Gate.entered.wait()
    client.leave()
    await client.task
    assert (await get("/shows_user/")).sent[1]["body"] == b"nobody"


class HalfRead:
    """A stream that stops after each chunk of a query with a server-side cursor."""

    def __init__(self) -> None:
        self.go_on = asyncio.Semaphore(0)
        self.threads: set[str] = set()

    def rows(self):
        with connections[Postgres.alias].chunked_cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid() FROM generate_series(1, 3000)")
            while found := cursor.fetchmany(1000):
                self.threads.add(threading.current_thread().name)
                yield found[0][0]

    async def chunks(self):
        iterator = self.rows()
        for _ in range(3):
            yield str(await sync_to_async(next)(iterator)).encode() + b" "
            await self.go_on.acquire()
        await sync_to_async(iterator.close)()

    async def begin(self) -> None:
        """Send the first chunk."""
        stream.response = lambda: StreamingHttpResponse(self.chunks())
        self.client = Client("/stream/")
        await until(lambda: len(self.client.sent) == 2)

    def finish(self) -> None:
        """Have it go on to its end."""
        for _ in range(3):
            self.go_on.release()

    async def sent(self, postgres: Postgres) -> list[bytes]:
        """Return all three chunks, once nothing is open any more."""
        await self.client.task
        chunks = self.client.body.split()
        assert len(chunks) == 3
        await until(lambda: postgres.sessions() == 0)
        return chunks


@pytest.fixture
def half_read(postgres) -> HalfRead:
    postgres.set(CONN_MAX_AGE=0)
    return HalfRead()


@override_settings(ASYNCVIEWS={"REQUEST_THREADS": 1})
async def test_half_read_queries_are_finished_on_their_thread(postgres, half_read):
    """`aiterator()` between two chunks: its cursor is on a connection that others use meanwhile."""
    await half_read.begin()
    for _ in range(3):
        assert (await get("/queries/")).status == 200
    half_read.finish()
    assert len(set(await half_read.sent(postgres))) == 1


@override_settings(ASYNCVIEWS={"REQUEST_THREADS": 2})
async def test_a_half_read_query_that_came_first_on_its_thread_stays_there(postgres, half_read):
    """The cursor was asked for before the connection was made."""
    await half_read.begin()
    others = [Client("/blocks/") for _ in range(2)]
    await until(lambda: len(blocked.threads) == 2)
    half_read.finish()
    # The other thread is free first, and not the one to go on with.
    for name in sorted(blocked.threads, key=lambda name: name in half_read.threads):
        blocked.threads[name].set()
        await asyncio.sleep(0.1)
    for client in others:
        await client.task
    await half_read.sent(postgres)
    assert len(half_read.threads) == 1
