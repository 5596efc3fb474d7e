"""The backends that run tasks in the processes of the site, while those serve."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from asyncviews import health
from asyncviews.tasks.compat import task_backends


@asynccontextmanager
async def open_workers() -> AsyncIterator[None]:
    """Run tasks for the length of a block, and claim none after this process has retired in it.

    Every backend of the project is made, so that a wrong one is found at the start.

    Raises:
        ImproperlyConfigured: a backend cannot be made, or cannot work.
    """
    async with AsyncExitStack() as stack:
        for alias in task_backends.settings:
            if open_worker := getattr(task_backends[alias], "open_worker", None):
                worker = await open_worker()
                stack.push_async_callback(asyncio.to_thread, worker.close)
                stack.enter_context(health.on_hurry(worker.give_back))
                stack.enter_context(health.on_retire(worker.stop_claiming))
        yield
