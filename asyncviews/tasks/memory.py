"""`AsyncioBackend`: the tasks of ``django.tasks`` in the memory of this process."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from asgiref.sync import sync_to_async
from django.core import checks
from django.db import transaction

from asyncviews import origin
from asyncviews.background import runner
from asyncviews.tasks.compat import BaseTaskBackend, Task, TaskResultDoesNotExist, signals
from asyncviews.tasks.enqueued import EnqueuedTask, Result, new_result, snapshot
from asyncviews.tasks.options import Options, errors_in, parse


class MemoryOptions(Options):
    """``OPTIONS`` of an `AsyncioBackend`."""

    enqueue_on_commit: bool = False
    """Whether a task enqueued in a transaction waits for its commit, and goes with its rollback."""


class AsyncioBackend(BaseTaskBackend):
    """Runs tasks in this process, on its event loop and its background threads.

    They are lost with the process: each runs at most once. Results are those of this process, as
    long as its history goes back.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    @cached_property
    def _options(self) -> MemoryOptions:
        return parse(MemoryOptions, self.alias, self.options, self.queues)

    def enqueue(self, task: Task[..., Any], args: Any, kwargs: Any) -> Result:
        """Have a task run soon.

        Raises:
            InvalidTask: this backend cannot run it.
            BackgroundQueueFull: too much is waiting.
            TypeError: the arguments do not fit the function, or one is not JSON.
        """
        accepted = self._accept(task, args, kwargs)
        try:
            signals.task_enqueued.send(type(self), task_result=accepted.memo)
        except BaseException:
            accepted.cancel()
            raise
        return self._start(accepted)

    async def aenqueue(self, task: Task[..., Any], args: Any, kwargs: Any) -> Result:
        """See `enqueue()`."""
        if self._options.enqueue_on_commit:  # the transaction, if there is one, is a thread's
            return await sync_to_async(self.enqueue)(task, args, kwargs)
        accepted = self._accept(task, args, kwargs)
        try:
            await accepted.notify_enqueued()
        except BaseException:
            accepted.cancel()
            raise
        return self._start(accepted)

    def get_result(self, result_id: str) -> Result:
        """Return a result of this process, from any thread.

        Raises:
            TaskResultDoesNotExist: there is none, or the history does not go back so far.
        """
        result = runner.memo(result_id)
        if result is None or result.backend != self.alias:
            raise TaskResultDoesNotExist(result_id)
        return snapshot(result)

    async def aget_result(self, result_id: str) -> Result:
        """See `get_result()`."""
        return self.get_result(result_id)

    def check(self, **kwargs: Any) -> Iterable[checks.CheckMessage]:
        yield from super().check(**kwargs)
        yield from errors_in(lambda: self._options)

    def _accept(self, task: Task[..., Any], args: Any, kwargs: Any) -> EnqueuedTask:
        self.validate_task(task)
        result = new_result(task, args, kwargs, backend=self.alias)
        accepted = EnqueuedTask(result, self._options, type(self), origin=origin.current())
        runner.accept(accepted)
        return accepted

    def _start(self, accepted: EnqueuedTask) -> Result:
        result = accepted.snapshot()
        if self._options.enqueue_on_commit:
            transaction.on_commit(_Start(accepted))
        else:
            runner.start([accepted])
        return result


class _Start:
    """Starts a task when it is called; gives its place back when nobody can call it any more.

    That is so after a rollback, when Django drops the functions that waited for the commit.
    """

    def __init__(self, task: EnqueuedTask) -> None:
        self._task = task
        self._give_up = weakref.finalize(self, runner.give_up, task)
        self._give_up.atexit = False

    def __call__(self) -> None:
        self._give_up.detach()
        runner.start([self._task])
