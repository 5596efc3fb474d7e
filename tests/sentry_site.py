"""A site with Sentry, in a process of its own: Sentry patches Django for good.

``python -m tests.sentry_site`` answers requests that overlap and prints the events as JSON lines, and
what they have cost. ``django`` as argument has Django's own handler answer, ``around`` puts
`SentryAsgiMiddleware` around the application.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import django
import sentry_sdk
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path
from sentry_sdk.integrations.asgi import SentryAsgiMiddleware
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.transport import Transport

from tests.conftest import http_scope

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

barrier = asyncio.Barrier(3)


def say(**fields: Any) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")


class Printing(Transport):
    def capture_envelope(self, envelope: Any) -> None:
        for item in envelope.items:
            event = item.payload.json or {}
            fields = {key: event.get(key) for key in ("message", "type", "transaction", "user")}
            spans = [
                [span["description"], (span.get("tags") or {}).get("django.function_name")]
                for span in event.get("spans", ())
                if span["op"] == "middleware.django"
            ]
            say(**fields, url=event.get("request", {}).get("url"), spans=spans)


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
    application = ASGIHandler() if sys.argv[1:] == ["django"] else ours()
    await asyncio.gather(*(answer(application, name) for name in ("ann", "bob", "nobody")))
    costs = middleware_costs()
    hops = {cost.path: [cost.hops, cost.summary] for cost in costs}
    say(type="costs", threads=request_threads.size, hops=hops)


def ours() -> Any:
    from asyncviews.asgi import get_asgi_application

    application = get_asgi_application()
    return SentryAsgiMiddleware(application) if sys.argv[1:] == ["around"] else application


if __name__ == "__main__":
    sentry_sdk.init(
        dsn="http://key@127.0.0.1/1",
        transport=Printing,
        integrations=[DjangoIntegration(middleware_spans=True)],
        auto_enabling_integrations=False,
        traces_sample_rate=1.0,
    )
    settings.configure(
        SECRET_KEY="sentry",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=[
            "asyncviews",
            *(
                f"django.contrib.{name}"
                for name in ("auth", "contenttypes", "messages", "sessions")
            ),
        ],
        MIDDLEWARE=MIDDLEWARE,
        STATIC_URL="/static/",
    )
    django.setup()
    from asyncviews.handler import request_threads
    from asyncviews.middleware_costs import middleware_costs

    asyncio.run(main())
    sentry_sdk.flush()
