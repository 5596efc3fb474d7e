"""How many tasks a worker may still claim, and which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from django.db.models import QuerySet

from asyncviews.durable.models import StoredTask
from asyncviews.durable.store import Rows
from asyncviews.durable.task import DurableTask


class Capacity:
    """The places that are free now: of the runner, its threads, of queues and of functions.

    `functions` has the limit of each function, None for one without. For one that it does not have
    there is no place.
    """

    def __init__(
        self,
        *,
        slots: int,
        threads: int,
        queues: Mapping[str, int],
        functions: Mapping[str, int | None],
        live: Iterable[DurableTask],
    ) -> None:
        self.slots = slots
        self.threads = min(threads, slots)
        self._queues = queues
        self._functions = functions
        self._in_queue: Counter[str] = Counter()
        self._of_function: Counter[str] = Counter()
        self.unknown: set[str] = set()
        """Functions of which something has to be learned first."""
        self.exhausted = False
        """Whether there were less tasks than were asked for, and all of them have their place."""
        for task in live:
            self._count(task.memo.task.module_path, task.memo.task.queue_name)

    @property
    def most(self) -> int:
        """How many tasks to look at: as long as there are threads, all of them may need one."""
        return self.threads or self.slots

    def choose(self, rows: Rows) -> Rows:
        """Return those for which there is a place, which they take."""
        self.unknown = {row.task_path for row in rows} - self._functions.keys()
        enough = len(rows) == self.most
        chosen = [row for row in rows if self._take(row)]
        self.exhausted = not enough and len(chosen) == len(rows)
        return chosen

    def remaining(self, due: QuerySet[StoredTask]) -> QuerySet[StoredTask]:
        """Return those of the tasks that are due for which there is a place."""
        if not self.threads:
            due = due.filter(needs_thread=False)
        if paths := [path for path in self._functions if self._is_function_full(path)]:
            due = due.exclude(task_path__in=paths)
        if queues := [name for name in self._queues if self._is_queue_full(name)]:
            due = due.exclude(queue_name__in=queues)
        return due

    def _take(self, row: StoredTask) -> bool:
        if (
            row.task_path not in self._functions
            or self._is_function_full(row.task_path)
            or self._is_queue_full(row.queue_name)
        ):
            return False
        self.slots -= 1
        self.threads = min(self.threads - row.needs_thread, self.slots)
        self._count(row.task_path, row.queue_name)
        return True

    def _count(self, path: str, queue: str) -> None:
        self._of_function[path] += 1
        self._in_queue[queue] += 1

    def _is_function_full(self, path: str) -> bool:
        most = self._functions.get(path)
        return most is not None and self._of_function[path] >= most

    def _is_queue_full(self, name: str) -> bool:
        return name in self._queues and self._in_queue[name] >= self._queues[name]
