"""The work behind the endpoints: functions that know nothing of requests, nor of where they run.

Nearly all of them run in the background. None handles its errors: the runner logs what a
background task raises, with its traceback and the request that started it. Those with ``@task`` can
move to a database or to Celery, by the setting ``TASKS``.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import django
import httpx
from django.conf import settings
from django.core.mail import send_mail
from django.core.management import call_command

from asyncviews import current_task, http_client
from demo_site.models import Batch
from demo_site.schemas import FLAVOR, MEATS, Weather

if TYPE_CHECKING or django.VERSION < (6, 0):
    from django_tasks import task
    from django_tasks.exceptions import TaskResultDoesNotExist
else:
    from django.tasks import task
    from django.tasks.exceptions import TaskResultDoesNotExist

__all__ = ["TaskResultDoesNotExist"]

logger = logging.getLogger("demo_site.tasks")


async def http_call_async(url: str) -> None:
    """Take five steps, then fetch `url` with the client that all views and tasks share."""
    for number in range(1, 6):
        await asyncio.sleep(settings.DEMO_STEP_SECONDS)
        logger.info("Step %s", number)
    response = await http_client().get(url)
    logger.info("GET %s: %s", url, response.status_code)


def http_call_sync(url: str) -> None:
    """Do the same and block the thread while doing it."""
    for number in range(1, 6):
        time.sleep(settings.DEMO_STEP_SECONDS)
        logger.info("Step %s", number)
    response = httpx.get(url)
    logger.info("GET %s: %s", url, response.status_code)


@task
async def smoke(meats: Sequence[str] = MEATS, flavor: str = FLAVOR) -> None:
    """Smoke one item after the other."""
    for meat in meats:
        logger.info("Smoking some %s....", meat)
        await asyncio.sleep(settings.DEMO_STEP_SECONDS)
        logger.info("Applying the %s....", flavor)
        await asyncio.sleep(settings.DEMO_STEP_SECONDS)
        logger.info("%s smoked.", meat.capitalize())
    favorite = "meats" if meats[0] == "ribs" else meats[0]
    logger.info("Who doesn't love smoked %s?", favorite)


@task
async def smoke_batch(batch_id: int) -> None:
    """Smoke what lies in the smoker, step by step, and note in its row how far it is.

    Whoever changes the row to "cancelled", or deletes it, ends the smoking at its next step: so it
    works wherever the task runs. One that was interrupted goes on with the step that it was at.
    """
    batch = await Batch.objects.filter(pk=batch_id).afirst()
    if batch is None:
        return
    try:
        for step in range(batch.step, batch.steps):
            if not await batch.areport(Batch.Status.SMOKING, step):
                return
            if background_task := current_task():  # Celery has none
                background_task.progress(step, batch.steps, batch.STAGES[step])
            await asyncio.sleep(settings.DEMO_STEP_SECONDS)
        await batch.areport(Batch.Status.DONE, batch.steps)
    except asyncio.CancelledError:
        await batch.areport(what_becomes_of_it())
        raise
    except Exception:
        await batch.areport(Batch.Status.FAILED)
        raise
    logger.info("%s smoked, with %s.", batch.meat.capitalize(), batch.flavor)


def what_becomes_of_it() -> Batch.Status:
    """Return what becomes of a batch whose task is cancelled: by somebody, or as its process ends."""
    background_task = current_task()
    if background_task is None or not background_task.abandoned:
        return Batch.Status.CANCELLED
    return Batch.Status.LOST if settings.DEMO_TASKS == "memory" else Batch.Status.WAITING


def oversmoke() -> None:
    """Block whoever calls it for five steps."""
    time.sleep(5 * settings.DEMO_STEP_SECONDS)
    logger.info("Who doesn't love burned meats?")


def send_email() -> None:
    """Invite a guest; Django's mail backends are synchronous, so this one runs in a thread."""
    send_mail("Dinner is ready", "Come while it is hot.", "cook@example.com", ["guest@example.com"])
    logger.info("Sent an e-mail, see %s", settings.DEMO_VAR / "mail")


async def check_weather(url: str) -> Weather:
    """Ask a third-party API, and trust its answer only as far as it can be validated."""
    response = await http_client().get(url)
    weather = Weather.model_validate_json(response.raise_for_status().content)
    logger.info("%s: %s, %s °C", weather.place, weather.sky, weather.celsius)
    return weather


def sign_guest_book(name: str) -> None:
    """Append a line to a file; file access blocks as well, so it too runs in a thread."""
    path = settings.DEMO_VAR / "guest_book.txt"
    with path.open("a", encoding="utf-8") as book:
        book.write(f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S} {name or 'a stranger'}\n")
    logger.info("Signed the guest book, see %s", path)


@task
def clean_out() -> None:
    """Remove old sessions from the database; Celery's beat does so every night."""
    call_command("clearsessions")
    logger.info("Cleaned out the database.")
