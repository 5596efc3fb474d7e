"""Requests in this process, without a server: what a framework costs."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any

from django.core.handlers.wsgi import WSGIHandler

from tests.benchmarks import bodies, contenders

HEADERS = [(b"host", b"127.0.0.1"), (b"user-agent", b"benchmark"), (b"accept", b"*/*")]
Application = Callable[..., Awaitable[None]] | WSGIHandler


async def request(
    app: Application, path: str, query: bytes = b"", body: bytes = b""
) -> tuple[int, bytes]:
    """Send a request as a server does, in a task of its own; return status and body.

    With a body, of JSON, it is a POST. What WSGI serves is called as it is.
    """
    if isinstance(app, WSGIHandler):
        return call_wsgi(app, path, query)
    sent: list[Any] = []
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()
        asked = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST" if body else "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": [*HEADERS, *_describe(body)] if body else HEADERS,
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
    }
    await asyncio.create_task(app(scope, receive, send))  # type: ignore[arg-type]
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def call_wsgi(app: WSGIHandler, path: str, query: bytes) -> tuple[int, bytes]:
    statuses = []
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query.decode(),
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.input": BytesIO(),
        "wsgi.url_scheme": "http",
        **{
            f"HTTP_{name.decode().upper().replace('-', '_')}": value.decode()
            for name, value in HEADERS
        },
    }
    response = app(environ, lambda status, headers: statuses.append(status))
    body = b"".join(response)
    response.close()
    return int(statuses[0][:3]), body


def _describe(body: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]


async def check(app: Application, path: str) -> None:
    """Fail unless it answers right, and refuses what is wrong."""
    status, body = await request(app, path, contenders.QUERY)
    assert status == 200, (path, status, body)
    assert json.loads(body) == contenders.ANSWER, (path, body)


async def check_invalid(app: Application, path: str) -> None:
    status, _ = await request(app, path, contenders.INVALID_QUERY)
    assert status in {400, 422}, (path, status)


async def seconds(
    app: Application, path: str, query: bytes, times: int, body: bytes = b""
) -> float:
    began = time.perf_counter()
    for _ in range(times):
        await request(app, path, query, body)
    return (time.perf_counter() - began) / times


async def side_by_side(
    apps: dict[str, tuple[Any, str]],
    *,
    rounds: int,
    query: bytes = contenders.QUERY,
    body: bytes = b"",
) -> dict[str, float]:
    """Return the median seconds of a request for each, measured in turns.

    In each round each of them has about 20 ms, the slow as well as the fast.
    """
    times = {}
    for name, (app, path) in apps.items():
        await seconds(app, path, query, 20, body)
        times[name] = max(5, int(0.02 / await seconds(app, path, query, 20, body)))
    found: dict[str, list[float]] = {name: [] for name in apps}
    for _ in range(rounds):
        gc.collect()
        for name, (app, path) in apps.items():
            await asyncio.sleep(0.01)  # threads that the one before has left behind end
            found[name].append(await seconds(app, path, query, times[name], body))
    return {name: median(values) for name, values in found.items()}


async def queries(middleware: str, rounds: int) -> dict[str, float]:
    """Return the seconds of the smoke query for each contender."""
    apps = {name: contenders.make(name, middleware) for name in contenders.names()}
    for name, (app, path) in apps.items():
        await check(app, path)
        if name != "bare":
            await check_invalid(app, path)
    return await side_by_side(apps, rounds=rounds)


async def bodies_of_json(rounds: int) -> dict[str, float]:
    """Return the seconds of a request with 10 kB of nested JSON, answered with 100 kB."""
    apps = {name: contenders.make_for_bodies(name) for name in contenders.names_for_bodies()}
    for name, (app, path) in apps.items():
        status, body = await request(app, path, b"", bodies.BODY)
        assert (status, json.loads(body)) == (200, bodies.ANSWER), (name, status, body[:200])
        status, _ = await request(app, path, b"", bodies.INVALID_BODY)
        assert status in {400, 422}, (name, status)
    return await side_by_side(apps, rounds=rounds, query=b"", body=bodies.BODY)


@contextmanager
def one_processor() -> Iterator[None]:
    """Keep the threads of this process on one processor, as deployed processes share them.

    From one to another, a hop takes twice the time, and more on a busy machine.
    """
    processors = os.sched_getaffinity(0)
    pin(set(sorted(processors)[:1]))
    try:
        yield
    finally:
        pin(processors)


def pin(processors: set[int]) -> None:
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), processors)


async def sync_views(rounds: int) -> dict[str, float]:
    """Return the seconds of a synchronous view, on each handler, WSGI's included."""
    apps: dict[str, tuple[Any, str]] = {
        h: (contenders.django_handler(h, "startproject"), "/sync/")
        for h in ("django, WSGI", "django", "asyncviews")
    }
    for app, path in apps.values():
        await check(app, path)
    with one_processor():
        return await side_by_side(apps, rounds=rounds)


async def waiting(count: int = 1000) -> dict[str, float]:
    """Return the seconds until so many requests at once, which wait one second, are answered."""
    found = {}
    for name in ("bare", "starlette", "function@django", "function@asyncviews"):
        app, _ = contenders.make(name, "startproject")
        await request(app, "/wait/")
        began = time.perf_counter()
        await asyncio.gather(*(request(app, "/wait/") for _ in range(count)))
        found[name] = time.perf_counter() - began
    return found


async def url_patterns(rounds: int) -> dict[str, float]:
    """Return the seconds of a request behind 10, 100, and 1,000 other URL patterns."""
    from django.test import override_settings
    from django.urls import path

    from tests.benchmarks import project

    found = {}
    for count in (10, 100, 1000):
        others = [path(f"other{number}/<int:pk>/", project.function) for number in range(count)]
        urlconf = type("URLConf", (), {"urlpatterns": [*others, *project.urlpatterns]})
        with override_settings(ROOT_URLCONF=urlconf):
            apps = {
                f"{handler}, {count} patterns": (
                    contenders.django_handler(handler, "none"),
                    "/asyncview/",
                )
                for handler in contenders.DJANGO_HANDLERS
            }
            found |= await side_by_side(apps, rounds=rounds)
    return found


def profile(name: str, middleware: str, requests: int = 3000) -> None:
    """Print where the time of a contender's requests goes."""
    import cProfile
    import pstats

    app, path = contenders.make(name, middleware)

    async def run() -> None:
        await seconds(app, path, contenders.QUERY, 100)
        profiler = cProfile.Profile()
        profiler.enable()
        await seconds(app, path, contenders.QUERY, requests)
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(40)

    asyncio.run(run())
