"""The backends that run tasks in the processes of the site, while those serve."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from asyncviews.tasks.compat import task_backends


@asynccontextmanager
async def open_workers() -> AsyncIterator[Callable[[], None]]:
    """Run tasks for the length of a block; it gets a function that makes it the last of them.

    Every backend of the project is made, so that a wrong one is found at the start.

    Raises:
        ImproperlyConfigured: a backend cannot be made, or cannot work.
    """
    async with AsyncExitStack() as stack:
        workers = []
        for alias in task_backends.settings:
            if open_worker := getattr(task_backends[alias], "open_worker", None):
                worker = await open_worker()
                stack.push_async_callback(asyncio.to_thread, worker.close)
                workers.append(worker)

        def stop_claiming() -> None:
            for worker in workers:
                worker.stop_claiming()

        yield stop_claiming
