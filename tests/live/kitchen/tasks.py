"""What the fault tests have done, and count in a file: one line for each time a task ended."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.db import connection

from asyncviews import background_task

if django.VERSION >= (6, 0):
    from django.tasks import task
else:
    from django_tasks import task


in_queue = task(queue_name=settings.KITCHEN_QUEUE)


def leave_a_line(text: Any) -> None:
    """Append to the ledger in one call, so that lines of several processes do not mix."""
    ledger = os.open(settings.KITCHEN_LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(ledger, f"{text}\n".encode())
    os.close(ledger)


async def cook(number: int) -> None:
    await asyncio.sleep(settings.KITCHEN_PAUSE)
    leave_a_line(number)


@in_queue
async def smoke(number: int) -> None:
    await cook(number)


@in_queue
async def query(number: int) -> None:
    """Query before and after a pause, asynchronously."""
    from asgiref.sync import sync_to_async

    await sync_to_async(select)()
    await asyncio.sleep(0.1)
    await sync_to_async(select)()
    leave_a_line(number)


def select() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.02)")


@in_queue
def kills(number: int) -> None:
    """End the process, as a segmentation fault would."""
    leave_a_line(number)
    os.abort()


@in_queue
@background_task(attempts=5, retry_on=lambda exc: 0.3)
def burns(number: int) -> None:
    leave_a_line(f"{number} burned")
    raise ValueError("burned")


@in_queue
async def simmer(number: int) -> None:
    leave_a_line(f"{number} begun")
    await asyncio.sleep(8)
    leave_a_line(number)


@in_queue
async def blocks_once(number: int) -> None:
    """Block the event loop of the first process that runs it, until another one does."""
    block_once(number)


def block_once(number: int) -> None:
    ledger, line = Path(settings.KITCHEN_LEDGER), f"{number} blocks"
    first = f"{line}\n" not in ledger.read_text()
    leave_a_line(line)
    patience = time.monotonic() + 60
    while first and ledger.read_text().count(f"{line}\n") < 2 and time.monotonic() < patience:
        time.sleep(0.05)
    leave_a_line(number)


@in_queue
def tick() -> None:
    leave_a_line("tick")


@in_queue
def stamp(number: int) -> None:
    """Leave the time, for the benchmarks."""
    leave_a_line(f"{time.time()} {number}")


# For the contract


@in_queue
async def weigh(kilograms: float, *, times: int) -> float:
    return kilograms * times


@in_queue
def burn(meat: str) -> None:
    raise ValueError(f"burned {meat}")


@task(queue_name=settings.KITCHEN_QUEUE, takes_context=True)
def attempt(context: Any) -> list[Any]:
    result = context.task_result
    return [context.attempt, result.id, result.status, result.args]


@in_queue
def clock() -> float:
    return time.time()


@in_queue
async def returns_a_set() -> set[int]:
    return {1}
