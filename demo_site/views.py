"""The front page, and the endpoints: what each answers at once. What then happens is in tasks.py.

The endpoints are GET, as in the article, so that a link is enough to start one.
"""

import logging

import httpx
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from asyncviews import AsyncView, BackgroundTaskMixin, Form, Query
from demo_site import smoker, tasks
from demo_site.batches import NewBatches, get_batch, latest
from demo_site.endpoints import GROUPS
from demo_site.models import Batch
from demo_site.schemas import FLAVOR, MEATS, SmokeQuery, Text, Weather

logger = logging.getLogger("demo_site.views")


def text(content: str) -> HttpResponse:
    """Answer in plain text, so that no browser takes what came with a link for markup."""
    return HttpResponse(content, content_type="text/plain; charset=utf-8")


def page_to_call(request: HttpRequest) -> str:
    return settings.DEMO_HTTP_URL or request.build_absolute_uri(reverse("index"))


class Index(AsyncView):
    """The smoker. Its page is complete without JavaScript; with it, it is live: see smoker.js."""

    async def get(self, request: HttpRequest) -> HttpResponse:
        context = {
            "groups": GROUPS,
            "batches": await latest(),
            "meats": MEATS,
            "flavor": FLAVOR,
            "blank": Batch(meat=""),
        }
        return render(request, "demo_site/index.html", context)

    async def post(self, request: HttpRequest, new: Form[NewBatches]) -> HttpResponse:
        await smoker.fill(new.meats, new.flavor)
        return redirect("index")


class CancelBatch(AsyncView):
    async def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        await (await get_batch(pk)).acancel()
        return redirect("index")


class RemoveBatch(AsyncView):
    async def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        await (await get_batch(pk)).adelete()
        return redirect("index")


class Async(BackgroundTaskMixin, AsyncView):
    """Answers at once; the work happens after the response, on the event loop."""

    async def get(self, request: HttpRequest) -> HttpResponse:
        self.add_background_task(tasks.http_call_async, page_to_call(request))
        return text("Non-blocking HTTP request")


def sync(request: HttpRequest) -> HttpResponse:
    """Do the work first and answer then: a synchronous view of Django, in a thread."""
    try:
        tasks.http_call_sync(page_to_call(request))
    except httpx.HTTPError:
        logger.exception("The HTTP call failed.")
    return text("Blocking HTTP request")


class SyncToAsync(BackgroundTaskMixin, AsyncView):
    """Answers at once; the blocking work happens after the response, in a thread."""

    async def get(self, request: HttpRequest) -> HttpResponse:
        self.add_background_task(tasks.http_call_sync, page_to_call(request))
        return text("Non-blocking HTTP request (via sync_to_async)")


class SmokeSomeMeats(AsyncView):
    """Reads a typed query; one that does not fit never gets here and is answered with 422.

    Smoking is a task of Django's, so that it can be done elsewhere: see ``DEMO_TASKS``.
    """

    async def get(self, request: HttpRequest, query: Query[SmokeQuery]) -> HttpResponse:
        await tasks.smoke.aenqueue(query.meats(), query.flavor)
        return text(f"Smoking some {query.phrase()}....")


class BurnSomeMeats(AsyncView):
    """Wrong on purpose: while this blocks, the worker does nothing else, for anyone."""

    async def get(self, request: HttpRequest) -> HttpResponse:
        tasks.oversmoke()
        return text("Burned some meats.")


class SendAnEmail(BackgroundTaskMixin, AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        self.add_background_task(tasks.send_email)
        return text("Sending an e-mail....")


class CallAnApi(BackgroundTaskMixin, AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        url = settings.DEMO_API_URL or request.build_absolute_uri(reverse("weather"))
        self.add_background_task(tasks.check_weather, url)
        return text("Checking the weather....")


class WriteAFile(BackgroundTaskMixin, AsyncView):
    async def get(self, request: HttpRequest, name: Query[Text] = "") -> HttpResponse:
        self.add_background_task(tasks.sign_guest_book, name)
        return text("Signing the guest book....")


class WeatherApi(AsyncView):
    """The third party, played by the demo itself so that it works offline."""

    async def get(self, request: HttpRequest) -> HttpResponse:
        weather = Weather(place="Memphis", sky="clear", celsius=24.5)
        return JsonResponse(weather.model_dump())
