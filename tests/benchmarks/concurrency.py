"""Whether requests that wait one second wait at the same time, whatever stands before them."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from statistics import median
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.decorators import sync_only_middleware

from tests.benchmarks import contenders, database, grid
from tests.benchmarks.inprocess import request

ALIAS = "concurrency"
NOTHING = "with nothing else"
PATIENCE = 30  # seconds that so many requests of one second may take
SPARE = 20  # connections that are left to others


@dataclass(frozen=True)
class Case:
    """What a request does besides waiting."""

    path: str = "/wait/"
    middleware: str | None = None


CASES = {
    NOTHING: Case(),
    "after one ORM call": Case(path="/read-and-wait/"),
    "behind synchronous middleware": Case(middleware=f"{__name__}.synchronous"),
    "behind WhiteNoise": Case(middleware="whitenoise.middleware.WhiteNoiseMiddleware"),
    "behind django-csp": Case(middleware="csp.middleware.CSPMiddleware"),
}
LOADS = [("asyncviews", 100), ("asyncviews", 1000), ("django", 100)]


@sync_only_middleware
def synchronous(get_response: Any) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        return get_response(request)

    return middleware


async def wait(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(1)
    return HttpResponse("waited")


async def read_and_wait(request: HttpRequest) -> HttpResponse:
    from django.contrib.auth.models import Group

    group = await Group.objects.using(ALIAS).aget(pk=1)
    await asyncio.sleep(1)
    return HttpResponse(group.name)


urlpatterns = [path("wait/", wait), path("read-and-wait/", read_and_wait)]


async def waits(rounds: int) -> dict[str, float]:
    """Return the median seconds until all requests are answered, infinite where some were not."""
    from asgiref.sync import sync_to_async

    from asyncviews.handler import request_threads

    contenders.configure()
    found: dict[str, list[float]] = {}
    with database.postgres() as settings:
        if settings is not None:
            database.add(ALIAS, settings | {"CONN_MAX_AGE": 60})
            await sync_to_async(database.prepare)(ALIAS)
        for _ in range(rounds):
            for handler, count in LOADS:
                for name, case in CASES.items():
                    if case.path == "/wait/" or (settings and has_connections(handler, count)):
                        taken = await seconds(handler, count, case)
                        found.setdefault(f"{name}: {count} {handler}", []).append(taken)
        await sync_to_async(request_threads.retire)(timeout=5)
    return {name: median(values) for name, values in found.items()}


def has_connections(handler: str, count: int) -> bool:
    """Whether the server has enough: on Django's handler every request that waits keeps one."""
    import psycopg

    if handler == "asyncviews":
        return True
    with psycopg.connect(**database.SERVER, dbname="postgres") as connection:
        free = connection.execute(
            "SELECT current_setting('max_connections')::int - count(*) FROM pg_stat_activity"
        ).fetchone()
    return free is not None and free[0] >= count + SPARE


async def seconds(handler: str, count: int, case: Case) -> float:
    with site(case):
        app = contenders.new_handler(handler)
        status, _ = await request(app, case.path)
        assert status == 200, (handler, case, status)
        began = time.perf_counter()
        requests = (request(app, case.path) for _ in range(count))
        try:
            answers = await asyncio.wait_for(asyncio.gather(*requests), PATIENCE)
        except TimeoutError:
            return inf
        taken = time.perf_counter() - began
    return taken if {status for status, _ in answers} == {200} else inf


@contextmanager
def site(case: Case) -> Iterator[None]:
    from django.test import override_settings

    security, *others = contenders.MIDDLEWARE["startproject"]
    added = [case.middleware] if case.middleware else []
    with (
        tempfile.TemporaryDirectory() as folder,
        override_settings(
            ROOT_URLCONF=__name__,
            MIDDLEWARE=[security, *added, *others],  # where WhiteNoise is to stand
            STATIC_URL="/static/",
            STATIC_ROOT=folder,
            CONTENT_SECURITY_POLICY={"DIRECTIVES": {"default-src": ["'self'"]}},
        ),
    ):
        yield


def table(found: dict[str, float]) -> str:
    times: grid.Cells = {}
    ratios: grid.Cells = {}
    for name, taken in found.items():
        case, load = name.split(": ")
        times[case, load] = f"{taken:.2f}" if taken < inf else "failed"
        if case != NOTHING:
            ratios[case, load] = f"{taken / found[f'{NOTHING}: {load}']:.2f}"
    return "\n".join(
        [grid.text("seconds", times), grid.text(f"as a ratio to that {NOTHING}", ratios)]
    )
