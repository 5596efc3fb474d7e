"""A task of ``django.tasks`` as the runner runs it: results, attempts, signals."""

from __future__ import annotations

import asyncio
import copy
import os
import socket
import threading
import traceback
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from functools import cache, partial
from typing import Any, TypeAlias

from django.db import connections
from django.dispatch import Signal
from django.utils import timezone
from django.utils.crypto import get_random_string

from asyncviews import internals
from asyncviews.annotations import signature_of
from asyncviews.background.task import BackgroundTask, TaskRetried
from asyncviews.tasks.compat import (
    Task,
    TaskContext,
    TaskError,
    TaskResult,
    TaskResultStatus,
    normalize_json,
    signals,
)
from asyncviews.tasks.options import Options

Result: TypeAlias = "TaskResult[Any]"


_LOGGING = (signals.log_task_enqueued, signals.log_task_started, signals.log_task_finished)


class EnqueuedTask(BackgroundTask[Any]):
    """One call of a ``@task`` function. Its `memo` is the `TaskResult` as it is now."""

    __slots__ = ("_queue_limit", "_sender", "worker_id")

    def __init__(
        self,
        result: Result,
        options: Options,
        sender: type,
        *,
        worker_id: str | None = None,
        origin: str | None = None,
    ) -> None:
        task = result.task
        super().__init__(
            task.func,
            tuple(result.args),
            result.kwargs,
            task_id=result.id,
            origin=origin,
            priority=task.priority,
            run_after=task.run_after.timestamp() if task.run_after else None,
            policy=options.policy_of(task),
        )
        self.memo: Result = result
        self.worker_id = worker_id or process_id(os.getpid())
        self._sender = sender
        self._queue_limit: tuple[tuple[Hashable, int], ...] = ()
        if most := options.of_queue(task.queue_name).max_running:
            self._queue_limit = (((result.backend, task.queue_name), most),)

    @property
    def limits(self) -> tuple[tuple[Hashable, int], ...]:
        return (*super().limits, *self._queue_limit)

    @property
    def leading_arguments(self) -> tuple[Any, ...]:
        return (TaskContext(task_result=self.memo),) if self.memo.task.takes_context else ()

    def snapshot(self) -> Result:
        """Return the result as it is now; what happens later does not change it."""
        return snapshot(self.memo)

    def begin(self, start_clock: Callable[[], None] | None) -> None:
        self.memo.worker_ids.append(self.worker_id)
        update(self.memo, last_attempted_at=timezone.now())
        super().begin(start_clock)

    async def run(self, attempts: Callable[[], Awaitable[Any]]) -> Any:
        result = self.memo
        started_at = result.started_at or timezone.now()
        update(result, status=TaskResultStatus.RUNNING, started_at=started_at)
        await self.notify(signals.task_started)
        cancelled: asyncio.CancelledError | None = None
        try:
            value = as_json(f"{result.task.module_path}(): the result", await attempts())
        except asyncio.CancelledError as exc:
            cancelled = exc  # signals are sent outside of this block, where awaiting is safe
        except TaskRetried:
            raise
        except BaseException as exc:
            self.record_failure(exc)
            await self.notify(signals.task_finished)  # here, for its receivers to see the exception
            raise
        if cancelled is not None:
            if self.is_final():
                self.record_failure(cancelled)
                await self.notify(signals.task_finished)
            raise cancelled
        update(
            result,
            status=TaskResultStatus.SUCCESSFUL,
            finished_at=timezone.now(),
            _return_value=value,
        )
        await self.notify(signals.task_finished)
        return value

    def is_final(self) -> bool:
        """Whether the task, having been cancelled, has failed for good."""
        return True

    def on_end(self) -> None:
        if not self.memo.is_finished:  # it was stopped before it ran
            self.record_failure(self._error or asyncio.CancelledError())
            send_finished(self._sender, self.memo)

    def record_failure(self, exc: BaseException) -> None:
        self.memo.errors.append(error_of(exc))
        update(self.memo, status=TaskResultStatus.FAILED, finished_at=timezone.now())

    async def notify(self, signal: Signal) -> None:
        """Send a signal of ``django.tasks``, on the event loop if Django alone hears it."""
        if internals.hears_only(signal, _LOGGING):
            signal.send_robust(self._sender, task_result=self.memo)
        else:
            await signal.asend_robust(self._sender, task_result=self.memo)

    async def notify_enqueued(self) -> None:
        """Send ``task_enqueued``. Unlike the others it raises what a receiver raises."""
        signal = signals.task_enqueued
        if internals.hears_only(signal, _LOGGING):
            signal.send(self._sender, task_result=self.memo)
        else:
            await signal.asend(self._sender, task_result=self.memo)


