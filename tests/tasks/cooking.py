"""Tasks for all homes: nothing in them knows where they run."""

from __future__ import annotations

import asyncio
import functools
import logging
import sys
import threading
import time
from typing import Any

import django

from asyncviews import background_task, current_task

if django.VERSION >= (6, 0):
    from django.tasks import task, task_backends
else:
    from django_tasks import task, task_backends

__all__ = ["task", "task_backends"]

logger = logging.getLogger("cooking")

trail: list[Any] = []
"""What tasks of this process did."""

gate = threading.Event()
"""Tasks that wait, wait for this."""


@task
def smoke(meat: str, flavor: str = "none") -> str:
    return f"{meat} with {flavor}"


@task
async def asmoke(meat: str, flavor: str = "none") -> str:
    await asyncio.sleep(0)
    return f"{meat} with {flavor}"


def _hot(function: Any) -> Any:
    """Decorate a function: its callers say how hot, and it is told a flavor."""

    @functools.wraps(function)
    def wrapper(*args: Any, heat: int) -> Any:
        return function(*args, "hot" if heat > 1 else "mild")

    return wrapper


@task
@_hot
def wrapped(meat: str, flavor: str) -> list[str]:
    return [meat, flavor]


@task
def note(value: Any) -> None:
    trail.append(value)


@task(queue_name="slow")
async def hold(value: Any) -> Any:
    trail.append(value)
    while not gate.is_set():
        await asyncio.sleep(0.005)
    return value


@task
def where() -> str:
    return threading.current_thread().name


@task(takes_context=True)
@background_task(attempts=3, backoff=0.001)
async def fails_twice(context: Any) -> list[Any]:
    trail.append(context.attempt)
    if context.attempt < 3:
        raise ValueError(f"burned {context.attempt}")
    return [context.task_result.id, context.attempt]


@task
def burns() -> None:
    raise ValueError("burned")


@task
async def returns_a_set() -> set[int]:
    return {1}


@task
@background_task(timeout=0.02)
async def overcooks() -> None:
    await asyncio.sleep(10)


@task(queue_name="slow")
async def simmers() -> None:
    await asyncio.sleep(10)


@task
def exits() -> None:
    sys.exit(3)


@task
def identity() -> str:
    running = current_task()
    assert running is not None
    running.progress(1, 2, "half done")
    return running.id


@task
def naps(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@task
async def returns_nul() -> str:
    return "\x00"


@task
async def burns_with_nul() -> None:
    raise ValueError("burned \x00")


@task
@background_task(max_running=1)
async def one_at_a_time(value: Any) -> None:
    trail.append(value)
    while not gate.is_set():
        await asyncio.sleep(0.005)


@task
@background_task(secrets=["password"])
def logs_in(name: str, password: str) -> None:
    logger.info("%s logs in", name)


@task(takes_context=True)
@background_task(secrets=["password"])
def logs_in_with_context(context: Any, name: str, password: str = "") -> None:
    raise ValueError("denied")


@task
@background_task(attempts=5, backoff=0.2, retry_on=lambda exc: 0.01)
def burns_often() -> None:
    trail.append("burned")
    raise ValueError("burned")


@task
@background_task(attempts=2, backoff=0.3)
async def burns_slowly() -> None:
    trail.append("burned")
    raise ValueError("burned")
