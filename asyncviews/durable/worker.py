"""The thread of a process that fetches durable tasks for its runner, and writes how they ended."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter, deque
from dataclasses import asdict
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DataError, connections
from django.db import Error as DatabaseError
from django.utils import timezone

from asyncviews.background import BackgroundQueueFull, State, runner
from asyncviews.conf import get_settings
from asyncviews.durable import store
from asyncviews.durable.models import Status, StoredTask
from asyncviews.durable.options import DurableOptions
from asyncviews.durable.results import to_result
from asyncviews.durable.store import Outcome
from asyncviews.tasks.compat import TaskError
from asyncviews.tasks.enqueued import EnqueuedTask, Result, error_of, new_worker_id

logger = logging.getLogger("asyncviews.durable")

PRUNE_INTERVAL = 60.0
"""Seconds between two searches for results that are too old."""

RETRY_INTERVAL = 1.0
"""Seconds until a database that could not be reached is tried again."""

CLOSE_TIMEOUT = 5.0
"""Seconds that the database has, at the end, to take what is still to be written."""

_workers: dict[str, DurableWorker] = {}


def wake(alias: str) -> None:
    """Have this process look for tasks now, if it runs those of a backend."""
    if (worker := _workers.get(alias)) is not None:
        worker.wake()


class DurableTask(EnqueuedTask):
    """A task of the database while this process runs it."""

    __slots__ = ("_worker",)

    def __init__(self, result: Result, worker: DurableWorker) -> None:
        super().__init__(result, worker.options, worker.sender, worker_id=worker.id)
        self._worker = worker

    def is_final(self) -> bool:
        """Whether somebody wants it to end; else it is its process that ends."""
        return self._cancel_requested and not self.abandoned

    def log_abandoned(self) -> None:
        logger.warning(
            "Background task %s is left to the next process: this one is shutting down.",
            self.full_text(),
        )

    def on_end(self) -> None:
        if self.memo.is_finished or self.is_final():
            super().on_end()
            outcome = Outcome(self.id, self.worker_id, values(self.memo))
        else:
            outcome = Outcome(self.id, self.worker_id, None, interrupted=not self.abandoned)
        self._worker.ended(outcome)


class DurableWorker:
    """Runs the tasks of one `DurableBackend` in this process, as many as its runner has room for."""

    def __init__(
        self, alias: str, queues: set[str], options: DurableOptions, *, sender: type
    ) -> None:
        self.alias = alias
        self.options = options
        self.sender = sender
        """Of the signals: the backend's class."""
        self.id = new_worker_id()
        self._queues = queues
        self._live: dict[str, DurableTask] = {}
        self._outcomes: deque[Outcome] = deque()
        self._seen: dict[str, tuple[int, float]] = {}
        self._next_beat = self._next_prune = 0.0
        self._claiming = True
        self._closing = False
        self._reachable = self._sure = True
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"asyncviews-durable-{alias}")
        self._thread.daemon = True

    def start(self) -> None:
        """Register, and begin to run tasks.

        Raises:
            ImproperlyConfigured: the database cannot be used.
        """
        try:
            store.register(self.id, self.alias)
        except DatabaseError as exc:
            reason = str(exc).partition("\n")[0]
            raise ImproperlyConfigured(
                f'TASKS["{self.alias}"]: the database "{store.database()}" cannot hold durable '
                f"tasks ({reason}). Is it there, and migrated?"
            ) from exc
        finally:
            connections[store.database()].close()
        _workers[self.alias] = self
        self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    def stop_claiming(self) -> None:
        """Take no more tasks; what runs keeps its lease until it ends."""
        self._claiming = False

    def close(self) -> None:
        """Write what is to be written, give back what has not ended, and leave."""
        _workers.pop(self.alias, None)
        self._claiming, self._closing = False, True
        self.wake()
        self._thread.join(CLOSE_TIMEOUT + RETRY_INTERVAL)

    def ended(self, outcome: Outcome) -> None:
        """Take how a task ended, in any thread."""
        self._outcomes.append(outcome)  # first: a task is in one of the two until it is written
        self._live.pop(outcome.task_id, None)
        self.wake()

    # In the thread

    def _run(self) -> None:
        while not self._closing:
            self._try(self._step)
            self._wake.wait(self.options.poll_interval if self._reachable else RETRY_INTERVAL)
            self._wake.clear()
        deadline = time.monotonic() + CLOSE_TIMEOUT
        while not self._try(self._leave) and time.monotonic() < deadline:
            time.sleep(RETRY_INTERVAL / 4)
        for outcome in self._outcomes:
            logger.error(
                "How task %s ended could not be written; it will run again.", outcome.task_id
            )
        connections.close_all()

    def _try(self, step: Any) -> bool:
        """Do something with the database; return whether it was there."""
        try:
            step()
        except DatabaseError as exc:
            if self._reachable:
                logger.error("The database of the tasks cannot be used: %s", exc)  # noqa: TRY400 - it comes back
            self._reachable, self._sure = False, False
            connections.close_all()
            return False
        except Exception:
            logger.exception("The worker of durable tasks failed, and goes on.")
            return False
        if not self._reachable:
            logger.warning("The database of the tasks can be used again.")
        self._reachable = True
        return True

    def _step(self) -> None:
        self._save()
        now = time.monotonic()
        if now >= self._next_beat:
            self._show_life()
            self._bury_the_dead(now)
            self._next_beat = now + self.options.lease / 6
        if now >= self._next_prune:
            store.prune(self.alias, self.options.history_age)
            self._next_prune = now + PRUNE_INTERVAL
        if not self._sure:
            self._find_lost_claims()
        if self._live:
            for task_id in store.cancel_requests(self.id):
                if task := self._live.get(task_id):
                    task.cancel()
        while self._claiming and self._claim():
            self._save()

    def _leave(self) -> None:
        self._save()
        for task in list(self._live.values()):
            self._outcomes.append(Outcome(task.id, task.worker_id, None))
            self._live.pop(task.id, None)
        self._save()
        store.unregister(self.id)

    # Leases

    def _show_life(self) -> None:
        if store.show_life(self.id):
            return
        old, new = self.id, new_worker_id()
        store.register(new, self.alias)
        live = list(self._live.values())
        kept = store.adopt([task.id for task in live], old=old, new=new)
        self.id = new
        for task in live:
            if task.id in kept:
                task.worker_id = new
        lost = [task for task in live if task.id not in kept]
        logger.error(
            "Worker %s was taken for dead, %s tasks of it too; it goes on as %s.",
            old, len(lost), new,
        )  # fmt: skip
        for task in lost:
            self._live.pop(task.id, None)
            task.abandoned = True
            task.cancel()

    def _bury_the_dead(self, now: float) -> None:
        beats = store.beats(self.alias)
        beats.pop(self.id, None)
        self._seen = {
            worker: seen
            if (seen := self._seen.get(worker)) is not None and seen[0] == beat
            else (beat, now)
            for worker, beat in beats.items()
        }
        for worker, (beat, since) in self._seen.items():
            if now - since < self.options.lease * 2 / 3:
                continue
            interrupted = store.bury(worker, beat, max_interruptions=self.options.max_interruptions)
            if interrupted is None:  # another process was first
                continue
            logger.warning(
                "Worker %s has ended without a word; %s tasks of it are run again.",
                worker, sum(task.status == Status.READY for task in interrupted),
            )  # fmt: skip
            for task in interrupted:
                if task.status == Status.FAILED:
                    logger.error("Task %s was interrupted too often, and has failed.", task)

    # Tasks

    def _claim(self) -> bool:
        """Give the runner what it has room for; return whether there may be more."""
        most = self._room()
        if most <= 0:
            return False
        claimed: list[StoredTask] = []
        live = Counter(task.memo.task.queue_name for task in list(self._live.values()))
        limits = {name: self.options.of_queue(name).max_running for name in self._queues}
        limited = {name: limit for name, limit in limits.items() if limit is not None}
        due = store.due(self.alias).exclude(task_path__in=self._full_paths())
        for name, limit in limited.items():
            if room := min(most - len(claimed), limit - live[name]):
                claimed += store.claim(self.id, due.filter(queue_name=name), room)
        if room := most - len(claimed):
            claimed += store.claim(self.id, due.exclude(queue_name__in=limited), room)
        for stored in claimed:
            self._hand_over(stored)
        return len(claimed) == most

    def _find_lost_claims(self) -> None:
        """Run what was claimed for this process by a commit whose answer never came."""
        leased = store.leased(self.id)
        known = {*list(self._live), *(outcome.task_id for outcome in list(self._outcomes))}
        for stored in leased:
            if stored.id not in known:
                self._hand_over(stored)
        self._sure = True

    def _room(self) -> int:
        """How many more tasks the runner would start now; one always may wait its turn there.

        Those whose end is not written yet keep their place: a kill has them run again, too.
        """
        tasks = list(self._live.values())
        waiting = sum(task.state is State.QUEUED for task in tasks)
        free = get_settings().max_running - runner.stats().running
        return min(max(free, 1) - waiting - len(self._outcomes), runner.room)

    def _full_paths(self) -> list[str]:
        """Which tasks run as often as their function allows."""
        live: Counter[str] = Counter()
        limits = {}
        for task in list(self._live.values()):
            if task.policy.max_running is not None:
                path = task.memo.task.module_path
                live[path] += 1
                limits[path] = task.policy.max_running
        return [path for path, count in live.items() if count >= limits[path]]

    def _hand_over(self, stored: StoredTask) -> None:
        try:
            if stored.cancel_requested:
                raise asyncio.CancelledError  # noqa: TRY301 - it ended its last process meanwhile
            task = DurableTask(to_result(stored), self)
        except asyncio.CancelledError as exc:
            self._outcomes.append(Outcome(stored.id, self.id, failure(stored.errors, exc)))
            return
        except Exception as exc:
            logger.exception("Task %s cannot be run.", stored)
            self._outcomes.append(Outcome(stored.id, self.id, failure(stored.errors, exc)))
            return
        twice = runner.task(task.id) is not None  # its first run here has lost its lease
        if twice or task.memo.task.module_path in self._full_paths():
            self._outcomes.append(Outcome(stored.id, self.id, None))
            return
        self._live[task.id] = task
        try:
            runner.accept(task)
        except BackgroundQueueFull:
            self._live.pop(task.id, None)
            self._outcomes.append(Outcome(stored.id, self.id, None))
        else:
            runner.start([task])

    def _save(self) -> None:
        """Write how tasks ended; what cannot be written stays for the next time."""
        while self._outcomes:
            batch = [self._outcomes.popleft() for _ in range(min(len(self._outcomes), 200))]
            try:
                self._write(batch)
            except (DataError, ValueError):
                for outcome in batch:
                    self._write_alone(outcome)
            except BaseException:
                self._outcomes.extendleft(reversed(batch))
                raise

    def _write_alone(self, outcome: Outcome) -> None:
        """Write one of which the database may not like what it returned."""
        try:
            self._write([outcome])
        except (DataError, ValueError) as exc:
            logger.exception("What task %s returned cannot be stored.", outcome.task_id)
            self._write([outcome._replace(values=failure([], exc))])

    def _write(self, outcomes: list[Outcome]) -> None:
        for task_id in store.save(outcomes, max_interruptions=self.options.max_interruptions):
            logger.error(
                "Task %s had lost its lease when it ended here; another process runs it again.",
                task_id,
            )


def values(result: Result) -> dict[str, Any]:
    """Return what is written of a result that has ended."""
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
