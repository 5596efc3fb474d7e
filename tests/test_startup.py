"""An application whose startup is tried again by requests."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator

from asyncviews.server import Receive, Scope, Send
from asyncviews.startup import RetriedStartup
from tests.conftest import http_scope, until


def light_the_oven() -> None:
    raise LookupError("no oven")


class Site:
    """An application that starts once its oven is there; it notes what happens to it."""

    def __init__(self) -> None:
        self.has_oven = False
        self.events: list[str] = []
        self.may_start = asyncio.Event()
        self.may_start.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.live(receive, send)
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"hello"})

    async def live(self, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        self.events.append("startup")
        await self.may_start.wait()
        if not self.has_oven:
            await self.fail(send)
            return
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        self.events.append("shutdown")
        await send({"type": "lifespan.shutdown.complete"})

    async def fail(self, send: Send) -> None:
        try:
            light_the_oven()
        except LookupError as exc:
            await send({"type": "lifespan.startup.failed", "message": str(exc)})
            raise  # as Starlette does


class Served:
    """An application within a lifespan, as a server keeps it."""

    def __init__(self, site: Any) -> None:
        self.failures: list[BaseException] = []
        self.application = RetriedStartup(site, self.failures.append)

    async def __aenter__(self) -> Served:
        self._lifespan = ApplicationCommunicator(self.application, {"type": "lifespan"})
        await self._lifespan.send_input({"type": "lifespan.startup"})
        started = await self._lifespan.receive_output()
        assert started == {"type": "lifespan.startup.complete"}
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._lifespan.send_input({"type": "lifespan.shutdown"})
        ended = await self._lifespan.receive_output()
        assert ended == {"type": "lifespan.shutdown.complete"}
        await self._lifespan.wait()

    async def get(self, accept: bytes = b"*/*") -> tuple[int, str, bytes]:
        """Send a request; return the status, the media type and the body."""
        scope = http_scope("/") | {"headers": [(b"accept", accept)]}
        request = ApplicationCommunicator(self.application, scope)
        start, body = await request.receive_output(5), await request.receive_output(5)
        return (
            start["status"],
            dict(start["headers"]).get(b"content-type", b"").decode(),
            body["body"],
        )


async def test_a_request_starts_it_when_it_can():
    site = Site()
    async with Served(site) as served:
        assert (await served.get())[0] == 503
        site.has_oven = True
        assert await served.get() == (200, "", b"hello")
        assert await served.get() == (200, "", b"hello")
    assert site.events == ["startup"] * 3 + ["shutdown"]
    assert [str(failure) for failure in served.failures] == ["no oven"] * 2


async def test_requests_that_come_together_share_an_attempt():
    site = Site()
    async with Served(site) as served:
        site.may_start.clear()
        asked = [asyncio.create_task(served.get()) for _ in range(3)]
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.01, site.may_start.set)
        assert [status for status, *_ in await asyncio.gather(*asked)] == [503] * 3
    assert site.events == ["startup"] * 2


async def test_the_traceback_is_shown_as_the_client_likes_it(settings):
    settings.DEBUG = True
    async with Served(Site()) as served:
        status, kind, page = await served.get(b"text/html,*/*;q=0.8")
        assert (status, kind) == (503, "text/html; charset=utf-8")
        assert b"<title>LookupError" in page
        assert b"no oven" in page
        status, kind, text = await served.get()
        assert (status, kind) == (503, "text/plain; charset=utf-8")
        assert text.startswith(b"LookupError")
        assert b'raise LookupError("no oven")' in text


async def test_without_debug_nothing_is_told(settings):
    settings.DEBUG = False
    async with Served(Site()) as served:
        answer = await served.get(b"text/html")
    assert answer == (503, "text/plain; charset=utf-8", b"The application has not started.")


async def test_a_reason_without_an_exception_is_shown(settings):
    class Terse(Site):
        async def fail(self, send: Send) -> None:
            await send({"type": "lifespan.startup.failed", "message": "no coal"})

    settings.DEBUG = True
    async with Served(Terse()) as served:
        assert b"no coal" in (await served.get(b"text/html"))[2]
        assert b"no coal" in (await served.get())[2]


async def test_a_websocket_is_refused():
    async with Served(Site()) as served:
        socket = ApplicationCommunicator(served.application, {"type": "websocket"})
        await socket.send_input({"type": "websocket.connect"})
        assert await socket.receive_output() == {"type": "websocket.close"}


async def test_a_shutdown_does_not_wait_for_an_attempt():
    site = Site()
    async with Served(site) as served:
        site.may_start.clear()
        asked = asyncio.create_task(served.get())
        await until(lambda: site.events == ["startup"] * 2)
    asked.cancel()
    assert site.events == ["startup"] * 2


async def test_an_application_without_lifespan_stays_one():
    async def bare(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise ValueError("http only")
        await Site()(scope, receive, send)

    served = Served(bare)
    lifespan = ApplicationCommunicator(served.application, {"type": "lifespan"})
    await lifespan.send_input({"type": "lifespan.startup"})
    with pytest.raises(ValueError, match="http only"):
        await lifespan.wait()
    assert await served.get() == (200, "", b"hello")
    assert served.failures == []
