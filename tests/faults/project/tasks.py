"""Short tasks, of which each says when it begins and when it ends."""

import asyncio
import os
import time
from typing import Any

import django
from django.conf import settings

from tests.faults.project.journal import note

if django.VERSION >= (6, 0):
    from django.tasks import task
else:
    from django_tasks import task


@task(queue_name=settings.KITCHEN_QUEUE, takes_context=True)
async def wait(context: Any, number: int) -> None:
    note("begin", number, context.attempt)
    await asyncio.sleep(settings.FAULTS_SECONDS)
    note("end", number, context.attempt)


@task(queue_name=settings.KITCHEN_QUEUE, takes_context=True)
def block(context: Any, number: int) -> None:
    note("begin", number, context.attempt)
    time.sleep(settings.FAULTS_SECONDS)
    note("end", number, context.attempt)


@task(queue_name=settings.KITCHEN_QUEUE, takes_context=True)
def poison(context: Any, number: int) -> None:
    """End the process, as a segmentation fault would."""
    note("begin", number, context.attempt)
    time.sleep(settings.FAULTS_SECONDS / 2)
    os._exit(3)
