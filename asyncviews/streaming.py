"""Responses that go on: server-sent events, JSON lines, and files.

Each asks for what comes next only when the client has room for it, and ends it when the client leaves.
"""

from __future__ import annotations

import asyncio
import logging
import re
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

from asgiref.sync import sync_to_async
from django.http import FileResponse, StreamingHttpResponse
from pydantic_core import to_json

from asyncviews.threads import NoThreadAvailable

T = TypeVar("T")

EVENT_STREAM = "text/event-stream"
JSON_LINES = "application/jsonl"
KEEP_ALIVE = 15.0
"""Seconds without an event after which a comment is sent, so that nobody in between hangs up."""

logger = logging.getLogger("asyncviews.streaming")

_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)  # with slots, too, ServerSentEvent[int](1) would fail on Python 3.11
class ServerSentEvent(Generic[T]):
    """One event of an event stream, as the HTML standard defines it (section 9.2).

    Raises:
        ValueError: a field that could not be told from the rest of the stream.
    """

    data: T | None = None
    """A string is sent as it is, anything else as JSON. Without data, no browser hears the event."""
    event: str | None = field(default=None, kw_only=True)
    """Its type; browsers call an event without one "message"."""
    id: str | None = field(default=None, kw_only=True)
    """What the client sends as ``Last-Event-ID`` when it connects again."""
    retry: int | None = field(default=None, kw_only=True)
    """Milliseconds after which a client that has lost the connection tries again."""
    comment: str | None = field(default=None, kw_only=True)
    """What no client hears."""

    def __post_init__(self) -> None:
        for name in ("event", "id"):
            if re.search(r"[\r\n\0]", getattr(self, name) or ""):
                raise ValueError(f"The {name} of an event is one line, without NUL.")
        if self.retry is not None and self.retry < 0:
            raise ValueError("The retry of an event is not negative.")

    def encode(self) -> bytes:
        """Return what is sent."""
        data: object = self.data
        if data is not None and not isinstance(data, str):
            data = to_json(data).decode()
        fields = {
            "": self.comment,
            "event": self.event,
            "id": self.id,
            "retry": self.retry,
            "data": data,
        }
        lines = [
            f"{name}: {line}\n"
            for name, value in fields.items()
            if value is not None
            # The str() of an enum's member is its name.
            for line in _LINE_END.split(value if isinstance(value, str) else str(value))
        ]
        return ("".join(lines) + "\n").encode()


_STILL_THERE = ServerSentEvent[Any](comment="keep-alive").encode()


class EventStreamResponse(StreamingHttpResponse):
    """A response that sends events as they come, and comments while none come."""

    def __init__(
        self,
        events: AsyncIterable[ServerSentEvent[Any]],
        *,
        keep_alive: float | None = None,
        encode: Callable[[ServerSentEvent[Any]], bytes] = ServerSentEvent.encode,
        **kwargs: Any,
    ) -> None:
        """Respond with `events`, and a comment after `keep_alive` seconds without one."""
        super().__init__(
            _Events(events, KEEP_ALIVE if keep_alive is None else keep_alive, encode),
            content_type=EVENT_STREAM,
            **kwargs,
        )
        self.headers.setdefault("Cache-Control", "no-store")
        self.headers.setdefault("X-Accel-Buffering", "no")  # nginx would collect events

    def has_header(self, header: str) -> bool:
        """Tell `GZipMiddleware` that this is encoded already: it would keep events in its buffer."""
        return header.lower() == "content-encoding" or super().has_header(header)

    __contains__ = has_header


class JSONLinesResponse(StreamingHttpResponse):
    """A response of one JSON document a line."""

    def __init__(
        self,
        items: AsyncIterable[T],
        *,
        dump: Callable[[T], bytes] = to_json,
        **kwargs: Any,
    ) -> None:
        """Respond with `items`, each of which `dump` makes JSON."""
        super().__init__(_Lines(items, dump), content_type=JSON_LINES, **kwargs)


