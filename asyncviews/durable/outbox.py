"""What is to be written of tasks, until the database has taken it."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator

from django.db import DatabaseError, DataError

from asyncviews.durable import store
from asyncviews.durable.models import Status
from asyncviews.durable.results import announce
from asyncviews.durable.store import Outcome
from asyncviews.durable.task import failure

logger = logging.getLogger("asyncviews.durable")

BATCH = 200

REFUSALS = 3
"""How often a database that takes other writes may refuse an outcome before it is given up."""


class Outbox:
    """Outcomes in the order in which they came. `add()` is thread-safe.

    `probe` writes something else, and raises what the database raises when it takes nothing at all.
    """

    def __init__(self, *, max_interruptions: int, probe: Callable[[], object]) -> None:
        self._max_interruptions = max_interruptions
        self._probe = probe
        self._waiting: deque[Outcome] = deque()
        self._refusals: Counter[str] = Counter()

    def add(self, outcome: Outcome) -> None:
        self._waiting.append(outcome)

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self._waiting.copy())

    def write(self) -> None:
        """Write all of them; what cannot be written now stays.

        Raises:
            DatabaseError: the database takes nothing.
        """
        while self._waiting:
            batch = [self._waiting[number] for number in range(min(len(self._waiting), BATCH))]
            try:
                self._save(batch)
            except Exception:  # noqa: BLE001 - it is raised again for the one that is to blame
                self._write_each(batch)
                return
            for _ in batch:
                self._waiting.popleft()

    def _write_each(self, batch: list[Outcome]) -> None:
        for outcome in batch:
            self._waiting.remove(outcome)
            try:
                self._save([outcome])
            except Exception as exc:  # noqa: BLE001 - whatever the database or its driver says
                self._waiting.append(outcome)
                self._refused(outcome, exc)

    def _refused(self, outcome: Outcome, exc: Exception) -> None:
        """Give an outcome up when it is refused for its own sake, and not for the moment's."""
        self._probe()
        self._refusals[outcome.task_id] += 1
        lasting = isinstance(exc, DataError) or not isinstance(exc, DatabaseError)
        if not lasting and self._refusals[outcome.task_id] < REFUSALS:
            return
        self._waiting.remove(outcome)
        del self._refusals[outcome.task_id]
        if outcome.refused:
            logger.error("Nothing can be written of task %s; it will run again.", outcome.task_id)
            return
        logger.error("What task %s returned cannot be stored.", outcome.task_id, exc_info=exc)
        failed = failure([], exc)
        self._waiting.append(outcome._replace(values=failed, unannounced=True, refused=True))

    def _save(self, outcomes: list[Outcome]) -> None:
        lost = store.save(outcomes, max_interruptions=self._max_interruptions)
        for outcome in lost:
            _log_lost(outcome)
        announce({outcome.task_id for outcome in outcomes if outcome.unannounced} - ids(lost))


def ids(outcomes: list[Outcome]) -> set[str]:
    return {outcome.task_id for outcome in outcomes}


def _log_lost(outcome: Outcome) -> None:
    stored = store.tasks().filter(id=outcome.task_id).only("status").first()
    if stored is None:
        fate = "it has been deleted"
    elif stored.status in {Status.READY, Status.RUNNING}:
        fate = "another process runs it again"
    else:
        fate = f"it is {stored.get_status_display()} already".lower()
    logger.error("Task %s had lost its lease when it ended here; %s.", outcome.task_id, fate)
