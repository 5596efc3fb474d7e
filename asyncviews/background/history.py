"""What is remembered of background tasks that have ended."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from typing import Any

from asyncviews.background.task import State, TaskInfo
from asyncviews.conf import get_settings


class History:
    """The last `history_count` ended tasks of `history_age` seconds, and how many there were.

    It is not thread-safe; the runner holds its lock.
    """

    def __init__(self) -> None:
        self.counts: Counter[State] = Counter()
        """How many tasks have ended in which state since the process began."""
        self._entries: OrderedDict[str, tuple[TaskInfo, Any]] = OrderedDict()

    def add(self, info: TaskInfo, memo: Any) -> None:
        self.counts[info.state] += 1
        self._entries[info.id] = (info, memo)
        self._entries.move_to_end(info.id)  # an earlier attempt of it may be there
        self._prune()

    def get(self, task_id: str) -> tuple[TaskInfo, Any] | tuple[None, None]:
        """Return what is known of a task, and its memo."""
        self._prune()
        return self._entries.get(task_id, (None, None))

    def all(self) -> list[TaskInfo]:
        """Return them, the one that ended first at the front."""
        self._prune()
        return [info for info, _ in self._entries.values()]

    def _prune(self) -> None:
        settings = get_settings()
        oldest = time.time() - settings.history_age
        while self._entries:
            first, _ = next(iter(self._entries.values()))
            if len(self._entries) <= settings.history_count and (first.ended or 0) >= oldest:
                return
            self._entries.popitem(last=False)