class _Lines(Generic[T]):
    """The lines of `items`. Django calls `close()`, in whatever thread, when the response ends."""

    def __init__(self, items: AsyncIterable[T], dump: Callable[[T], bytes]) -> None:
        self._items = aiter(items)
        self._dump = dump
        self._loop: asyncio.AbstractEventLoop | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self._loop = asyncio.get_running_loop()
        return self._dump(await anext(self._items)) + b"\n"

    def close(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(_end(self._items), self._loop)


def stream_file(response: FileResponse, chunk_size: int) -> None:
    """Have a file read on the request's thread, about `chunk_size` bytes at a time, as it is sent.

    Django reads all of it under ASGI before it sends any. Files only: another synchronous iterator
    may hold a transaction or a cursor, and a slow client would hold it, too.
    """
    file = response.file_to_stream  # which the assignment forgets
    blocks = cast("Iterator[bytes]", response.streaming_content)
    response.streaming_content = _chunks(blocks, chunk_size)
    response.file_to_stream = file


async def _chunks(blocks: Iterator[bytes], size: int) -> AsyncIterator[bytes]:
    take = sync_to_async(_take)
    while len(chunk := await take(blocks, size)) >= size:
        yield chunk
    yield chunk


def _take(blocks: Iterator[bytes], size: int) -> bytes:
    """Return the next blocks, together at least `size` bytes unless there are no more."""
    chunk = bytearray()
    for block in blocks:
        chunk += block
        if len(chunk) >= size:
            break
    return bytes(chunk)


class _OpenStreams:
    """The event streams of this process: they have no end of their own that a shutdown could await."""

    def __init__(self) -> None:
        self._streams: weakref.WeakSet[_Events] = weakref.WeakSet()
        self.ending = False
        """Whether the process shuts down; what begins now ends before its first event."""

    def add(self, stream: _Events) -> None:
        self._streams.add(stream)

    @contextmanager
    def ended(self) -> Iterator[None]:
        """End all of them, as if nothing more came, for the length of a block.

        A browser then connects again, and finds another process, or the next one.
        """
        self.ending = True
        for stream in list(self._streams):
            stream.end()
        try:
            yield
        finally:
            self.ending = False


open_streams = _OpenStreams()


class _Events:
    """What is sent of `events`, and comments in between; closed as `_Lines` are.

    The events come from a task of their own, one for all of them: what an async generator opens
    around a ``yield``, a timeout say, must be closed in the task that opened it.
    """

    def __init__(
        self,
        events: AsyncIterable[ServerSentEvent[Any]],
        keep_alive: float,
        encode: Callable[[ServerSentEvent[Any]], bytes],
    ) -> None:
        self._events = aiter(events)
        self._keep_alive = keep_alive
        self._encode = encode
        # One event waits while the one before it is on its way to the client.
        self._queue: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue(1)
        self._task: asyncio.Task[None] | None = None
        self._closed = self._ended = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._task is None:
            if open_streams.ending:
                raise StopAsyncIteration
            open_streams.add(self)
            self._task = asyncio.create_task(self._read())
        try:
            async with asyncio.timeout(self._keep_alive):
                found = await self._queue.get()
        except TimeoutError:
            return _STILL_THERE
        if isinstance(found, bytes):
            return found
        raise found or StopAsyncIteration

    async def _read(self) -> None:
        end: BaseException | None = None
        try:
            async for event in self._events:
                await self._queue.put(self._encode(event))
        except asyncio.CancelledError:
            if self._closed or not self._ended:  # the consumer is gone; no end marker needed
                raise
        except (Exception, NoThreadAvailable) as exc:
            if self._closed:
                raise
            end = exc
        finally:
            await _end(self._events)
        await self._queue.put(end)

    def end(self) -> None:
        """Send nothing more, and say so."""
        self._ended = True
        if self._task is not None:
            self._cancel(self._task)

    def close(self) -> None:
        self._closed = True
        if self._task is None or self._task.done():
            return
        self._task.add_done_callback(_report)
        self._cancel(self._task)

    def _cancel(self, task: asyncio.Task[None]) -> None:
        loop = task.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)


async def _end(items: AsyncIterator[Any]) -> None:
    """End an async generator, if it is one, where it stands."""
    close = getattr(items, "aclose", None)
    if close is not None:
        await close()


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("An event stream failed at its end.", exc_info=error)
