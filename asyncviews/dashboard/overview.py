"""What the dashboard shows: this process, and the tasks of it and of the database."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from asgiref.sync import sync_to_async
from django.apps import apps
from django.db import Error as DatabaseError
from django.db.models import Count, Q
from django.utils import timezone

from asyncviews.background import Progress, State, TaskInfo, runner
from asyncviews.conf import get_settings
from asyncviews.handler import request_threads, requests_in_flight

if TYPE_CHECKING:
    from asyncviews.durable.models import StoredTask

SHOWN = 50
"""Tasks of each kind that are shown."""

FAILURES = (State.FAILED, State.TIMED_OUT, State.ABANDONED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One task, as its reader sees it."""

    id: str
    name: str
    arguments: str
    state: str
    stored: bool
    """Whether it is in the database, and not in the memory of this process alone."""
    where: str
    """The process that runs it, or has run it last, if that is known."""
    origin: str
    attempts: int
    moment: datetime
    """When it was added, has started, or has ended, as its state is."""
    due: datetime | None
    took: str
    percent: float | None
    """How far it is, if it says so."""
    message: str
    error: str
    traceback: str
    can_cancel: bool
    can_retry: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    label: str
    value: str
    alarming: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How this process is, and what the database counts."""

    template: ClassVar = "asyncviews/dashboard/figures.html"

    process: str
    here: tuple[Figure, ...]
    stored: tuple[Figure, ...]
    trouble: str
    """Why the database could not be asked, if it could not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Tasks of one kind."""

    template: ClassVar = "asyncviews/dashboard/section.html"

    title: str
    empty: str
    rows: tuple[Row, ...]

    @property
    def full(self) -> bool:
        """Whether there may be more than is shown."""
        return len(self.rows) >= SHOWN


Parts = dict[str, Figures | Section]
"""The parts of the page, by name; what is equal looks the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What the database says."""

    counts: tuple[Figure, ...] = ()
    running: tuple[Row, ...] = ()
    waiting: tuple[Row, ...] = ()
    failed: tuple[Row, ...] = ()
    finished: tuple[Row, ...] = ()
    known: frozenset[str] = frozenset()
    """Which of the tasks of this process are stored ones."""
    trouble: str = ""


async def look(lag: float, *, may_change: bool) -> Parts:
    """Return what there is to see now.

    Args:
        lag: seconds by which the event loop was late.
        may_change: whether the reader may cancel and retry tasks.
    """
    ended = runner.history()[::-1]
    live = runner.unfinished()
    running = [task.info() for task in live if task.state is State.RUNNING][:SHOWN]
    waiting = [task.info() for task in live if task.state is State.QUEUED][:SHOWN]
    failed = [info for info in ended if _has_failed(info)][:SHOWN]
    finished = [info for info in ended if not _has_failed(info)][:SHOWN]
    shown = [*running, *waiting, *failed, *finished]
    stored = Stored()
    if apps.is_installed("asyncviews.durable"):
        stored = await sync_to_async(ask_database)([info.id for info in shown], may_change)

    def section(
        title: str, empty: str, infos: Iterable[TaskInfo], rows: tuple[Row, ...], *, newest: bool
    ) -> Section:
        here = [
            from_memory(info, may_change=may_change)
            for info in infos
            if info.id not in stored.known
        ]
        merged = sorted([*here, *rows], key=lambda row: row.moment, reverse=newest)
        return Section(title=title, empty=empty, rows=tuple(merged[:SHOWN]))

    return {
        "figures": Figures(
            process=f"{os.getpid()} on {socket.gethostname()}",
            here=tuple(figures(lag)),
            stored=stored.counts,
            trouble=stored.trouble,
        ),
        "running": section("Running", "Nothing runs.", running, stored.running, newest=False),
        "waiting": section("Waiting", "Nothing waits.", waiting, stored.waiting, newest=False),
        "failed": section("Failed", "Nothing has failed.", failed, stored.failed, newest=True),
        "finished": section(
            "Finished", "Nothing has ended yet.", finished, stored.finished, newest=True
        ),
    }


def figures(lag: float) -> Iterable[Figure]:
    """Yield the figures of this process."""
    stats, settings = runner.stats(), get_settings()
    requests, ended = request_threads, stats.ended
    failures = sum(ended[state] for state in FAILURES)
    yield Figure(label="Running", value=f"{stats.running} of {settings.max_running}")
    yield Figure(label="Waiting", value=f"{stats.queued} of {settings.max_waiting}")
    yield Figure(label="Succeeded", value=str(ended[State.SUCCEEDED]))
    yield Figure(label="Failed", value=str(failures), alarming=bool(failures))
    yield Figure(label="Cancelled", value=str(ended[State.CANCELLED]))
    yield Figure(label="Event loop lag", value=f"{lag * 1000:.0f} ms", alarming=lag >= 0.1)
    yield Figure(label="Requests in flight", value=str(requests_in_flight()))
    yield Figure(
        label="Request threads",
        value=f"{requests.busy} of {settings.request_threads} leased"
        + (f", {requests.waiting} wait" if requests.waiting else ""),
        alarming=bool(requests.waiting),
    )
    yield Figure(
        label="Background threads",
        value=f"{stats.threads_busy} of {settings.background_threads} leased"
        + (f", {runner.threads.waiting} wait" if runner.threads.waiting else "")
        + (f", {stats.threads_stuck} stuck" if stats.threads_stuck else ""),
        alarming=bool(stats.threads_stuck or runner.threads.waiting),
    )


# Tasks of this process


def _has_failed(info: TaskInfo) -> bool:
    return info.state in FAILURES


def from_memory(info: TaskInfo, *, may_change: bool) -> Row:
    moment = info.ended or info.started or info.created
    progress = info.progress if info.ended is None else None
    return Row(
        id=info.id,
        name=info.name,
        arguments=info.arguments,
        state=info.state.value,
        stored=False,
        where="",
        origin=info.origin or "",
        attempts=info.attempts,
        moment=_moment(moment),
        due=_moment(info.run_after) if info.run_after else None,
        took=_took(info.started, info.ended),
        percent=_percent(progress),
        message=progress.message if progress else "",
        error=info.error or "",
        traceback=info.traceback or "",
        can_cancel=may_change and info.ended is None,
        can_retry=False,
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), tz=timezone.get_current_timezone())


def _took(started: float | None, ended: float | None) -> str:
    """Return how long a task took, or has run so far; empty if it never started."""
    if started is None:
        return ""
    if ended is None:
        return duration(int(max(0.0, time.time() - started)))
    return duration(max(0.0, ended - started))


def duration(seconds: float) -> str:
    """Return seconds as people write them: "0.25 s", "12 s", "3 min 5 s", "2 h 10 min"."""
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.2g} s"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def _percent(progress: Progress | None) -> float | None:
    if progress is None or not progress.total or progress.total < 0:
        return None
    return round(100 * min(max(progress.done / progress.total, 0.0), 1.0), 1)


# Stored tasks


def ask_database(here: list[str], may_change: bool) -> Stored:
    """Return what the database has, and which of the tasks `here` it knows."""
    from asyncviews.durable import store
    from asyncviews.durable.models import Status

    def rows(*conditions: Q, order: str, **filters: object) -> tuple[Row, ...]:
        found = store.tasks().filter(*conditions, **filters).order_by(order)[:SHOWN]
        return tuple(from_database(task, may_change=may_change) for task in found)

    cancelled = Q(status=Status.FAILED, cancel_requested=True)
    try:
        return Stored(
            counts=_counts(),
            running=rows(status=Status.RUNNING, order="last_attempted_at"),
            waiting=rows(status=Status.READY, order="enqueued_at"),
            failed=rows(~cancelled, status=Status.FAILED, order="-finished_at"),
            finished=rows(Q(status=Status.SUCCESSFUL) | cancelled, order="-finished_at"),
            known=frozenset(store.tasks().filter(id__in=here).values_list("id", flat=True)),
        )
    except DatabaseError as exc:
        reason = str(exc).partition("\n")[0]
        return Stored(trouble=f"The database of the stored tasks cannot be used: {reason}")


def _counts() -> tuple[Figure, ...]:
    """Count what is not successful: of that there may be millions."""
    from asyncviews.durable import store
    from asyncviews.durable.models import Status

    counted = [Status.RUNNING, Status.READY, Status.FAILED]
    found = store.tasks().filter(status__in=counted).order_by().values_list("status")
    counts = dict(found.annotate(Count("id")))
    labels = ("Running", "Waiting", "Failed or cancelled")
    return tuple(
        Figure(label=label, value=str(counts.get(status, 0)))
        for label, status in zip(labels, counted, strict=True)
    )


def from_database(task: StoredTask, *, may_change: bool) -> Row:
    from asyncviews.durable.models import Status
    from asyncviews.durable.results import shown_arguments

    info = runner.get(task.id) if task.status == Status.RUNNING else None
    progress = info.progress if info else None
    error = "" if task.cancel_requested or not task.errors else task.errors[-1]["traceback"]
    moment = task.finished_at or task.last_attempted_at or task.enqueued_at
    if task.status == Status.READY:
        moment = task.enqueued_at
    unfinished = task.status in {Status.READY, Status.RUNNING}
    return Row(
        id=task.id,
        name=task.task_path,
        arguments=shown_arguments(task),
        state=_state_of(task),
        stored=True,
        where=task.leased_by or (task.worker_ids[-1] if task.worker_ids else ""),
        origin="",
        attempts=len(task.worker_ids),
        moment=_moment(moment.timestamp()),
        due=_moment(task.run_after.timestamp()) if task.run_after else None,
        took=_took(
            task.last_attempted_at.timestamp() if task.last_attempted_at else None,
            task.finished_at.timestamp() if task.finished_at else None,
        ) if task.status != Status.READY else "",
        percent=_percent(progress),
        message=progress.message if progress else "",
        error=error.strip().rpartition("\n")[2],
        traceback=error,
        can_cancel=may_change and unfinished and not task.cancel_requested,
        can_retry=may_change and task.status == Status.FAILED,
    )  # fmt: skip


def _state_of(task: StoredTask) -> str:
    from asyncviews.durable.models import Status

    states = {
        Status.READY: State.QUEUED.value,
        Status.RUNNING: "being cancelled" if task.cancel_requested else State.RUNNING.value,
        Status.FAILED: (State.CANCELLED if task.cancel_requested else State.FAILED).value,
        Status.SUCCESSFUL: State.SUCCEEDED.value,
    }
    return states[Status(task.status)]
