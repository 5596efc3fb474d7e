"""A task of the database while this process runs it, and what is written of it then."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from asyncviews.background.attempts import next_pause
from asyncviews.background.task import TaskRetried
from asyncviews.durable.models import Status, StoredTask
from asyncviews.durable.results import to_result
from asyncviews.durable.store import Outcome
from asyncviews.tasks.compat import TaskError, TaskResultStatus
from asyncviews.tasks.enqueued import EnqueuedTask, Result, error_of, update

if TYPE_CHECKING:
    from asyncviews.durable.worker import DurableWorker

logger = logging.getLogger("asyncviews.durable")

PROBATION = 5.0
"""Seconds after its call at which a function is not expected to end its process any more."""

MAX_MISSES = 10
"""How often it may be tried in vain to call a function before its task has failed."""

LONGEST_MISS = 60.0
"""Seconds, at most, until it is tried again."""


class DurableTask(EnqueuedTask):
    """A task that is leased to a worker of this process.

    Each attempt is one run of it. Before the next one it goes back into the database.
    """

    __slots__ = (
        "_again",
        "_allowed",
        "_called",
        "_misses",
        "_worker",
        "begun",
        "interruptions",
        "needs_thread",
    )

    def __init__(self, stored: StoredTask, worker: DurableWorker) -> None:
        super().__init__(
            to_result(stored),
            worker.options,
            worker.sender,
            worker_id=worker.id,
            origin=stored.origin or None,
        )
        self._worker = worker
        self._allowed = self.policy
        self._again: dict[str, Any] | None = None
        """What is written if it is to run again."""
        self._misses = stored.misses
        self.policy = self.policy.model_copy(update={"attempts": 1})
        self.attempts = stored.attempts
        self.interruptions = stored.interruptions
        self.needs_thread = stored.needs_thread
        self.begun = stored.begun
        """Whether the database has noted that it begins."""
        self._called: float | None = None

    @property
    def has_thread(self) -> bool:
        """Whether it has a thread, or is in the queue for one."""
        return self._lease is not None

    @property
    def is_on_probation(self) -> bool:
        """Whether it may well be what ends the process, should that end now."""
        return self._called is None or time.monotonic() - self._called < PROBATION

    def begin(self, start_clock: Callable[[], None] | None) -> None:
        self._called = time.monotonic()
        super().begin(start_clock)

    async def run(self, attempts: Callable[[], Awaitable[Any]]) -> Any:
        if not self.begun:
            await self._worker.begin(self)
        return await super().run(partial(self._attempt, attempts))

    async def _attempt(self, attempt: Callable[[], Awaitable[Any]]) -> Any:
        """Call the function once; if it fails, and is worth another attempt, say when that is."""
        called = self.attempts
        try:
            return await attempt()
        except Exception as exc:
            if not self.is_final():
                self._again = self._plan(exc) if self.attempts > called else missed(self._misses)
            if self._again is None:
                raise
            self.memo.errors.append(error_of(exc))
            update(self.memo, status=TaskResultStatus.READY)
            raise TaskRetried from exc

    def _plan(self, exc: Exception) -> dict[str, Any] | None:
        """Return what is written when there is another attempt."""
        if (pause := next_pause(self, exc, self._allowed)) is None:
            return None
        return {"retry_at": timezone.now() + timedelta(seconds=pause)}

    def is_final(self) -> bool:
        """Whether somebody wants it to end; else it is its process that ends."""
        return self._cancel_requested and not self.abandoned

    def log_abandoned(self) -> None:
        logger.warning(
            "Background task %s is left to the next process, in %g s at the latest: this one is "
            "shutting down.",
            self.full_text(),
            self._worker.options.lease,
        )

    def on_end(self) -> None:
        self._worker.ended(self._outcome())

    def _outcome(self) -> Outcome:
        if self._again is not None:
            again = {"attempts": self.attempts} | self._again
            return Outcome(self.id, self.worker_id, values(self.memo) | again)
        if self.memo.is_finished or self.is_final():
            super().on_end()
            return Outcome(self.id, self.worker_id, values(self.memo) | {"attempts": self.attempts})
        interrupted = self.begun and not self.abandoned
        return Outcome(self.id, self.worker_id, None, interrupted=interrupted)


def missed(misses: int) -> dict[str, Any] | None:
    """Return what is written of a task that could not be called, None if that was so too often.

    Another process may be able to, older or newer than this one, or this one later.
    """
    if misses + 1 >= MAX_MISSES:
        return None
    due = timezone.now() + timedelta(seconds=min(2.0**misses, LONGEST_MISS))
    return {"status": Status.READY, "misses": misses + 1, "retry_at": due}


def values(result: Result) -> dict[str, Any]:
    """Return what is written of a result."""
    return {
        "status": result.status.value,
        "started_at": result.started_at,
        "last_attempted_at": result.last_attempted_at,
        "finished_at": result.finished_at,
        "return_value": result._return_value,  # noqa: SLF001 - what its property gives when it succeeded
        "errors": [_storable(error) for error in result.errors],
        "worker_ids": result.worker_ids,
    }


def failure(errors: list[dict[str, str]], exc: BaseException) -> dict[str, Any]:
    """Return what is written of a task that has failed outside its function."""
    return {
        "status": Status.FAILED,
        "finished_at": timezone.now(),
        "errors": [*errors, _storable(error_of(exc))],
    }


def _storable(error: TaskError) -> dict[str, str]:
    """Return an error without the characters that JSON in a database may not hold."""
    return {
        name: text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()
        for name, text in asdict(error).items()
    }
