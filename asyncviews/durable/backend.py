"""`DurableBackend`: the tasks of ``django.tasks`` in the project's database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from asgiref.sync import iscoroutinefunction
from django.apps import apps
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

from asyncviews import origin
from asyncviews.durable.options import DurableOptions
from asyncviews.durable.results import import_task, to_result
from asyncviews.tasks.compat import (
    BaseTaskBackend,
    InvalidTask,
    Task,
    TaskResultDoesNotExist,
    signals,
)
from asyncviews.tasks.enqueued import Result, new_result
from asyncviews.tasks.options import errors_in, parse

if TYPE_CHECKING:
    from asyncviews.durable.worker import DurableWorker


class DurableBackend(BaseTaskBackend):
    """Runs tasks in the processes of the site, from its database.

    A task is written in the caller's transaction, and runs at least once: a process that is killed
    loses nothing, another one or the next one runs again what it held.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    @cached_property
    def durable_options(self) -> DurableOptions:
        """``OPTIONS``.

        Raises:
            InvalidTaskBackend: they cannot be used.
        """
        return parse(DurableOptions, self.alias, self.options, self.queues)

    def enqueue(self, task: Task[..., Any], args: Any, kwargs: Any) -> Result:
        """Write a task into the database; it runs when the transaction, if any, is committed.

        Raises:
            InvalidTask: this backend cannot run it, or could not find it again by its path.
            TypeError: the arguments do not fit the function, or one is not JSON.
            DatabaseError: it could not be written.
        """
        from asyncviews.durable import store, worker

        self.validate_task(task)
        try:
            import_task(task.module_path)
        except ImportError as exc:
            raise InvalidTask(f"A worker could not find the task again: {exc}") from exc
        result = new_result(task, args, kwargs, backend=self.alias)
        with transaction.atomic(using=store.database()):  # a receiver that raises prevents it
            store.tasks().create(
                id=result.id,
                backend=self.alias,
                queue_name=task.queue_name,
                task_path=task.module_path,
                args=result.args,
                kwargs=result.kwargs,
                priority=task.priority,
                run_after=task.run_after,
                needs_thread=not iscoroutinefunction(task.func),
                enqueued_at=cast("datetime", result.enqueued_at),
                origin=(origin.current() or "")[:255],
            )
            signals.task_enqueued.send(type(self), task_result=result)
        transaction.on_commit(lambda: worker.wake(self.alias), using=store.database())
        return result

    def get_result(self, result_id: str) -> Result:
        """Return a result, whichever process ran the task.

        Raises:
            TaskResultDoesNotExist: there is none, or it was pruned.
            ImportError: its function is gone.
        """
        from asyncviews.durable import store

        stored = store.tasks().filter(backend=self.alias, id=result_id).first()
        if stored is None:
            raise TaskResultDoesNotExist(result_id)
        return to_result(stored)

    def cancel(self, result_id: str) -> bool:
        """Have a task cancelled, wherever it runs; False if it has ended.

        A coroutine that runs gets `asyncio.CancelledError` where it awaits, within the poll interval.
        """
        from asyncviews.durable import store

        return bool(store.cancel(store.tasks().filter(backend=self.alias, id=result_id)))

    def retry(self, result_id: str) -> bool:
        """Have a failed task run again; False if it has not failed."""
        from asyncviews.durable import store, worker

        retried = store.retry(store.tasks().filter(backend=self.alias, id=result_id))
        worker.wake(self.alias)
        return bool(retried)

    async def open_worker(self) -> DurableWorker:
        """Start running this backend's tasks in this process.

        Raises:
            ImproperlyConfigured: the database cannot be used for it.
        """
        from asyncviews.durable.worker import DurableWorker

        self._require_app()
        worker = DurableWorker(self.alias, self.queues, self.durable_options, sender=type(self))
        await asyncio.to_thread(worker.start)
        return worker

    def check(self, **kwargs: Any) -> Iterable[checks.CheckMessage]:
        yield from super().check(**kwargs)
        yield from errors_in(lambda: self.durable_options)
        try:
            self._require_app()
        except ImproperlyConfigured as exc:
            yield checks.Error(str(exc), id="asyncviews.E001")

    def _require_app(self) -> None:
        if not apps.is_installed("asyncviews.durable"):
            raise ImproperlyConfigured(
                f'TASKS["{self.alias}"]: DurableBackend needs "asyncviews.durable" in '
                "INSTALLED_APPS, and then `python manage.py migrate`."
            )
