"""What `sync_to_async` takes in a request, beside what it takes without one."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.benchmarks import contenders
from tests.benchmarks.inprocess import one_processor, request

COUNTS = (0, 1, 11)
TIMES = 100
hop = sync_to_async(int)


async def hops(request: HttpRequest, count: int) -> HttpResponse:
    for _ in range(count):
        await hop()
    return HttpResponse("hopped")


urlpatterns = [path("hops/<int:count>/", hops)]


async def bare(count: int) -> None:
    async def run() -> None:
        for _ in range(count):
            await hop()

    await asyncio.create_task(run())


async def times(rounds: int) -> dict[str, float]:
    """Return the seconds of the first `sync_to_async` of a request, and of each further one.

    What a request adds to the hop itself, such as giving the thread back, is part of it.
    """
    from django.test import override_settings

    contenders.configure()
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[]), one_processor():
        ways: dict[str, Callable[[int], Awaitable[Any]]] = {
            "bare": bare,
            "asyncviews": requests(contenders.new_handler("asyncviews")),
        }
        found: dict[tuple[str, int], list[float]] = {}
        for _ in range(rounds):
            gc.collect()
            for name, way in ways.items():
                for count in COUNTS:
                    found.setdefault((name, count), []).append(await one(way, count))
    taken = {key: median(values) for key, values in found.items()}
    first = {f"{name}, the first": taken[name, 1] - taken[name, 0] for name in ways}
    further = {f"{name}, each further": (taken[name, 11] - taken[name, 1]) / 10 for name in ways}
    return first | further


def requests(app: Any) -> Callable[[int], Awaitable[Any]]:
    async def send(count: int) -> None:
        status, _ = await request(app, f"/hops/{count}/")
        assert status == 200, status

    return send


async def one(way: Callable[[int], Awaitable[Any]], count: int) -> float:
    """Return the median seconds of one; a mean would be of what else the machine did."""
    taken = []
    for _ in range(TIMES):
        began = time.perf_counter()
        await way(count)
        taken.append(time.perf_counter() - began)
    return median(taken)
