"""The contenders: each answers the same validated query, in the way of its framework.

`application()` makes the one that the environment names, for a server; `make()` makes it for the
benchmarks that run in process. All Django contenders live in one project, at paths of their own.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import django
from django.conf import settings

MIDDLEWARE = {
    "none": [],
    "startproject": [
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
}
DJANGO_VIEWS = ("function", "cbv", "ninja", "modern_rest", "adrf", "asyncview")
DJANGO_HANDLERS = ("django", "asyncviews")
BODY_VIEWS = ("ninja", "modern_rest", "asyncview")
OTHERS = ("bare", "starlette", "fastapi", "fastapi_model", "litestar")
QUERY = b"to_smoke=ribs,brisket&flavor=hickory"
INVALID_QUERY = b"flavor=" + b"x" * 61
ANSWER = {"to_smoke": ["ribs", "brisket"], "flavor": "hickory"}


def configure() -> None:
    """Make this process a Django project, once."""
    if settings.configured:
        return
    settings.configure(
        ALLOWED_HOSTS=["*"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
        ],
        LOGGING={
            "version": 1,
            "handlers": {"null": {"class": "logging.NullHandler"}},
            "loggers": {"django": {"handlers": ["null"], "propagate": False}},
        },
        REST_FRAMEWORK={
            "DEFAULT_AUTHENTICATION_CLASSES": [],
            "DEFAULT_PERMISSION_CLASSES": [],
            "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
            "UNAUTHENTICATED_USER": None,
        },
        ROOT_URLCONF="tests.benchmarks.project",
        SECRET_KEY="benchmarks",
        USE_TZ=True,
    )
    django.setup()


def django_handler(handler: str, middleware: str) -> Any:
    """Return that handler with that middleware."""
    from django.test import override_settings

    configure()
    with override_settings(MIDDLEWARE=MIDDLEWARE[middleware]):
        return new_handler(handler)


def new_handler(name: str) -> Any:
    """Return Django's handler, for ASGI or for WSGI, or ours, with the settings as they are."""
    from django.core.handlers.asgi import ASGIHandler as DjangosHandler
    from django.core.handlers.wsgi import WSGIHandler

    from asyncviews.asgi import ASGIHandler

    handlers = {"django": DjangosHandler, "django, WSGI": WSGIHandler, "asyncviews": ASGIHandler}
    return handlers[name]()


def make(name: str, middleware: str = "none") -> tuple[Any, str]:
    """Return the application of that name, and the path where it serves the query."""
    if name in OTHERS:
        return globals()[name](), "/smoke/"
    view, handler = name.split("@")
    return django_handler(handler, middleware), f"/{view}/"


def application() -> Any:
    """Return the application that CONTENDER and MIDDLEWARE name."""
    made, _ = make(os.environ["CONTENDER"], os.environ.get("MIDDLEWARE", "none"))
    return made


def names() -> list[str]:
    return [*OTHERS, *(f"{v}@{h}" for v in DJANGO_VIEWS for h in DJANGO_HANDLERS)]


def make_for_bodies(name: str) -> tuple[Any, str]:
    """Return the application of that name, and the path where it takes bodies."""
    if name == "fastapi":
        return fastapi_body(), "/body/"
    view, handler = name.split("@")
    return django_handler(handler, "none"), f"/body/{view}/"


def names_for_bodies() -> list[str]:
    return ["fastapi", *(f"{view}@{h}" for view in BODY_VIEWS for h in DJANGO_HANDLERS)]


# What is not Django


def bare() -> Any:
    """The limit: no framework, and nothing read or validated."""
    import json

    body = json.dumps(ANSWER).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]

    async def app(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        if scope["type"] == "lifespan":
            return
        await receive()
        if scope["path"] == "/wait/":
            await asyncio.sleep(1)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def starlette() -> Any:
    from pydantic import ValidationError
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, Response, StreamingResponse
    from starlette.routing import Route

    from tests.benchmarks.schema import SmokeQuery, ticks

    async def smoke(request: Any) -> Response:
        try:
            query = SmokeQuery.model_validate(dict(request.query_params))
        except ValidationError as exc:
            return JSONResponse(exc.errors(include_context=False), status_code=422)
        return Response(query.model_dump_json(), media_type="application/json")

    async def wait(request: Any) -> Response:
        await asyncio.sleep(1)
        return Response("waited")

    async def stream(request: Any) -> Response:
        return StreamingResponse(ticks(), media_type="text/event-stream")

    routes = [Route("/smoke/", smoke), Route("/wait/", wait), Route("/stream/", stream)]
    return Starlette(routes=routes)


def fastapi() -> Any:
    """FastAPI, whose function makes the response itself, as the views of Django do."""
    from typing import Annotated

    from fastapi import FastAPI, Query, Response

    from tests.benchmarks.schema import SmokeQuery

    async def smoke(query: Any) -> Any:
        return Response(query.model_dump_json(), media_type="application/json")

    smoke.__annotations__ = {"query": Annotated[SmokeQuery, Query()]}
    app = FastAPI()
    app.get("/smoke/")(smoke)
    return app


def fastapi_model() -> Any:
    """FastAPI, which validates and serializes what the function returns."""
    from typing import Annotated

    from fastapi import FastAPI, Query

    from tests.benchmarks.schema import SmokeQuery

    async def smoke(query: Any) -> Any:
        return query

    smoke.__annotations__ = {"query": Annotated[SmokeQuery, Query()], "return": SmokeQuery}
    app = FastAPI()
    app.get("/smoke/")(smoke)
    return app


def fastapi_body() -> Any:
    from fastapi import FastAPI

    from tests.benchmarks.bodies import Order, answer

    async def body(order: Any) -> Any:
        return answer(order)

    body.__annotations__ = {"order": Order, "return": list[Order]}
    app = FastAPI()
    app.post("/body/")(body)
    return app


def litestar() -> Any:
    from litestar import Litestar, Request, get
    from litestar.exceptions import ValidationException
    from pydantic import ValidationError

    from tests.benchmarks.schema import SmokeQuery

    async def smoke(request: Any) -> Any:
        try:
            return SmokeQuery.model_validate(dict(request.query_params))
        except ValidationError as exc:
            raise ValidationException(str(exc)) from exc

    smoke.__annotations__ = {"request": Request, "return": SmokeQuery}
    return Litestar(route_handlers=[get("/smoke/")(smoke)], openapi_config=None)
