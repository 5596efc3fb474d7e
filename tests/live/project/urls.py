"""Views that answer, wait, block, stream, and start background tasks."""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator

from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from asyncviews import (
    AsyncView,
    BackgroundTaskMixin,
    Body,
    Header,
    Query,
    ServerSentEvent,
    health,
)

from . import resources


class Pid(AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(os.getpid()))

    async def post(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(os.getpid()))


class WhoAmI(AsyncView):
    """What the server says of who asks, and where."""

    async def get(self, request: HttpRequest) -> dict[str, str | None]:
        return {
            "address": request.META.get("REMOTE_ADDR"),
            "url": request.build_absolute_uri("/"),
            "port": request.get_port(),
        }


class Nap(AsyncView):
    async def post(self, request: HttpRequest) -> HttpResponse:
        await asyncio.sleep(float(request.GET["seconds"]))
        return HttpResponse("rested")


class Sleep(AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        resources.note("asleep")
        await asyncio.sleep(float(request.GET["seconds"]))
        return HttpResponse("awake")


class Block(AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        resources.note("blocked")
        time.sleep(float(request.GET["seconds"]))  # noqa: ASYNC251 - deliberately
        return HttpResponse("unblocked")


class Backtrack(AsyncView):
    """Hold the interpreter's lock, so that no thread of this process runs."""

    async def get(self, request: HttpRequest) -> HttpResponse:
        resources.note("blocked")
        re.match("(a+)+$", "a" * 60 + "b")
        return HttpResponse("unblocked")


class Break(AsyncView):
    """Have a part of this process fail for good."""

    async def post(self, request: HttpRequest) -> HttpResponse:
        health.fail("The oven", "its thread is dead.", restart=True)
        return HttpResponse(str(os.getpid()))


class Stream(AsyncView):
    async def get(self, request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(
            self.events(),
            content_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},  # nginx
        )

    async def events(self) -> AsyncIterator[str]:
        while True:
            yield "data: tick\n\n"
            await asyncio.sleep(0.1)


class Events(AsyncView):
    """Events without end, each as long as it is asked for, and a note for each."""

    async def get(
        self,
        request: HttpRequest,
        size: Query[int] = 1,
        pause: Query[float] = 0.0,
        last_event_id: Header[int] = 0,
    ) -> AsyncIterator[ServerSentEvent[str]]:
        number = last_event_id
        try:
            while True:
                number += 1
                resources.note("event")
                yield ServerSentEvent("x" * size, id=str(number))
                await asyncio.sleep(pause)
        finally:
            resources.note("ended")


class Upload(AsyncView):
    async def put(self, request: HttpRequest, body: Body[AsyncIterator[bytes]]) -> int:
        resources.note("called")
        return sum([len(chunk) async for chunk in body])


class Twice(Stream):
    """Two events, and then nothing more: whoever collects a response never passes them on."""

    async def events(self) -> AsyncIterator[str]:
        yield "data: once\n\n"
        await asyncio.sleep(0.2)
        yield "data: twice\n\n"
        await asyncio.Event().wait()


class Start(BackgroundTaskMixin, AsyncView):
    async def get(self, request: HttpRequest, name: str) -> HttpResponse:
        self.add_background_task(globals()[name], float(request.GET["seconds"]))
        return HttpResponse(str(os.getpid()))


async def roast(seconds: float) -> None:
    resources.note("roasting")
    await asyncio.sleep(seconds)
    resources.note("roasted")


async def simmer(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def smoulder(seconds: float) -> None:
    """Go on whoever cancels it."""
    resources.note("hanging")
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            continue


def snore(seconds: float) -> None:
    """Sleep in a thread, where nothing can be cancelled."""
    resources.note("hanging")
    time.sleep(seconds)


def sync_sleep(request: HttpRequest) -> HttpResponse:
    resources.note("blocked")
    time.sleep(float(request.GET["seconds"]))
    return HttpResponse("awake")


urlpatterns = [
    path("", Pid.as_view()),
    path("whoami/", WhoAmI.as_view()),
    path("nap/", Nap.as_view()),
    path("sleep/", Sleep.as_view()),
    path("sync_sleep/", sync_sleep),
    path("block/", Block.as_view()),
    path("backtrack/", Backtrack.as_view()),
    path("break/", Break.as_view()),
    path("ready/", health.readiness),
    path("stream/", Stream.as_view()),
    path("events/", Events.as_view()),
    path("upload/", Upload.as_view()),
    path("twice/", Twice.as_view()),
    path("start/<str:name>/", Start.as_view()),
]

if settings.ASYNCVIEWS["METRICS"]:
    from asyncviews.metrics import Metrics

    urlpatterns.append(path("metrics/", Metrics.as_view()))
