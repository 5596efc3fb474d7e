"""What the watchdog takes of a processor, whether there are requests or not."""

from __future__ import annotations

import asyncio
import time
from contextlib import nullcontext
from statistics import median
from typing import Any

from asyncviews.diagnosis import Watchdog
from tests.benchmarks import contenders, inprocess

THRESHOLDS = (0.0, 0.1, 0.5, 1.0)
"""Seconds; 0 is without a watchdog."""


def watching(threshold: float) -> Any:
    return _Watching(threshold) if threshold else nullcontext()


class _Watching:
    def __init__(self, threshold: float) -> None:
        self._watchdog = Watchdog(asyncio.get_running_loop(), threshold)

    def __enter__(self) -> None:
        self._watchdog.start()

    def __exit__(self, *exc_info: object) -> None:
        self._watchdog.stop()


async def idle(seconds: float) -> dict[str, float]:
    """Return the percentage of a processor that an idle event loop takes."""
    found = {}
    for threshold in THRESHOLDS:
        with watching(threshold):
            began = time.process_time()
            await asyncio.sleep(seconds)
            found[name(threshold)] = (time.process_time() - began) / seconds * 100
    return found


async def requests(rounds: int) -> dict[str, float]:
    """Return the seconds of the smoke query, with startproject's middleware."""
    app, path = contenders.make("asyncview@asyncviews", "startproject")
    await inprocess.check(app, path)
    times: dict[float, list[float]] = {threshold: [] for threshold in THRESHOLDS}
    for _ in range(rounds):
        for threshold, measured in times.items():
            with watching(threshold):
                measured.append(await inprocess.seconds(app, path, contenders.QUERY, 1000))
    return {name(threshold): median(measured) for threshold, measured in times.items()}


def name(threshold: float) -> str:
    return f"threshold {threshold:g} s" if threshold else "no watchdog"
