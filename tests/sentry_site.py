"""A site with Sentry, in a process of its own: Sentry patches Django for good.

``python -m tests.sentry_site`` answers requests that overlap and prints the events as JSON lines.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import django
import sentry_sdk
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.transport import Transport

from tests.conftest import http_scope

barrier = asyncio.Barrier(3)


class Printing(Transport):
    def capture_envelope(self, envelope: Any) -> None:
        for item in envelope.items:
            event = item.payload.json or {}
            fields = {key: event.get(key) for key in ("message", "type", "transaction", "user")}
            sys.stdout.write(
                json.dumps(fields | {"url": event.get("request", {}).get("url")}) + "\n"
            )


async def view(request: HttpRequest, name: str) -> HttpResponse:
    if name != "nobody":
        sentry_sdk.set_user({"id": name})
    await barrier.wait()
    sentry_sdk.capture_message(name)
    await barrier.wait()
    return HttpResponse(name)


urlpatterns = [path("hello/<name>/", view)]


async def answer(application: Any, name: str) -> None:
    received = [{"type": "http.request", "body": b""}]

    async def receive() -> dict[str, Any]:
        return received.pop() if received else await asyncio.Event().wait()

    async def send(message: dict[str, Any]) -> None:
        pass

    await application(http_scope(f"/hello/{name}/"), receive, send)


async def main() -> None:
    from asyncviews.asgi import get_asgi_application

    application = get_asgi_application()
    await asyncio.gather(*(answer(application, name) for name in ("ann", "bob", "nobody")))


if __name__ == "__main__":
    sentry_sdk.init(
        dsn="http://key@127.0.0.1/1",
        transport=Printing,
        integrations=[DjangoIntegration()],
        auto_enabling_integrations=False,
        traces_sample_rate=1.0,
    )
    settings.configure(
        SECRET_KEY="sentry",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=["asyncviews"],
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    )
    django.setup()
    asyncio.run(main())
    sentry_sdk.flush()
