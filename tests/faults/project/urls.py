"""How tasks are enqueued, and asked for."""

import os

from asgiref.sync import sync_to_async
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path

from asyncviews import AsyncView, Body, Query
from asyncviews.tasks.compat import TaskResultDoesNotExist, task_backends
from tests.faults.project import tasks


@transaction.atomic
def enqueue(numbers: range, *, poison: bool) -> list[str]:
    """Enqueue by turns a coroutine function and a plain one; return the ids of the results."""
    healthy = (tasks.wait, tasks.block)
    return [(tasks.poison if poison else healthy[n % 2]).enqueue(n).id for n in numbers]


class Enqueue(AsyncView):
    async def post(
        self, request: HttpRequest, first: Query[int], count: Query[int], poison: Query[bool]
    ) -> JsonResponse:
        ids = await sync_to_async(enqueue)(range(first, first + count), poison=poison)
        return JsonResponse({"pid": os.getpid(), "ids": ids})


class Statuses(AsyncView):
    async def post(self, request: HttpRequest, ids: Body[list[str]]) -> JsonResponse:
        return JsonResponse(await sync_to_async(statuses)(ids), safe=False)


def statuses(ids: list[str]) -> list[str]:
    """Return how those results stand; of one that is not known, an empty string."""
    found = []
    for result_id in ids:
        try:
            found.append(str(task_backends["default"].get_result(result_id).status))
        except TaskResultDoesNotExist:
            found.append("")
    return found


urlpatterns = [path("enqueue/", Enqueue.as_view()), path("statuses/", Statuses.as_view())]
