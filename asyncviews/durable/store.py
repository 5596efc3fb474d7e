"""What is asked of the tables: who runs what, and how it ended.

A process registers as a worker and shows a sign of life from time to time. What it claims is leased
to it by its id, and only by that id it can begin, finish or give back. Whoever sees a worker without
a sign of life for long enough buries it, and its tasks are ready again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, NamedTuple

from django.db import connections, router, transaction
from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from asyncviews.durable.models import Status, StoredTask, Worker

Rows = list[StoredTask]


class Outcome(NamedTuple):
    """What became of a task in this process."""

    task_id: str
    leased_by: str
    """The id of the worker by which it was claimed; nobody else may say how it ended."""
    values: dict[str, Any] | None
    """What is written into its row, or None if it is given back."""
    interrupted: bool = False
    """Whether it had begun, and did not end."""
    unannounced: bool = False
    """Whether ``task_finished`` is to be sent once it is written."""
    refused: bool = False
    """Whether it says that the database has refused the first outcome."""


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


def bury(worker_id: str, beat: int, *, max_interruptions: int) -> Rows | None:
    """Make what a dead worker had leased ready again; return it, or None if somebody was first.

    Only what had begun was interrupted. See `_interrupt()`.
    """
    with transaction.atomic(using=database()):
        known = workers().filter(id=worker_id, beat=beat).delete()[0]
        if not known and beat >= 0:
            return None
        held = tasks().filter(leased_by=worker_id, status=Status.RUNNING)
        interrupted = list(held.filter(begun=True))
        for task in interrupted:
            _interrupt(task, worker_id, max_interruptions, alone=len(interrupted) == 1)
        waiting = list(held.filter(begun=False))
        held.filter(begun=False).update(status=Status.READY, leased_by="")
        return interrupted + waiting


def unregister(worker_id: str) -> None:
    workers().filter(id=worker_id).delete()


def adopt(task_ids: Iterable[str], *, old: str, new: str) -> set[str]:
    """Lease to a new id what is still leased to the old one; return what is."""
    ids = list(task_ids)
    tasks().filter(id__in=ids, leased_by=old, status=Status.RUNNING).update(leased_by=new)
    return set(tasks().filter(id__in=ids, leased_by=new).values_list("id", flat=True))


# Claiming


def due(backend: str) -> QuerySet[StoredTask]:
    """Return the tasks that may be claimed now."""
    now = timezone.now()
    return tasks().filter(
        Q(run_after=None) | Q(run_after__lte=now),
        Q(retry_at=None) | Q(retry_at__lte=now),
        backend=backend,
        status=Status.READY,
    )


def before(queryset: QuerySet[StoredTask], task: StoredTask) -> QuerySet[StoredTask]:
    """Return those whose turn is before that of a task."""
    same = Q(priority=task.priority, enqueued_at__lt=task.enqueued_at)
    return queryset.filter(Q(priority__gt=task.priority) | same)


def in_turn(queryset: QuerySet[StoredTask]) -> QuerySet[StoredTask]:
    return queryset.order_by("-priority", "enqueued_at")


def claim(
    worker_id: str,
    due: QuerySet[StoredTask],
    most: int,
    choose: Callable[[Rows], Rows],
    *,
    begun: bool,
) -> Rows:
    """Lease to a worker what it chooses of the first `most` tasks that are `due`.

    `begun` is whether it begins them at once.
    """
    first = in_turn(due)
    if connections[database()].features.has_select_for_update_skip_locked:
        with transaction.atomic(using=database()):
            chosen = choose(list(first.select_for_update(skip_locked=True)[:most]))
            _lease(worker_id, chosen, begun=begun)
        return chosen
    chosen = choose(list(first[:most]))
    _lease(worker_id, chosen, begun=begun)
    # Another process may have been faster.
    return leased(worker_id, id__in=[task.id for task in chosen]) if chosen else []


def _lease(worker_id: str, chosen: Rows, *, begun: bool) -> None:
    if not chosen:
        return
    ready = tasks().filter(id__in=[task.id for task in chosen], status=Status.READY)
    values = {"status": Status.RUNNING, "leased_by": worker_id, "begun": begun}
    ready.update(**values, **(_beginning() if begun else {}))
    for task in chosen:
        for name, value in values.items():
            setattr(task, name, value)


def _beginning() -> dict[str, Any]:
    now = timezone.now()
    return {"started_at": Coalesce("started_at", Value(now)), "last_attempted_at": now}


def leased(worker_id: str, **filters: Any) -> Rows:
    """Return what is leased to a worker, in the order of its turn."""
    return list(in_turn(tasks().filter(leased_by=worker_id, status=Status.RUNNING, **filters)))


# Beginning and ending


def begin(worker_id: str, task_ids: Iterable[str]) -> set[str]:
    """Note which tasks a worker begins to run; return those that are still leased to it."""
    ids = set(task_ids)
    mine = tasks().filter(id__in=ids, leased_by=worker_id, status=Status.RUNNING)
    begun = mine.update(begun=True, **_beginning())
    return ids if begun == len(ids) else set(mine.values_list("id", flat=True))


def save(outcomes: Iterable[Outcome], *, max_interruptions: int) -> list[Outcome]:
    """Write what became of tasks, all or nothing; return what came too late: its lease is lost."""
    lost = []
    with transaction.atomic(using=database()):
        for outcome in outcomes:
            row = _row(outcome.task_id, outcome.leased_by)
            if outcome.values is not None:
                if not row.update(leased_by="", begun=False, **outcome.values):
                    lost.append(outcome)
            elif outcome.interrupted:
                for task in row:
                    _interrupt(task, outcome.leased_by, max_interruptions, alone=False)
            else:
                row.update(status=Status.READY, leased_by="", begun=False)
        return [outcome for outcome in lost if not _is_saved(outcome)]


def _is_saved(outcome: Outcome) -> bool:
    """Whether it was written by a commit whose answer never came."""
    values = outcome.values or {}
    mark = {name: values[name] for name in ("finished_at", "retry_at") if values.get(name)}
    return tasks().filter(id=outcome.task_id, **mark).exists()


def _interrupt(task: StoredTask, worker_id: str, max_interruptions: int, *, alone: bool) -> None:
    """Make a task ready again whose process ended while it ran.

    It has failed when that happened too often, and the last time nothing else ran in that process:
    otherwise something else may have ended it.
    """
    interruptions = task.interruptions + 1
    if not alone:
        interruptions = min(interruptions, max(max_interruptions - 1, 1))
    values: dict[str, Any] = {
        "status": Status.READY,
        "leased_by": "",
        "begun": False,
        "interruptions": interruptions,
        "worker_ids": [*task.worker_ids, worker_id],
    }
    if interruptions >= max_interruptions and alone:
        message = f"It was interrupted {interruptions} times; the last time in {worker_id}.\n"
        error = {"exception_class_path": "builtins.InterruptedError", "traceback": message}
        values |= {
            "status": Status.FAILED,
            "finished_at": timezone.now(),
            "errors": [*task.errors, error],
        }
    task.status = values["status"]
    _row(task.id, worker_id).update(**values)


def _row(task_id: str, worker_id: str) -> QuerySet[StoredTask]:
    return tasks().filter(id=task_id, leased_by=worker_id, status=Status.RUNNING)


# From outside


def cancel(queryset: QuerySet[StoredTask]) -> int:
    """Have tasks that have not ended cancelled; return how many those are.

    One that waits fails at once, one that runs as soon as its worker hears of it.
    """
    error = {"exception_class_path": "asyncio.exceptions.CancelledError", "traceback": ""}
    count = 0
    for task in queryset.filter(status=Status.READY):
        cancelled = tasks().filter(id=task.id, status=Status.READY).update(
            status=Status.FAILED,
            finished_at=timezone.now(),
            errors=[*task.errors, error],
            cancel_requested=True,
        )  # fmt: skip
        if cancelled:
            _announce_on_commit(task.id)
        count += cancelled
    return count + queryset.filter(status=Status.RUNNING).update(cancel_requested=True)


def _announce_on_commit(task_id: str) -> None:
    from asyncviews.durable.results import announce

    transaction.on_commit(lambda: announce([task_id]), using=database())


def cancel_requests(worker_id: str) -> list[str]:
    """Return what a worker is to cancel."""
    return [task.id for task in leased(worker_id, cancel_requested=True)]


def retry(queryset: QuerySet[StoredTask]) -> int:
    """Make failed tasks ready again; return how many those are."""
    return queryset.filter(status=Status.FAILED).update(
        status=Status.READY,
        finished_at=None,
        run_after=None,
        retry_at=None,
        attempts=0,
        misses=0,
        interruptions=0,
        cancel_requested=False,
    )


def prune(backend: str, age: float) -> int:
    """Delete what ended more than `age` seconds ago; return how much that is."""
    oldest = timezone.now() - timedelta(seconds=age)
    ended = tasks().filter(backend=backend, finished_at__lt=oldest)
    return ended.filter(status__in=[Status.FAILED, Status.SUCCESSFUL]).delete()[0]
