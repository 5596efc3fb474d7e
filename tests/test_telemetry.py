"""Background tasks as spans of OpenTelemetry."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

import pytest
from django.http import HttpResponse
from django.urls import path
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from asyncviews import (
    AsyncView,
    BackgroundTaskMixin,
    add_background_task,
    background_task,
    telemetry,
)
from asyncviews.asgi import StartupFailed, lifespan

tracer = trace.get_tracer("tests")


async def smoke() -> None:
    with tracer.start_as_current_span("inside"):
        pass


@background_task(attempts=2, backoff=0.001, name="burn")
def fail() -> None:
    raise ValueError("burned")


class Traced(BackgroundTaskMixin, AsyncView):
    async def get(self, request):
        with tracer.start_as_current_span("request"):
            self.add_background_task(smoke)
            return HttpResponse()


urlpatterns = [path("traced/", Traced.as_view())]
pytestmark = pytest.mark.urls(__name__)


@pytest.fixture(scope="session")
def exporter() -> InMemorySpanExporter:
    """OpenTelemetry has one provider in a process, and for its whole life."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture(autouse=True)
def spans(exporter, settings) -> Iterator[InMemorySpanExporter]:
    settings.ASYNCVIEWS = {"TELEMETRY": True}
    exporter.clear()
    yield exporter
    exporter.clear()


def named(spans: InMemorySpanExporter, name: str):
    return next(span for span in spans.get_finished_spans() if span.name == name)


async def test_a_task_is_linked_to_the_request_that_started_it(get, spans):
    async with lifespan():
        await get("/traced/")
    request, task = named(spans, "request"), named(spans, f"{__name__}.smoke")
    assert [link.context for link in task.links] == [request.context]
    assert task.parent is None
    assert task.context.trace_id != request.context.trace_id
    assert task.kind is SpanKind.CONSUMER
    assert task.attributes["asyncviews.task.origin"] == "GET /traced/"
    assert task.attributes["asyncviews.task.attempts"] == 1


async def test_spans_of_the_task_itself_are_inside_of_it(get, spans):
    async with lifespan():
        await get("/traced/")
    inside, task = named(spans, "inside"), named(spans, f"{__name__}.smoke")
    assert inside.parent == task.context


async def test_a_failure_is_an_error_of_the_span(app_lifespan, spans):
    task = add_background_task(fail)
    with pytest.raises(ValueError, match="burned"):
        await task
    span = named(spans, "burn")
    assert span.status.status_code is StatusCode.ERROR
    assert span.events[0].attributes["exception.message"] == "burned"
    assert span.attributes["asyncviews.task.id"] == task.id
    assert span.attributes["asyncviews.task.attempts"] == 2
    assert span.links == ()


async def test_a_cancelled_task_ends_its_span(app_lifespan, spans):
    begun = asyncio.Event()

    @background_task(name="hang")
    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    task = add_background_task(hang)
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert named(spans, "hang").end_time


async def test_off_there_are_no_spans(settings, app_lifespan, spans):
    settings.ASYNCVIEWS = {}
    await add_background_task(smoke)
    assert [span.name for span in spans.get_finished_spans()] == ["inside"]


async def test_a_missing_package_stops_the_start(monkeypatch):
    telemetry.require.cache_clear()
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(StartupFailed, match=r"pip install 'asyncviews\[telemetry\]'"):
        async with lifespan():
            pass
