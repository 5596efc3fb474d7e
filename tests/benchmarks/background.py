"""A background task beside a bare ``asyncio.create_task``: time and memory."""

from __future__ import annotations

import asyncio
import statistics
import time
import tracemalloc
from collections.abc import Awaitable, Callable

from tests.benchmarks import contenders

COUNT = 10_000

Add = Callable[[int], Awaitable[list[asyncio.Future[None]]]]


async def nothing() -> None: ...


async def wait() -> None:
    await asyncio.sleep(3600)


async def add_bare(count: int, function: Callable[[], Awaitable[None]] = nothing) -> list:
    return [asyncio.ensure_future(function()) for _ in range(count)]


async def add_ours(count: int, function: Callable[[], Awaitable[None]] = nothing) -> list:
    from asyncviews import add_background_task

    return [add_background_task(function) for _ in range(count)]


WAYS = {"create_task": add_bare, "add_background_task": add_ours}


async def times(rounds: int) -> dict[str, float]:
    """Return the seconds to add one of 10,000 tasks, and until one of them has ended."""
    from asyncviews.asgi import lifespan

    configure()
    added: dict[str, list[float]] = {name: [] for name in WAYS}
    ended: dict[str, list[float]] = {name: [] for name in WAYS}
    async with lifespan():
        for _ in range(rounds):
            for name, add in WAYS.items():
                began = time.perf_counter()
                tasks = await add(COUNT)
                added[name].append(time.perf_counter() - began)
                for task in tasks:
                    await task
                ended[name].append(time.perf_counter() - began)
    found = {f"{name}, to add it": statistics.median(added[name]) / COUNT for name in WAYS}
    return found | {f"{name}, to its end": statistics.median(ended[name]) / COUNT for name in WAYS}


async def memory() -> dict[str, float]:
    """Return the bytes that a task occupies while it waits."""
    from asyncviews.asgi import lifespan

    configure()
    found: dict[str, float] = {}
    async with lifespan():
        for name, add in WAYS.items():
            tracemalloc.start()
            tasks = await add(COUNT, wait)
            await asyncio.sleep(0.1)
            found[name] = tracemalloc.get_traced_memory()[0] / COUNT
            tracemalloc.stop()
            for task in tasks:
                task.cancel()
            await asyncio.sleep(0.1)
    return found


def configure() -> None:
    from django.conf import settings

    contenders.configure()
    settings.ASYNCVIEWS = {"MAX_WAITING": COUNT * 2, "DRAIN_TIMEOUT": 1}
