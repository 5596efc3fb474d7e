"""What ``django.tasks`` promises, asked of whichever home the test says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import django
from django.utils import timezone

from tests.live.kitchen import tasks

if django.VERSION >= (6, 0):
    from django.tasks.exceptions import TaskResultDoesNotExist
else:
    from django_tasks.exceptions import TaskResultDoesNotExist


async def ended(result: Any) -> Any:
    """Return a result, asked for anew, when its task has ended."""
    async with asyncio.timeout(20):
        while True:
            with suppress(TaskResultDoesNotExist):  # not yet known
                asked = await result.task.aget_result(result.id)
                if asked.is_finished:
                    return asked
            await asyncio.sleep(0.05)


async def findings() -> AsyncIterator[tuple[str, Any]]:
    """Try everything; yield what was found, by a name."""
    result = await tasks.weigh.aenqueue(1.5, times=2)
    yield "enqueued", [result.status, result.args, result.kwargs, result.enqueued_at is not None]
    try:
        due = timezone.now() + timedelta(hours=1)  # asked for before any worker has seen it
        waiting = await tasks.weigh.using(run_after=due).aenqueue(1.5, times=2)
        seen = await tasks.weigh.aget_result(waiting.id)
    except TaskResultDoesNotExist:
        yield "known at once", False
    else:
        yield "known at once", [seen.id == waiting.id, seen.args, seen.kwargs]
    result = await ended(result)
    yield "succeeded", [result.status, result.return_value, result.errors]
    times = {name: getattr(result, name) for name in ("enqueued_at", "started_at", "finished_at")}
    yield "times", [name for name, time in times.items() if time is not None]

    result = await ended(await tasks.burn.aenqueue("ribs"))
    error = result.errors[0]
    yield "failed", [result.status, error.exception_class_path, "burned ribs" in error.traceback]

    result = await tasks.attempt.aenqueue()
    returned = (await ended(result)).return_value
    yield "context", [returned[0], returned[1] == result.id, *returned[2:]]

    due = timezone.now() + timedelta(seconds=1)
    result = await ended(await tasks.clock.using(run_after=due).aenqueue())
    yield "deferred", result.return_value >= due.timestamp()

    result = await tasks.clock.using(priority=50).aenqueue()
    yield "priority", (await ended(result)).task.priority

    result = await ended(await tasks.returns_a_set.aenqueue())
    yield "returned a set", [result.status, bool(result.errors)]

    try:
        await tasks.weigh.aenqueue({1, 2}, times=1)
    except Exception as exc:  # noqa: BLE001 - it is what is asked
        yield "given a set", type(exc).__name__

    try:
        await tasks.weigh.aget_result("unknown")
    except TaskResultDoesNotExist:
        yield "unknown", "TaskResultDoesNotExist"
