"""A project with Sentry, in a process of its own: its SDK patches Django for good.

Prints what Sentry would get, and how many requests stay in memory while a task of theirs runs.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys
import weakref
from collections.abc import Callable
from typing import Any

import django
import sentry_sdk
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler as DjangosHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.transport import Transport

settings.configure(
    ALLOWED_HOSTS=["testserver"],
    INSTALLED_APPS=["asyncviews"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="test",
    TASKS={"default": {"BACKEND": "asyncviews.tasks.AsyncioBackend"}},
)
django.setup()

from asgiref.testing import ApplicationCommunicator  # noqa: E402

from asyncviews import AsyncView, BackgroundTaskMixin, add_background_task  # noqa: E402
from asyncviews.asgi import ASGIHandler, lifespan  # noqa: E402
from asyncviews.background import runner  # noqa: E402
from tests.conftest import http_scope  # noqa: E402

if django.VERSION >= (6, 0):
    from django.tasks import task
else:
    from django_tasks import task

events: list[dict[str, Any]] = []


class Memory(Transport):
    """Keeps events instead of sending them."""

    def capture_envelope(self, envelope: Envelope) -> None:
        if event := envelope.get_event():
            events.append(event)


sentry_sdk.init(
    dsn="http://key@127.0.0.1:1/1",
    transport=Memory,
    integrations=[DjangoIntegration()],
    send_default_pii=True,
    traces_sample_rate=0.0,
)
sentry_sdk.set_tag("region", "eu")


def say(text: str) -> None:
    sentry_sdk.capture_message(text)


async def asynchronous(user: str) -> None:
    say(f"task {user} begins")
    sentry_sdk.set_user({"id": f"task of {user}"})
    sentry_sdk.set_tag("task", user)
    await asyncio.sleep(0.01)
    await sync_to_async(say)(f"task {user} ends")
    raise ValueError(user)


def synchronous(user: str) -> None:
    say(f"sync {user} begins")
    sentry_sdk.set_user({"id": f"sync of {user}"})
    logging.getLogger("project").error("sync %s fails", user)


@task
def enqueued(user: str) -> None:
    say(f"enqueued {user} begins")
    sentry_sdk.set_user({"id": f"enqueued of {user}"})
    raise ValueError(f"enqueued {user}")


class Page(BackgroundTaskMixin, AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        user = request.GET["user"]
        sentry_sdk.set_user({"id": user})
        sentry_sdk.set_tag("request", user)
        self.add_background_task(asynchronous, user)
        self.add_background_task(synchronous, user)
        await enqueued.aenqueue(user)
        await asyncio.sleep(0.01)
        say(f"request {user}")
        return HttpResponse("started")


requests: list[weakref.ref[HttpRequest]] = []
gate = asyncio.Event()


class Waits(BackgroundTaskMixin, AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        requests.append(weakref.ref(request))
        self.add_background_task(gate.wait)
        return HttpResponse("started")


urlpatterns = [path("", Page.as_view()), path("waits/", Waits.as_view())]


async def get(handler: Callable[..., Any], address: str, query: str = "") -> None:
    communicator = ApplicationCommunicator(handler, http_scope(address, query=query))
    await communicator.send_input({"type": "http.request", "body": b""})
    await communicator.receive_output(5)
    await communicator.wait(5)


async def main(handler: Callable[..., Any]) -> int:
    async with lifespan():
        await asyncio.gather(*(get(handler, "/", f"user=u{number}") for number in range(10)))
        await runner.wait(10, lambda task: True)
        for number in range(2):
            add_background_task(say, f"nobody {number} begins")
        await runner.wait(10, lambda task: True)
        await asyncio.gather(*(get(handler, "/waits/") for _ in range(5)))
        await asyncio.sleep(0.05)
        gc.collect()
        kept = sum(request() is not None for request in requests)
        gate.set()
    return kept


if __name__ == "__main__":
    kept = asyncio.run(main({"django": DjangosHandler, "ours": ASGIHandler}[sys.argv[1]]()))
    sys.stdout.write(json.dumps({"kept": kept, "events": events}, default=str))
