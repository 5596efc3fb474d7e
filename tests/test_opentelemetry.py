"""What OpenTelemetry's instrumentations trace of requests is what they trace under Django's handler."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpResponse
from django.urls import path
from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from asyncviews import AsyncView, BackgroundTaskMixin
from asyncviews.asgi import get_asgi_application, lifespan
from asyncviews.background import runner
from asyncviews.handler import request_threads
from asyncviews.middleware_costs import middleware_costs
from tests.conftest import http_scope
from tests.test_inline import SEVEN, SHORT

OTEL = "opentelemetry.instrumentation.django.middleware.otel_middleware._DjangoMiddleware"

meeting: dict[str, asyncio.Barrier] = {}
tracers: dict[str, trace.Tracer] = {}


async def meet(request, name):
    """Two requests overlap here."""
    with tracers["own"].start_as_current_span(f"inside {name}"):
        await meeting["here"].wait()
    return HttpResponse(name)


def meet_in_thread(request, name):
    with tracers["own"].start_as_current_span(f"inside {name}"):
        return HttpResponse(name)


async def fail(request, name):
    raise ValueError(name)


async def smoke() -> None:
    with tracers["own"].start_as_current_span("in the background"):
        pass


class Task(BackgroundTaskMixin, AsyncView):
    async def get(self, request, name: str) -> HttpResponse:
        self.add_background_task(smoke)
        return HttpResponse()


def broken(request):
    return HttpResponse("broken", status=500)


handler500 = broken
urlpatterns = [
    path("meet/<name>/", meet),
    path("thread/<name>/", meet_in_thread),
    path("fail/<name>/", fail),
    path("task/<name>/", Task.as_view()),
]
pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db(transaction=True)]


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter) -> Iterator[TracerProvider]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracers["own"] = provider.get_tracer("tests")
    yield provider
    provider.shutdown()


@pytest.fixture
def instrumented(settings, provider) -> Iterator[Callable[..., None]]:
    settings.MIDDLEWARE = [SHORT[name] for name in SEVEN.split()]
    settings.ALLOWED_HOSTS = ["*"]
    instrumentor = DjangoInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    assert settings.MIDDLEWARE[0] == OTEL
    yield instrumentor
    instrumentor.uninstrument()


async def answer(application: Any, url: str) -> int:
    received = [{"type": "http.request", "body": b""}]
    sent = []

    async def receive():
        return received.pop() if received else await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    await application(http_scope(url), receive, send)
    return sent[0]["status"]


async def traced(application: Any, exporter: InMemorySpanExporter, *urls: str) -> list[Any]:
    """Return what is traced of requests that overlap: their spans, each with its parent's name."""
    meeting["here"] = asyncio.Barrier(2)
    exporter.clear()
    await asyncio.gather(*(answer(application, url) for url in urls))
    spans = exporter.get_finished_spans()
    names = {span.context.span_id: (span.name, target(span)) for span in spans}
    return sorted(
        (span.name, target(span), span.kind.name, names.get(span.parent and span.parent.span_id))
        for span in spans
    )


def target(span: ReadableSpan) -> str:
    return str(span.attributes.get("http.url"))


@pytest.mark.parametrize(
    "urls",
    [
        ("/meet/ann/", "/meet/bob/"),
        ("/thread/ann/", "/thread/bob/"),
        ("/fail/ann/", "/fail/bob/"),
        ("/nowhere/",),
    ],
)
@pytest.mark.parametrize("way", ["django", "asgi"])
async def test_spans_are_those_under_djangos_handler(way, urls, provider, exporter, request):
    if way == "django":
        request.getfixturevalue("instrumented")

    def application(handler: Any) -> Any:
        if way == "django":
            return handler
        return OpenTelemetryMiddleware(handler, tracer_provider=provider, exclude_spans=["receive"])

    expected = await traced(application(ASGIHandler()), exporter, *urls)
    found = await traced(application(get_asgi_application()), exporter, *urls)
    assert found == expected
    servers = [span for span in found if span[2] == SpanKind.SERVER.name]
    assert [span[1] for span in servers] == [f"http://testserver{url}" for url in urls]
    for name, _, _, parent in found:
        if name.startswith("inside "):  # and not in that of the other request
            assert parent[1].endswith(f"/{name.removeprefix('inside ')}/")


async def test_no_request_has_used_a_thread(instrumented, exporter):
    """OpenTelemetry's middleware is synchronous; what it does before and after only computes."""
    request_threads.retire(timeout=10)
    await traced(get_asgi_application(), exporter, "/meet/ann/", "/meet/bob/")
    assert request_threads.size == 0
    cost = middleware_costs()[0]
    assert (cost.path, cost.summary) == (OTEL, "inline")


async def test_hooks_of_the_project_get_the_thread_that_django_gives_them(
    settings, provider, exporter
):
    threads = []

    def hook(span, *args):
        threads.append(asyncio._get_running_loop())

    settings.MIDDLEWARE = []
    instrumentor = DjangoInstrumentor()
    instrumentor.instrument(tracer_provider=provider, request_hook=hook, response_hook=hook)
    try:
        (cost,) = middleware_costs()
        assert cost.summary == "thread, 2 hops: it calls hooks of the project"
        await traced(get_asgi_application(), exporter, "/meet/ann/", "/meet/bob/")
    finally:
        instrumentor.uninstrument()
    assert threads == [None] * 4


async def test_a_background_task_is_traced_with_the_request_that_added_it(instrumented, exporter):
    async with lifespan():
        application = get_asgi_application()
        await answer(application, "/task/ann/")
        await runner.drain(10)
        await answer(application, "/thread/bob/")
    spans = {span.name: span for span in exporter.get_finished_spans()}
    task, ann, bob = (
        spans[name] for name in ("in the background", "GET task/<name>/", "GET thread/<name>/")
    )
    assert task.parent.span_id == ann.context.span_id
    assert bob.parent is None
    assert bob.context.trace_id != ann.context.trace_id
