"""Event streams and JSON lines: what is sent, when, and how they end."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
from collections.abc import AsyncIterator
from enum import Enum
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.http import HttpRequest, HttpResponse
from django.middleware.gzip import GZipMiddleware
from django.test import AsyncClient, AsyncRequestFactory, RequestFactory
from django.urls import path
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from asyncviews import AsyncView, Header, Problem, Query, ServerSentEvent
from asyncviews.asgi import ASGIHandler, lifespan
from asyncviews.responses import UnexpectedResult
from asyncviews.streaming import EventStreamResponse, JSONLinesResponse, open_streams
from tests.conftest import http_scope, until

begun: list[int] = []
ended: list[str] = []


@pytest.fixture(autouse=True)
def _forget():
    begun.clear()
    ended.clear()


class Meat(BaseModel):
    name: str
    done: float = Field(0, alias="howFar")


class Doneness(str, Enum):  # noqa: UP042 - whose str() is "Doneness.RARE"
    RARE = "rare"


class Ticks(AsyncView):
    """Events without end."""

    async def get(
        self, request: HttpRequest, last_event_id: Header[int] = 0, pause: Query[float] = 0.0
    ) -> AsyncIterator[ServerSentEvent[Meat]]:
        number = last_event_id
        try:
            async with asyncio.timeout(60):  # what spans a yield belongs to one task
                while True:
                    number += 1
                    begun.append(number)
                    yield ServerSentEvent(Meat(name=f"m{number}"), id=str(number))
                    await asyncio.sleep(pause)
        finally:
            await asyncio.sleep(0)  # cleaning up may take its time
            ended.append("ticks")


class Three(AsyncView):
    async def get(self, request: HttpRequest) -> AsyncIterator[Meat]:
        """Yield three lines."""
        try:
            for name in ("ribs", "brisket", "salmon"):
                yield Meat(name=name)
        finally:
            ended.append("three")


class Chosen(AsyncView):
    """Decides before the stream begins."""

    async def get(
        self, request: HttpRequest, name: Query[str]
    ) -> AsyncIterator[ServerSentEvent[str]] | HttpResponse:
        if name == "none":
            raise Problem("There is none.")
        if name == "all":
            return HttpResponse("all")
        self.headers["X-Name"] = name
        return self.events(name)

    async def events(self, name: str) -> AsyncIterator[ServerSentEvent[str]]:
        yield ServerSentEvent(f"{name}\r\nsmoked", event="done", retry=100, comment="a\nb")


class Wrong(AsyncView):
    async def get(
        self, request: HttpRequest, what: Query[str]
    ) -> AsyncIterator[ServerSentEvent[int]]:
        yield ServerSentEvent(1)
        if what == "raises":
            raise ZeroDivisionError
        wrong: dict[str, Any] = {"type": ServerSentEvent({"no": "int"}), "item": {"no": "event"}}
        yield wrong[what]


urlpatterns = [
    path("ticks/", Ticks.as_view()),
    path("three/", Three.as_view()),
    path("chosen/", Chosen.as_view()),
    path("wrong/", Wrong.as_view()),
]
pytestmark = pytest.mark.urls(__name__)


async def content(response: Any) -> bytes:
    return b"".join([chunk async for chunk in response.streaming_content])


# Events


@pytest.mark.parametrize(
    ("event", "sent"),
    [
        (ServerSentEvent("smoked"), b"data: smoked\n\n"),
        (ServerSentEvent(""), b"data: \n\n"),
        (ServerSentEvent("a\nb\r\nc\rd\n"), b"data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"),
        (ServerSentEvent("\u2028 é"), "data: \u2028 é\n\n".encode()),
        (ServerSentEvent({"a": [1, None]}), b'data: {"a":[1,null]}\n\n'),
        (ServerSentEvent(0), b"data: 0\n\n"),
        (ServerSentEvent(Meat(name="ribs")), b'data: {"name":"ribs","howFar":0.0}\n\n'),
        (ServerSentEvent(id="", event="x", retry=0), b"event: x\nid: \nretry: 0\n\n"),
        (ServerSentEvent(comment="a\nid: 5"), b": a\n: id: 5\n\n"),
        (ServerSentEvent(Doneness.RARE, event=Doneness.RARE), b"event: rare\ndata: rare\n\n"),
    ],
)
def test_an_event_is_written_as_the_standard_says(event, sent):
    assert event.encode() == sent


@pytest.mark.parametrize("fields", [{"id": "1\n2"}, {"event": "a\r"}, {"id": "\0"}, {"retry": -1}])
def test_a_field_that_would_forge_others_is_refused(fields):
    with pytest.raises(ValueError, match="of an event is"):
        ServerSentEvent("x", **fields)


@pytest.mark.parametrize(
    ("type_", "data", "sent"),
    [
        (int, "5", b"data: 5\n\n"),
        (str, "5", b"data: 5\n\n"),
        (Any, "five", b"data: five\n\n"),
        (str | int, "five", b"data: five\n\n"),
        (Doneness, "rare", b"data: rare\n\n"),
        (dt.date, "2026-11-24", b'data: "2026-11-24"\n\n'),
        (int, None, b"\n"),
    ],
)
async def test_the_data_of_an_event_is_of_the_declared_type(type_, data, sent):
    assert await answer_with(type_, data) == sent


@pytest.mark.parametrize(("type_", "data"), [(int, "five"), (Meat, '{"name": "ribs"}'), (str, 5)])
async def test_an_event_with_other_data_is_an_error_of_the_server(type_, data):
    with pytest.raises(UnexpectedResult, match=r"get\(\) returned a \w+ that is not what it decl"):
        await answer_with(type_, data)


async def answer_with(type_: Any, data: Any) -> bytes:
    async def get(self, request):
        yield ServerSentEvent(data)

    get.__annotations__["return"] = AsyncIterator[ServerSentEvent[type_]]
    view = type("Typed", (AsyncView,), {"get": get})
    return await content(await view.as_view()(AsyncRequestFactory().get("/")))


def read(stream: str) -> list[str]:
    """Return the data of the events of a stream, as a browser reads it."""
    events, data = [], None
    for line in stream.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if not line:
            if data is not None:
                events.append(data)
            data = None
        elif line.startswith("data: "):
            data = line[6:] if data is None else f"{data}\n{line[6:]}"
    return events


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_arrives(text):
    sent = ServerSentEvent(text).encode().decode()
    assert read(sent) == [text.replace("\r\n", "\n").replace("\r", "\n")]


# Event streams


async def test_an_async_generator_of_events_is_an_event_stream():
    response = await AsyncClient().get("/ticks/", headers={"last-event-id": "5"})
    assert response["Content-Type"] == "text/event-stream"
    assert response["Cache-Control"] == "no-store"
    assert response["X-Accel-Buffering"] == "no"
    events = response.streaming_content
    assert await anext(events) == b'id: 6\ndata: {"name":"m6","howFar":0.0}\n\n'
    assert await anext(events) == b'id: 7\ndata: {"name":"m7","howFar":0.0}\n\n'
    response.close()
    await until(lambda: ended)


async def test_a_wrong_request_is_a_problem_before_the_stream_begins():
    response = await AsyncClient().get("/ticks/?pause=x", headers={"last-event-id": "x"})
    assert response.status_code == 422
    assert [error["name"] for error in response.json()["errors"]] == ["last-event-id", "pause"]
    assert (begun, ended) == ([], [])


async def test_a_coroutine_may_refuse_or_answer_otherwise():
    assert (await AsyncClient().get("/chosen/?name=none")).json()["detail"] == "There is none."
    assert (await AsyncClient().get("/chosen/?name=all")).content == b"all"
    response = await AsyncClient().get("/chosen/?name=ribs")
    assert response["X-Name"] == "ribs"
    assert await content(response) == (
        b": a\n: b\nevent: done\nretry: 100\ndata: ribs\ndata: smoked\n\n"
    )


async def test_comments_keep_an_idle_stream_alive():
    gate = asyncio.Event()

    async def events() -> AsyncIterator[ServerSentEvent[str]]:
        await gate.wait()
        yield ServerSentEvent("at last")

    stream = aiter(EventStreamResponse(events(), keep_alive=0.01))
    assert [await anext(stream) for _ in range(2)] == [b": keep-alive\n\n"] * 2
    gate.set()
    while (sent := await anext(stream)) == b": keep-alive\n\n":
        pass
    assert sent == b"data: at last\n\n"
    assert [rest async for rest in stream] == []


async def test_a_slow_client_holds_the_events_back():
    response = await AsyncClient().get("/ticks/")
    await anext(response.streaming_content)
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(begun) <= 4
    response.close()
    await until(lambda: ended)


@pytest.mark.parametrize("path_", ["/ticks/", "/three/"])
async def test_head_does_not_begin_the_stream(path_, get):
    begins, *rest = await get(path_, method="HEAD")
    expected = b"text/event-stream" if path_ == "/ticks/" else b"application/jsonl"
    assert dict(begins["headers"])[b"Content-Type"] == expected
    assert b"".join(message.get("body", b"") for message in rest) == b""
    assert (begun, ended) == ([], [])


async def test_an_iterator_need_not_be_a_generator():
    class Once:
        left = 1

        def __aiter__(self):
            return self

        async def __anext__(self):
            self.left -= 1
            if self.left < 0:
                raise StopAsyncIteration
            return ServerSentEvent("x")

    response = EventStreamResponse(Once())
    assert [part async for part in response] == [b"data: x\n\n"]
    response.close()


async def test_a_shutdown_ends_what_has_no_end_of_its_own():
    closed = asyncio.Event()

    async def events() -> AsyncIterator[ServerSentEvent[str]]:
        try:
            yield ServerSentEvent("first")
            await asyncio.Event().wait()
        finally:
            closed.set()

    response = EventStreamResponse(events())
    async with lifespan():
        stream = aiter(response)
        assert await anext(stream) == b"data: first\n\n"
    assert [rest async for rest in stream] == []
    assert closed.is_set()
    response.close()


async def test_a_stream_that_begins_while_the_process_shuts_down_ends_at_once():
    async def events() -> AsyncIterator[ServerSentEvent[str]]:
        yield ServerSentEvent("first")

    with open_streams.ended():
        assert [event async for event in EventStreamResponse(events())] == []
    assert [event async for event in EventStreamResponse(events())] == [b"data: first\n\n"]


@pytest.mark.parametrize("what", ["type", "item", "raises"])
async def test_what_goes_wrong_in_a_stream_ends_it(what):
    response = await AsyncClient().get(f"/wrong/?what={what}")
    events = response.streaming_content
    assert await anext(events) == b"data: 1\n\n"
    expected = ZeroDivisionError if what == "raises" else TypeError
    match = None if what == "raises" else r"Wrong\.get\(\) returned a dict that is not what it decl"
    with pytest.raises(expected, match=match):
        await anext(events)


async def test_gzip_leaves_events_alone():
    response = GZipMiddleware(lambda request: EventStreamResponse(iter_of("x")))(
        RequestFactory().get("/", headers={"accept-encoding": "gzip"})
    )
    assert await content(response) == b"data: x\n\n"
    assert "Content-Encoding" not in response.headers


async def iter_of(*texts: str) -> AsyncIterator[ServerSentEvent[str]]:
    for text in texts:
        yield ServerSentEvent(text)


# When the client leaves


async def begin(path_: str, query: str = "") -> ApplicationCommunicator:
    """Send a request; return when the response has begun."""
    communicator = ApplicationCommunicator(ASGIHandler(), http_scope(path_, query=query))
    await communicator.send_input({"type": "http.request", "body": b""})
    await communicator.receive_output(5)
    await communicator.receive_output(5)
    return communicator


@pytest.mark.parametrize("pause", ["0", "60"])
async def test_a_client_that_leaves_ends_the_generator_where_it_is(pause):
    communicator = await begin("/ticks/", f"pause={pause}")
    await communicator.send_input({"type": "http.disconnect"})
    await until(lambda: ended)
    await communicator.wait(5)


async def test_a_client_that_leaves_ends_json_lines():
    gate = asyncio.Event()

    async def items() -> AsyncIterator[int]:
        try:
            yield 1
            await gate.wait()
        finally:
            ended.append("items")

    response = JSONLinesResponse(items())
    assert await anext(aiter(response)) == b"1\n"
    response.close()
    await until(lambda: ended)


async def test_a_generator_that_fails_at_its_end_is_logged(caplog):
    async def events() -> AsyncIterator[ServerSentEvent[str]]:
        try:
            yield ServerSentEvent("x")
            await asyncio.sleep(60)
        finally:
            raise ZeroDivisionError

    response = EventStreamResponse(events())
    await anext(aiter(response))
    response.close()
    await until(lambda: "An event stream failed at its end." in caplog.text)


async def test_a_stream_that_was_never_begun_needs_no_end():
    EventStreamResponse(iter_of("x")).close()
    JSONLinesResponse(iter_of("x")).close()


# JSON lines


async def test_an_async_generator_of_models_is_json_lines():
    response = await AsyncClient().get("/three/")
    assert response["Content-Type"] == "application/jsonl"
    lines = (await content(response)).splitlines(keepends=True)
    assert lines[0] == b'{"name":"ribs","howFar":0.0}\n'
    assert len(lines) == 3
    assert ended == ["three"]


async def test_json_lines_can_be_compressed():
    request = AsyncRequestFactory().get("/", headers={"accept-encoding": "gzip"})
    response = await Three.as_view()(request)
    compressed = GZipMiddleware(lambda _: response)(request)
    assert gzip.decompress(await content(compressed)).count(b"\n") == 3
