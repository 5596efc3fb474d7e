"""The order in which background tasks start."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Hashable
from typing import Any

from asyncviews.background.task import BackgroundTask, State

Limits = tuple[tuple[Hashable, int], ...]
"""What a task shares with others, each with how many of them run at once."""

_Heap = list[tuple[float, int, BackgroundTask[Any]]]


class Queue:
    """Tasks that wait: for their time to come, for others with the same limit to end, for room.

    Higher priorities are first, and of equal ones the task that was put earlier. It is not
    thread-safe; the runner holds its lock.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._ready: _Heap = []
        self._deferred: _Heap = []
        self._limits: dict[Hashable, _Limit] = {}
        self._cancelled = 0

    def put(self, task: BackgroundTask[Any]) -> None:
        number = next(self._numbers)
        if task.run_after is not None:
            heapq.heappush(self._deferred, (task.run_after, number, task))
        else:
            heapq.heappush(self._ready, (-task.priority, number, task))

    def take(self, now: float) -> BackgroundTask[Any] | None:
        """Return the task that is to start now, and count it to its limits until `release()`."""
        while self._deferred and self._deferred[0][0] <= now:
            _, number, task = heapq.heappop(self._deferred)
            heapq.heappush(self._ready, (-task.priority, number, task))
        while self._ready:
            entry = heapq.heappop(self._ready)
            task = entry[2]
            if task.state is not State.QUEUED:
                self._cancelled -= 1
            elif not task.limits or self._may_run(entry):
                return task
        return None

    def release(self, limits: Limits) -> None:
        """Let another task with the same limits start instead of one that has ended."""
        for key, _ in limits:
            self._limits[key].running -= 1
            self._wake(key)

    def next_due(self) -> float | None:
        """Return when the next deferred task is due, in seconds since the epoch."""
        return self._deferred[0][0] if self._deferred else None

    def discard(self, task: BackgroundTask[Any]) -> None:
        """Hear that a waiting task was cancelled: it is skipped, or leaves with many others."""
        for key, _ in task.limits:
            self._wake(key)  # it may have been the one that was to run next
        self._cancelled += 1
        heaps = [self._ready, self._deferred, *(limit.waiting for limit in self._limits.values())]
        if self._cancelled * 2 > sum(map(len, heaps)):
            for heap in heaps:
                heap[:] = [entry for entry in heap if entry[2].state is State.QUEUED]
                heapq.heapify(heap)
            self._cancelled = 0

    def _may_run(self, entry: tuple[float, int, BackgroundTask[Any]]) -> bool:
        """Whether all its limits have room; otherwise it waits at the first that has none."""
        limits = entry[2].limits
        for key, most in limits:
            limit = self._limits.setdefault(key, _Limit())
            limit.most = most
            if limit.running >= most:
                heapq.heappush(limit.waiting, entry)
                for other, _ in limits:
                    if other != key:
                        self._wake(other)
                return False
        for key, _ in limits:
            self._limits[key].running += 1
        return True

    def _wake(self, key: Hashable) -> None:
        """Have the first that waits at a limit looked at again, if there is room."""
        limit = self._limits.get(key)
        if limit is None:
            return
        while limit.waiting and limit.running < limit.most:
            entry = heapq.heappop(limit.waiting)
            if entry[2].state is State.QUEUED:
                heapq.heappush(self._ready, entry)
                return
            self._cancelled -= 1
        if not limit.running and not limit.waiting:
            del self._limits[key]


class _Limit:
    """How many tasks with a limit run, and which others wait for one of them to end."""

    __slots__ = ("most", "running", "waiting")

    def __init__(self) -> None:
        self.most = 0
        self.running = 0
        self.waiting: _Heap = []
