"""The smoker: what lies in it is rows of `Batch`, and for each a task that smokes it.

The rows are all that views and tasks have in common, so they may run in different processes.
"""

from collections.abc import Sequence
from datetime import timedelta
from math import ceil

from django.conf import settings
from django.utils import timezone

from asyncviews import Problem
from demo_site.models import Batch
from demo_site.tasks import TaskResultDoesNotExist, smoke_batch

PLACES = 40
"""How many batches are smoked at a time."""


class Conflict(Problem):
    """What is asked for does not go together with what there is."""

    status = 409


async def fill(meats: Sequence[str], flavor: str) -> list[Batch]:
    """Begin to smoke a batch of each meat.

    Raises:
        Conflict: they have no room.
        BackgroundQueueFull: the server has too much to do.
    """
    taken = await Batch.objects.filter(status__in=Batch.UNFINISHED).acount()
    if taken + len(meats) > PLACES:
        raise Conflict(f"The smoker has {PLACES} places, and {taken} of them are taken.")
    return [await _start(meat, flavor) for meat in meats]


async def _start(meat: str, flavor: str) -> Batch:
    batch = await Batch.objects.acreate(meat=meat, flavor=flavor)
    try:
        result = await smoke_batch.aenqueue(batch.pk)
    except BaseException:
        await batch.adelete()  # nobody would ever smoke it
        raise
    await Batch.objects.filter(pk=batch.pk).aupdate(task_id=result.id)
    return batch


async def ask_for_the_silent() -> None:
    """Find out what has become of batches whose tasks show no sign of life.

    In memory, a task ends with its process and cannot say so any more.
    """
    now = timezone.now()
    silent = Batch.objects.filter(status__in=Batch.UNFINISHED, seen_at__lt=now - patience())
    async for batch in silent:
        unchanged = Batch.objects.filter(pk=batch.pk, seen_at=batch.seen_at)
        try:
            ended = (await smoke_batch.aget_result(batch.task_id)).is_finished
        except TaskResultDoesNotExist:
            await unchanged.aupdate(status=Batch.Status.LOST, ended_at=now)
            continue
        if ended:  # cancelled before it began
            await unchanged.aupdate(status=Batch.Status.CANCELLED, ended_at=now)
        else:
            await unchanged.aupdate(seen_at=now)


def patience() -> timedelta:
    """Return how long a task may be silent: it speaks at every step, and a machine may be busy."""
    return timedelta(seconds=15 + ceil(6 * settings.DEMO_STEP_SECONDS))
