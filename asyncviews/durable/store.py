"""What is asked of the tables: who runs what, and how it ended.

A process registers as a worker and shows a sign of life from time to time. What it claims is leased
to it by its id, and only by that id it can finish or give back. Whoever sees a worker without a sign
of life for long enough buries it, and its tasks are ready again.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, NamedTuple

from django.db import connections, router, transaction
from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from asyncviews.durable.models import Status, StoredTask, Worker


class Outcome(NamedTuple):
    """How a task ended: what is to be written into its row, or None if it is to run again."""

    task_id: str
    leased_by: str
    """The id of the worker by which it was claimed; nobody else may say how it ended."""
    values: dict[str, Any] | None
    interrupted: bool = False
    """Whether it is to be counted that it did not end."""


def database() -> str:
    """Return the alias of the database that a project's routers choose for the tables."""
    return router.db_for_write(StoredTask)


def tasks() -> QuerySet[StoredTask]:
    return StoredTask.objects.using(database())


def workers() -> QuerySet[Worker]:
    return Worker.objects.using(database())


# A worker's life


def register(worker_id: str, backend: str) -> None:
    workers().create(id=worker_id, backend=backend, started_at=timezone.now())


def show_life(worker_id: str) -> bool:
    """Return whether the worker is still known; otherwise it was taken for dead."""
    return workers().filter(id=worker_id).update(beat=F("beat") + 1) == 1


def beats(backend: str) -> dict[str, int]:
    """Return the workers of a backend, each with how often it has shown life.

    One that is not registered, and yet something is leased to it, has never done so.
    """
    running = tasks().filter(backend=backend, status=Status.RUNNING)
    leasing = dict.fromkeys(running.values_list("leased_by", flat=True).distinct(), -1)
    return leasing | dict(workers().filter(backend=backend).values_list("id", "beat"))


def bury(worker_id: str, beat: int, *, max_interruptions: int) -> list[StoredTask] | None:
    """Make what a dead worker had leased ready again; return it, or None if somebody was first.

    What was interrupted too often has failed: it may be what ends its processes.
    """
    with transaction.atomic(using=database()):
        known = workers().filter(id=worker_id, beat=beat).delete()[0]
        if not known and beat >= 0:
            return None
        interrupted = list(tasks().filter(leased_by=worker_id, status=Status.RUNNING))
        for task in interrupted:
            _interrupt(task, worker_id, max_interruptions)
        return interrupted


def unregister(worker_id: str) -> None:
    workers().filter(id=worker_id).delete()


def adopt(task_ids: Iterable[str], *, old: str, new: str) -> set[str]:
    """Lease to a new id what is still leased to the old one; return what is."""
    ids = list(task_ids)
    tasks().filter(id__in=ids, leased_by=old, status=Status.RUNNING).update(leased_by=new)
    return set(tasks().filter(id__in=ids, leased_by=new).values_list("id", flat=True))


# Claiming and ending


def claim(worker_id: str, due: QuerySet[StoredTask], most: int) -> list[StoredTask]:
    """Lease at most `most` of the tasks that are `due` to a worker, in the order of their turn."""
    ids_due = due.order_by("-priority", "enqueued_at").values_list("id", flat=True)
    if connections[database()].features.has_select_for_update_skip_locked:
        with transaction.atomic(using=database()):
            ids = list(ids_due.select_for_update(skip_locked=True)[:most])
            _lease(worker_id, ids)
    else:
        ids = list(ids_due[:most])
        _lease(worker_id, ids)
    if not ids:
        return []
    return leased(worker_id, id__in=ids)


def leased(worker_id: str, **filters: Any) -> list[StoredTask]:
    """Return what is leased to a worker, in the order of its turn."""
    running = tasks().filter(leased_by=worker_id, status=Status.RUNNING, **filters)
    return list(running.order_by("-priority", "enqueued_at"))