def send_finished(sender: type, result: Result) -> None:
    """Send ``task_finished`` for a task that has ended outside its function, from any thread.

    Receivers that are not Django's own get a thread: they may wait for what calls this.
    """
    if internals.hears_only(signals.task_finished, _LOGGING):
        signals.task_finished.send_robust(sender, task_result=result)
    else:
        args = (sender, snapshot(result))
        threading.Thread(target=_send_finished_here, args=args, daemon=True).start()


def _send_finished_here(sender: type, result: Result) -> None:
    try:
        signals.task_finished.send_robust(sender, task_result=result)
    finally:
        connections.close_all()


def new_result(task: Any, args: Any, kwargs: Any, *, backend: str) -> Result:
    """Return the result of a task that was just enqueued.

    Raises:
        TypeError: the function cannot be called with the arguments, or one of them is not JSON.
    """
    arguments = _arguments(task, args, kwargs)
    try:
        return TaskResult(
            task=task,
            id=os.urandom(16).hex(),
            status=TaskResultStatus.READY,
            enqueued_at=timezone.now(),
            started_at=None,
            last_attempted_at=None,
            finished_at=None,
            args=args,
            kwargs=kwargs,
            backend=backend,
            errors=[],
            worker_ids=[],
        )
    except (TypeError, ValueError):
        for name, value in arguments.items():
            as_json(f"{task.module_path}(): the argument {name!r}", value)
        raise


def _arguments(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by the names of the function's own parameters.

    Raises:
        TypeError: the function cannot be called with them, which it would only be much later.
    """
    signature = _own_signature(task.func)
    context = (None,) if task.takes_context else ()
    try:
        return signature.bind(*context, *args, **kwargs).arguments
    except TypeError as exc:
        hint = " The task is given its context when it runs." if context else ""
        raise TypeError(
            f"{task.module_path}{signature} cannot be called with the arguments to enqueue: {exc}."
            f"{hint}"
        ) from None


_own_signature = cache(partial(signature_of, follow_wrapped=False))


def as_json(what: str, value: Any) -> Any:
    """Return what JSON makes of a value.

    Raises:
        TypeError: it cannot carry it. The message begins with `what` that is.
    """
    try:
        return normalize_json(value)
    except (TypeError, ValueError) as exc:
        raise TypeError(
            f"{what} is of type {type(value).__qualname__}, and not JSON ({exc}). Pass strings, "
            "numbers, lists and dictionaries: of a UUID its str(), of a model's instance its key."
        ) from exc


def update(result: Result | Task[..., Any], **attributes: Any) -> None:
    """Change a result, which is frozen for everybody else; Django's own backends do so too."""
    for name, value in attributes.items():
        object.__setattr__(result, name, value)


def snapshot(result: Result) -> Result:
    copied = copy.copy(result)
    update(copied, errors=list(result.errors), worker_ids=list(result.worker_ids))
    return copied


def error_of(exc: BaseException) -> TaskError:
    cls = type(exc)
    return TaskError(
        exception_class_path=f"{cls.__module__}.{cls.__qualname__}",
        traceback="".join(traceback.format_exception(exc)),
    )


@cache
def process_id(pid: int) -> str:
    """Return what this process is called in results."""
    return new_worker_id()


def new_worker_id() -> str:
    """Return what nothing else was or will be called: host, process, something random."""
    return f"{socket.gethostname()[:60]}-{os.getpid()}-{get_random_string(8)}"
