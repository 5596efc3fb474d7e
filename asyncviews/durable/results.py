"""From the rows of the database to what ``django.tasks`` knows."""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import suppress
from types import FunctionType
from typing import TYPE_CHECKING, Any

from django.utils.module_loading import import_string

from asyncviews.background.arguments import MASK, shown
from asyncviews.background.policy import policy_of
from asyncviews.tasks.compat import (
    InvalidTaskBackend,
    Task,
    TaskError,
    TaskResult,
    TaskResultStatus,
    task_backends,
)
from asyncviews.tasks.enqueued import Result, send_finished, update

if TYPE_CHECKING:
    from asyncviews.durable.models import StoredTask


def to_result(stored: StoredTask) -> Result:
    """Return a row as ``django.tasks`` knows it.

    Raises:
        ImportError, InvalidTask: the project has no such task any more.
    """
    task = import_task(stored.task_path).using(
        priority=stored.priority,
        queue_name=stored.queue_name,
        run_after=stored.run_after,
        backend=stored.backend,
    )
    return _result_of(stored, task)


def _result_of(stored: StoredTask, task: Task[..., Any]) -> Result:
    result: Result = TaskResult(
        task=task,
        id=stored.id,
        status=TaskResultStatus[stored.status],
        enqueued_at=stored.enqueued_at,
        started_at=stored.started_at,
        last_attempted_at=stored.last_attempted_at,
        finished_at=stored.finished_at,
        args=stored.args,
        kwargs=stored.kwargs,
        backend=stored.backend,
        errors=[TaskError(**error) for error in stored.errors],
        worker_ids=list(stored.worker_ids),
    )
    update(result, _return_value=stored.return_value)
    return result


def shown_arguments(stored: StoredTask) -> str:
    """Return the arguments of a row as a reader may see them: without those that are secret."""
    try:
        task = import_task(stored.task_path)
    except Exception:  # noqa: BLE001 - the project does not know it any more
        return MASK
    return shown(
        task.func,
        tuple(stored.args),
        stored.kwargs,
        secrets=policy_of(task.func).secrets,
        leading=int(task.takes_context),
    )


def import_task(path: str) -> Task[..., Any]:
    """Return the task that a row names.

    Raises:
        ImportError: there is none.
    """
    task = import_string(path)
    if not isinstance(task, Task):
        raise ImportError(f"{path} is not a task.")  # noqa: TRY004 - as if it were gone
    return task


def shown_result(stored: StoredTask) -> str:
    """Return what a task returned as a reader may see it: not if any of its arguments are secret."""
    try:
        function = import_task(stored.task_path).func
    except Exception:  # noqa: BLE001 - the project does not know it any more
        return MASK
    return (
        MASK if policy_of(function).secrets else json.dumps(stored.return_value, ensure_ascii=False)
    )


# Tasks that have ended without being run


def announce(task_ids: Collection[str]) -> None:
    """Send ``task_finished`` for tasks that have ended outside their function."""
    from asyncviews.durable import store

    if not task_ids:
        return
    for stored in store.tasks().filter(id__in=task_ids):
        with suppress(InvalidTaskBackend):  # the project has it no more
            send_finished(type(task_backends[stored.backend]), _described(stored))


def _described(stored: StoredTask) -> Result:
    """Return a row as a result even if the project has no such task any more."""
    try:
        return to_result(stored)
    except BaseException:  # noqa: BLE001 - importing it may end in anything, SystemExit included
        return _result_of(stored, _stand_in(stored))


def _stand_in(stored: StoredTask) -> Task[..., Any]:
    """Return a task that tells what a row says of it, and cannot be run.

    It is not validated: its queue, too, may be gone.
    """
    module, _, name = stored.task_path.rpartition(".")
    function = FunctionType(_cannot_be_run.__code__, {"__name__": module}, name)
    task: Task[..., Any] = object.__new__(Task)
    update(
        task,
        func=function,
        priority=stored.priority,
        backend=stored.backend,
        queue_name=stored.queue_name,
        run_after=stored.run_after,
        takes_context=False,
    )
    return task


def _cannot_be_run(*args: Any, **kwargs: Any) -> None:
    raise RuntimeError("The project has no such task any more.")
