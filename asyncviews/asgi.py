"""The application that an ASGI server runs: ``http`` to the handler, ``lifespan`` around it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from typing import NamedTuple, cast

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from asyncviews import health, internals, origin
from asyncviews.background import runner
from asyncviews.checks_settings import require_usable
from asyncviews.conf import get_settings
from asyncviews.diagnosis import watched
from asyncviews.garbage import collected_rarely
from asyncviews.handler import HTTPHandler, InFlight, Receive, Scope, Send, request_threads
from asyncviews.resources import load
from asyncviews.streaming import open_streams
from asyncviews.text import printable

logger = logging.getLogger("asyncviews.lifespan")


class StartupFailed(RuntimeError):
    """A setting cannot be used, a resource not be opened, or a backend of tasks not work."""


class _Open(NamedTuple):
    """The lifespan that is open in this process."""

    loop: asyncio.AbstractEventLoop
    runs_stored_tasks: bool


_open: list[_Open] = []  # one at most


@asynccontextmanager
async def lifespan(
    in_flight: InFlight | None = None, *, run_stored_tasks: bool = False
) -> AsyncIterator[None]:
    """Open the project's resources, and give the running event loop to background tasks.

    With `run_stored_tasks` this process also claims and runs what the site has stored to be run, by
    a `DurableBackend` say. A server's lifespan does; a command or a test has to ask for it.

    At the end event streams end, and requests in flight and background tasks have `drain_timeout`
    seconds together; what then still runs is cancelled and logged, and the resources are closed in
    reverse.

    A process has one lifespan. Within it, another one on the same event loop is a part of it: it
    opens nothing, and its end waits for `in_flight` only.

    Raises:
        StartupFailed: a setting cannot be used, a resource could not be opened, or a backend of
            tasks cannot work, as the message says; what was opened before it is closed again. Or a
            lifespan is open that this one cannot be a part of: on another event loop, or without
            the stored tasks.
    """
    if (outer := _outer()) is None:
        async with _opened(in_flight, run_stored_tasks=run_stored_tasks):
            yield
        return
    if run_stored_tasks and not outer.runs_stored_tasks:
        raise StartupFailed(
            "The lifespan that is open already does not run stored tasks, so one within it cannot; "
            "open that one with lifespan(run_stored_tasks=True)."
        )
    try:
        yield
    finally:
        await _end_requests(in_flight, get_settings().drain_timeout)


def _outer() -> _Open | None:
    """Return the lifespan that is open on the running event loop.

    Raises:
        StartupFailed: one is open on another loop, which goes on.
    """
    _open[:] = [outer for outer in _open if not outer.loop.is_closed()]  # without its lifespan
    if not _open:
        return None
    if _open[0].loop is not asyncio.get_running_loop():
        raise StartupFailed(
            "A lifespan is open in this process already, on another event loop, and its resources "
            "and background tasks belong to that. Use them from there, or run this in a process "
            "of its own."
        )
    return _open[0]


@asynccontextmanager
async def _opened(in_flight: InFlight | None, *, run_stored_tasks: bool) -> AsyncIterator[None]:
    """Be the lifespan of this process."""
    loop = asyncio.get_running_loop()
    this = _Open(loop, run_stored_tasks)
    _open.append(this)
    try:
        with health.lifetime(), runner.attached(loop):
            async with AsyncExitStack() as stack:
                await _start(stack, run_stored_tasks=run_stored_tasks)
                try:
                    yield
                finally:
                    health.retire()
                    with open_streams.ended():
                        await _drain(in_flight)
    finally:
        _open[:] = [other for other in _open if other is not this]


async def _start(stack: AsyncExitStack, *, run_stored_tasks: bool) -> None:
    try:
        require_usable()
        stack.enter_context(_observed(asyncio.get_running_loop()))
    except ImproperlyConfigured as exc:
        raise StartupFailed(str(exc)) from exc
    for path in get_settings().resources:
        try:
            await stack.enter_async_context(load(path).open())
        except ImproperlyConfigured as exc:
            raise StartupFailed(f"The resource {path}: {exc}") from exc
        except Exception as exc:
            failure = f"The resource {path} could not be opened: {exc!r}"
            raise StartupFailed(failure) from exc
    if run_stored_tasks:
        try:
            await stack.enter_async_context(_workers())
        except ImproperlyConfigured as exc:
            raise StartupFailed(str(exc)) from exc
    health.started()


@contextmanager
def _observed(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Observe this process, as far as the settings say so."""
    with ExitStack() as stack:
        stack.enter_context(watched(loop))
        if get_settings().metrics:
            from asyncviews.metrics import sampled

            stack.enter_context(sampled(loop))
        yield


def _workers() -> AbstractAsyncContextManager[None]:
    """Return what runs the tasks of the project's ``TASKS``, if it has any."""
    if not getattr(settings, "TASKS", None):
        return nullcontext()
    from asyncviews.tasks.workers import open_workers

    return open_workers()


async def _drain(in_flight: InFlight | None) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + get_settings().drain_timeout
    await _end_requests(in_flight, deadline - loop.time())
    await runner.drain(max(0.0, deadline - loop.time()))
    request_threads.retire(timeout=0)


async def _end_requests(in_flight: InFlight | None, timeout: float) -> None:
    """Wait up to `timeout` seconds for requests to end; log those that do not."""
    for request in await in_flight.wait(timeout) if in_flight else []:
        method, _, path = printable(request).partition(" ")
        logger.error(
            "The request %s %s is cut off: the process is shutting down.",
            method,
            path,
            extra={"request_method": method, "request_path": path},
        )


class ASGIHandler(HTTPHandler):
    """Answers ``http`` as Django's `ASGIHandler` does, and ``lifespan``; refuses ``websocket``."""

    def __init__(self) -> None:
        super().__init__()
        self._in_flight = InFlight()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] == "websocket":
            await receive()  # websocket.connect
            await send({"type": "websocket.close"})  # which servers answer with 403
            return
        key = self._in_flight.add(scope)
        try:
            with origin.of(scope):
                await super().__call__(scope, receive, send)
        finally:
            self._in_flight.remove(key)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """Speak the lifespan protocol of the ASGI specification, version 2.0."""
        await receive()  # lifespan.startup
        stage = "startup"
        try:
            async with lifespan(self._in_flight, run_stored_tasks=True):
                with collected_rarely():
                    await send({"type": "lifespan.startup.complete"})
                    stage = "shutdown"
                    await receive()  # lifespan.shutdown
        except Exception as exc:
            # A traceback is of no use where the message says what to configure.
            configuration = isinstance(exc.__cause__, ImproperlyConfigured)
            logger.error(  # noqa: TRY400
                "The application's %s failed: %s", stage, exc, exc_info=not configuration
            )
            await send({"type": f"lifespan.{stage}.failed", "message": str(exc)})
        else:
            await send({"type": "lifespan.shutdown.complete"})


def get_asgi_application() -> ASGIHandler:
    """Return the project's ASGI application; in ``asgi.py``, instead of Django's.

    A tool that has wrapped Django's function of this name has its effect on this one.
    """
    django.setup(set_prefix=False)
    handler = ASGIHandler
    if get_settings().metrics:
        from asyncviews.metrics import MeteredHandler

        handler = MeteredHandler
    return cast("ASGIHandler", internals.get_asgi_application(handler))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open.clear)  # the parent's loop does not run in it
