"""A startup that is tried again: an application that is served although it has not started.

During development what keeps an application from starting is often mended by a command such as
``migrate``, of which an autoreloader hears nothing. The next request tries whether it was.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextvars import copy_context

from django.conf import settings
from django.views.debug import ExceptionReporter

from asyncviews.server import Application, Message, Receive, Scope, Send


class RetriedStartup:
    """An application that starts again with a request, until a start succeeds.

    A request whose start fails is answered with 503 and, while ``DEBUG`` is on, with the traceback.
    `on_failure` is called with each exception that has kept the application from starting.
    """

    def __init__(
        self, application: Application, on_failure: Callable[[BaseException], None]
    ) -> None:
        self._application = application
        self._on_failure = on_failure
        self._stopping = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif (failure := await self._ensure_started()) is None:
            await self._application(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()  # websocket.connect
            await send({"type": "websocket.close"})  # which servers answer with 403
        else:
            await _answer(failure, scope, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._send, self._context = scope, send, copy_context()
        await receive()  # lifespan.startup
        await self._begin().settled.wait()
        if not self._attempt.supported:
            await self._attempt.task  # raises what tells the server so
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        self._stopping.set()
        if self._attempt.settled.is_set() and self._attempt.failure is None:
            await self._attempt.task
        else:
            self._attempt.task.cancel()
            await send({"type": "lifespan.shutdown.complete"})

    def _begin(self) -> _Attempt:
        self._attempt = attempt = _Attempt(self._stopping, self._send, self._on_failure)
        attempt.task = asyncio.get_running_loop().create_task(
            attempt.live(self._application, self._scope), context=self._context
        )
        return attempt

    async def _ensure_started(self) -> BaseException | None:
        """Start the application unless it runs; return what has kept it from that.

        Requests that come meanwhile wait for the same attempt.
        """
        attempt = self._attempt
        if attempt.failure is not None:
            attempt = self._begin()
        await attempt.settled.wait()
        return attempt.failure


class _Attempt:
    """A lifespan of an application, which ends early when its startup fails."""

    task: asyncio.Task[None]

    def __init__(
        self, stopping: asyncio.Event, send: Send, on_failure: Callable[[BaseException], None]
    ) -> None:
        self.failure: BaseException | None = None
        self.supported = False
        self.settled = asyncio.Event()
        self._stopping, self._send, self._on_failure = stopping, send, on_failure
        self._received = False

    async def live(self, application: Application, scope: Scope) -> None:
        try:
            await application(scope, self._receive, self._take)
        except Exception:
            if self.failure is None:
                raise
        finally:
            self.settled.set()

    async def _receive(self) -> Message:
        if not self._received:
            self._received = True
            return {"type": "lifespan.startup"}
        await self._stopping.wait()
        return {"type": "lifespan.shutdown"}

    async def _take(self, message: Message) -> None:
        self.supported = True
        if message["type"] == "lifespan.startup.failed":
            # Applications send this while they handle the exception.
            self.failure = sys.exception() or RuntimeError(message.get("message", ""))
            self._on_failure(self.failure)
        elif message["type"] != "lifespan.startup.complete":
            await self._send(message)
        self.settled.set()


async def _answer(failure: BaseException, scope: Scope, send: Send) -> None:
    """Answer a request with a failure, as Django does: with a page for a browser."""
    accept = dict(scope["headers"]).get(b"accept", b"")
    kind = "html" if b"text/html" in accept else "plain"
    if not settings.DEBUG:
        kind, text = "plain", "The application has not started."
    else:
        reporter = ExceptionReporter(None, type(failure), failure, failure.__traceback__)
        text = reporter.get_traceback_html() if kind == "html" else reporter.get_traceback_text()
    body = text.encode()
    headers = [
        (b"content-type", f"text/{kind}; charset=utf-8".encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