def due(backend: str) -> QuerySet[StoredTask]:
    """Return the tasks that may be claimed now."""
    of_backend = tasks().filter(backend=backend, status=Status.READY)
    return of_backend.filter(Q(run_after=None) | Q(run_after__lte=timezone.now()))


def _lease(worker_id: str, ids: list[str]) -> None:
    if ids:
        now = timezone.now()
        tasks().filter(id__in=ids, status=Status.READY).update(
            status=Status.RUNNING,
            leased_by=worker_id,
            started_at=Coalesce("started_at", Value(now)),
            last_attempted_at=now,
        )


def save(outcomes: Iterable[Outcome], *, max_interruptions: int) -> list[str]:
    """Write how tasks ended, all or nothing; return the ids of those no longer leased."""
    lost = []
    with transaction.atomic(using=database()):
        for outcome in outcomes:
            row = _row(outcome.task_id, outcome.leased_by)
            if outcome.values is not None:
                saved = row.update(leased_by="", **outcome.values)
            elif outcome.interrupted:
                saved = 0
                for task in row:
                    saved = _interrupt(task, outcome.leased_by, max_interruptions)
            else:
                saved = row.update(status=Status.READY, leased_by="")
            if not saved and not _is_saved(outcome):
                lost.append(outcome.task_id)
    return lost


def _is_saved(outcome: Outcome) -> bool:
    """Whether it was written by a commit whose answer never came."""
    if outcome.values is None:
        return False
    ended = tasks().filter(id=outcome.task_id, finished_at=outcome.values["finished_at"])
    return ended.exists()


def _interrupt(task: StoredTask, worker_id: str, max_interruptions: int) -> int:
    values: dict[str, Any] = {
        "status": Status.READY,
        "leased_by": "",
        "interruptions": task.interruptions + 1,
        "worker_ids": [*task.worker_ids, worker_id],
    }
    if task.interruptions + 1 >= max_interruptions:
        message = f"It was interrupted {max_interruptions} times; the last time in {worker_id}.\n"
        values["status"] = Status.FAILED
        values["finished_at"] = timezone.now()
        values["errors"] = [
            *task.errors,
            {"exception_class_path": "builtins.InterruptedError", "traceback": message},
        ]
    task.status = values["status"]
    return _row(task.id, worker_id).update(**values)


def _row(task_id: str, worker_id: str) -> QuerySet[StoredTask]:
    return tasks().filter(id=task_id, leased_by=worker_id, status=Status.RUNNING)


# From outside


def cancel(queryset: QuerySet[StoredTask]) -> int:
    """Have tasks that have not ended cancelled; return how many those are.

    One that waits fails at once, one that runs as soon as its worker hears of it.
    """
    error = {"exception_class_path": "asyncio.exceptions.CancelledError", "traceback": ""}
    count = 0
    for task_id in queryset.filter(status=Status.READY).values_list("id", flat=True):
        count += tasks().filter(id=task_id, status=Status.READY).update(
            status=Status.FAILED, finished_at=timezone.now(), errors=[error], cancel_requested=True
        )  # fmt: skip
    return count + queryset.filter(status=Status.RUNNING).update(cancel_requested=True)


def cancel_requests(worker_id: str) -> list[str]:
    """Return what a worker is to cancel."""
    return [task.id for task in leased(worker_id, cancel_requested=True)]


def retry(queryset: QuerySet[StoredTask]) -> int:
    """Make failed tasks ready again; return how many those are."""
    return queryset.filter(status=Status.FAILED).update(
        status=Status.READY,
        finished_at=None,
        run_after=None,
        interruptions=0,
        cancel_requested=False,
    )


def prune(backend: str, age: float) -> int:
    """Delete what ended more than `age` seconds ago; return how much that is."""
    oldest = timezone.now() - timedelta(seconds=age)
    ended = tasks().filter(backend=backend, finished_at__lt=oldest)
    return ended.filter(status__in=[Status.FAILED, Status.SUCCESSFUL]).delete()[0]
