"""Files are read as their clients take them: the memory, threads and files that a download holds."""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
import warnings
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.http import FileResponse, HttpRequest, StreamingHttpResponse
from django.test import override_settings
from django.urls import path

from asyncviews import AsyncView
from asyncviews.asgi import ASGIHandler
from asyncviews.handler import request_threads
from asyncviews.streaming import stream_file
from tests.conftest import http_scope, until

pytestmark = pytest.mark.urls(__name__)

LARGE = 200 * 1024 * 1024


class File(io.RawIOBase):
    """A file of zeros that tells how much of it was read, in which threads, and that it is closed."""

    name = "zeros.bin"

    def __init__(self, size: int, *, fails_at: float = float("inf")) -> None:
        self.size = size
        self.read_so_far = 0
        self.fails_at = fails_at
        self.threads: set[threading.Thread] = set()

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.read_so_far

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1) -> bytes:
        assert size > 0
        assert not self.closed
        self.threads.add(threading.current_thread())
        if self.read_so_far >= self.fails_at:
            raise OSError("the disk is gone")
        size = min(size, self.size - self.read_so_far)
        self.read_so_far += size
        return bytes(size)


opened: list[Any] = []


class Download(AsyncView):
    async def get(self, request: HttpRequest) -> FileResponse:
        response = FileResponse(opened[0], content_type="application/octet-stream")
        opened.append(response)
        return response


def sync_download(request: HttpRequest) -> FileResponse:
    return FileResponse(opened[0])


def rows(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter([b"1,", b"2"]))


urlpatterns = [
    path("download/", Download.as_view()),
    path("sync/", sync_download),
    path("rows/", rows),
]


@pytest.fixture(autouse=True)
def _forget():
    opened.clear()
    yield
    request_threads.retire(timeout=5)


class Client:
    """Takes each message only when it is told to, as a slow connection does; and may leave."""

    def __init__(self, url: str, **headers: str) -> None:
        self.taken = 0
        self.allowed = asyncio.Semaphore(0)
        self.left = asyncio.Event()
        self.start: dict[str, Any] = {}
        self.waits = False
        scope = http_scope(url)
        scope["headers"] += [(name.encode(), value.encode()) for name, value in headers.items()]
        self.request = asyncio.create_task(ASGIHandler()(scope, self.receive, self.send))
        self._asked = False

    async def receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b""}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.start = message
            return
        self.waits = True
        await self.allowed.acquire()
        self.waits = False
        self.taken += len(message.get("body", b""))
        if self.on_taken:
            self.on_taken()

    on_taken: Any = None

    def take(self, messages: int) -> None:
        for _ in range(messages):
            self.allowed.release()


@contextlib.asynccontextmanager
async def client(url: str, **headers: str) -> AsyncIterator[Client]:
    client = Client(url, **headers)
    try:
        yield client
    finally:
        client.left.set()
        with contextlib.suppress(OSError):
            await asyncio.wait_for(client.request, 20)


@pytest.mark.parametrize("url", ["/download/", "/sync/"])
async def test_a_large_file_is_read_as_it_is_sent(url, recwarn):
    file = File(LARGE)
    opened.append(file)
    ahead = []
    async with client(url) as slow:
        slow.on_taken = lambda: ahead.append(file.read_so_far - slow.taken)
        slow.take(LARGE // ASGIHandler.chunk_size + 9)
        await asyncio.wait_for(slow.request, 30)
    assert slow.taken == LARGE
    assert max(ahead) <= 2 * ASGIHandler.chunk_size
    assert file.closed
    assert threading.main_thread() not in file.threads
    assert [str(each.message) for each in recwarn] == []


@override_settings(ASYNCVIEWS={"REQUEST_THREADS": 1})
async def test_slow_clients_hold_no_thread(get):
    file = File(LARGE)
    opened.append(file)
    async with client("/download/") as slow:
        await until(lambda: slow.waits)
        for number in range(1, 4):
            assert file.read_so_far == number * ASGIHandler.chunk_size
            opened.append(opened[0])
            opened[0] = other = File(10)
            messages = await asyncio.wait_for(get("/sync/"), 5)
            assert b"".join(each.get("body", b"") for each in messages) == bytes(10)
            assert other.closed
            slow.take(1)
            await until(lambda n=number: slow.taken == n * ASGIHandler.chunk_size and slow.waits)
        assert request_threads.size == 1
        assert not file.closed
    assert file.closed


async def test_a_client_that_leaves_has_its_file_closed():
    file = File(LARGE)
    opened.append(file)
    async with client("/download/") as slow:
        await until(lambda: slow.waits)
        slow.left.set()
        await until(lambda: file.closed)
    assert file.read_so_far <= 2 * ASGIHandler.chunk_size
    await until(lambda: request_threads.busy == 0)


async def test_a_file_that_fails_is_closed():
    file = File(LARGE, fails_at=ASGIHandler.chunk_size)
    opened.append(file)
    async with client("/download/") as reader:
        reader.take(10)
        with pytest.raises(OSError, match="the disk is gone"):
            await asyncio.wait_for(asyncio.shield(reader.request), 5)
    assert file.closed
    assert reader.taken == ASGIHandler.chunk_size


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 200_000])
async def test_all_of_a_file_arrives(get, size):
    opened.append(io.BytesIO(content := bytes(number % 251 for number in range(size))))
    messages = await get("/download/")
    assert b"".join(each.get("body", b"") for each in messages) == content
    assert (b"Content-Length", str(size).encode()) in messages[0]["headers"]
    assert opened[1].file_to_stream is opened[0]


async def test_a_file_that_middleware_compresses_is_read_as_it_is_sent(settings):
    settings.MIDDLEWARE = ["django.middleware.gzip.GZipMiddleware"]
    file = File(LARGE)
    opened.append(file)
    async with client("/download/", **{"accept-encoding": "gzip"}) as slow:
        await until(lambda: slow.waits)
        assert (b"Content-Encoding", b"gzip") in slow.start["headers"]
        assert 0 < file.read_so_far < LARGE
    assert file.closed


async def test_other_synchronous_iterators_are_left_to_django(get):
    with pytest.warns(Warning, match="must consume synchronous iterators"):
        messages = await get("/rows/")
    assert b"".join(each.get("body", b"") for each in messages) == b"1,2"


async def test_blocks_larger_than_a_chunk_are_kept():
    response = FileResponse(io.BytesIO(bytes(100)))
    response.block_size = 60
    stream_file(response, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [len(chunk) async for chunk in response] == [60, 40, 0]
