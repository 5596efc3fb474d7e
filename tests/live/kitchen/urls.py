"""Ways to enqueue many tasks at once, and requests that take their time."""

import asyncio

from asgiref.sync import sync_to_async
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from asyncviews import AsyncView, BackgroundTaskMixin, Query, add_background_task
from tests.live.kitchen import contract, tasks


class Enqueue(AsyncView):
    """Enqueue tasks with the numbers from `first` on; answer with those that were accepted."""

    async def get(
        self,
        request: HttpRequest,
        count: Query[int],
        first: Query[int] = 0,
        name: Query[str] = "smoke",
    ) -> HttpResponse:
        accepted = await sync_to_async(self.enqueue)(
            getattr(tasks, name), range(first, first + count)
        )
        return HttpResponse(",".join(map(str, accepted)))

    @transaction.atomic
    def enqueue(self, task, numbers):
        for number in numbers:
            task.enqueue(number)
        return numbers


class Poison(AsyncView):
    """Enqueue, all at once, healthy tasks and in their midst one that ends its process."""

    async def get(self, request: HttpRequest, count: Query[int]) -> HttpResponse:
        await sync_to_async(self.enqueue)(count // 2)
        return HttpResponse("poisoned")

    @transaction.atomic
    def enqueue(self, half):
        for number in range(half):
            tasks.smoke.enqueue(number)
        tasks.kills.enqueue(5000)
        for number in range(half, 2 * half):
            tasks.smoke.enqueue(number)


class Add(BackgroundTaskMixin, AsyncView):
    async def get(self, request: HttpRequest, count: Query[int]) -> HttpResponse:
        for number in range(count):
            add_background_task(tasks.cook, number)
        return HttpResponse("added")


class Contract(AsyncView):
    async def get(self, request: HttpRequest) -> JsonResponse:
        return JsonResponse({name: found async for name, found in contract.findings()})


class Sleeps(AsyncView):
    async def get(self, request: HttpRequest, seconds: Query[float]) -> HttpResponse:
        await asyncio.sleep(seconds)
        return HttpResponse("slept")


urlpatterns = [
    path("enqueue/", Enqueue.as_view()),
    path("poison/", Poison.as_view()),
    path("add/", Add.as_view()),
    path("contract/", Contract.as_view()),
    path("sleep/", Sleeps.as_view()),
]
