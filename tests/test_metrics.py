"""What is counted for Prometheus, and what a scrape of it says."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import AsyncClient
from django.urls import include, path
from prometheus_client import REGISTRY
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from asyncviews import AsyncView, add_background_task, metrics
from asyncviews.asgi import ASGIHandler, StartupFailed, get_asgi_application, lifespan
from asyncviews.metrics import MeteredHandler, Metrics
from tests.conftest import failing_once, http_scope, until
from tests.test_docs import DOCS

entered, leave = asyncio.Event(), asyncio.Event()


class Page(AsyncView):
    async def get(self, request, pk: int):
        return HttpResponse(status=200 + pk)

    async def delete(self, request, pk: int):
        raise ValueError("no")


class Slow(AsyncView):
    async def get(self, request):
        entered.set()
        await leave.wait()
        return HttpResponse()


def function(request):
    return HttpResponse()


urlpatterns = [
    path("metrics/", Metrics.as_view()),
    path("shop/", include([path("<int:pk>/", Page.as_view())])),
    path("slow/", Slow.as_view()),
    path("function/", function),
]


@pytest.fixture(autouse=True)
def metrics_on(settings):
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = []
    settings.ASYNCVIEWS = {"METRICS": True}


@pytest.fixture
def counted() -> Callable[..., float]:
    """By how much a sample has grown since the last time it was asked for."""
    before: dict[tuple, float] = {}

    def ask(name: str, **labels: str) -> float:
        now = REGISTRY.get_sample_value(f"asyncviews_{name}", labels) or 0.0
        key = (name, *labels.items())
        grown = now - before.get(key, 0.0)
        before[key] = now
        return grown

    return ask


VIEW = f"{__name__}.Page"


@pytest.mark.parametrize(
    ("target", "method", "labels"),
    [
        ("/shop/0/", "GET", {"view": VIEW, "method": "GET", "status": "200"}),
        ("/shop/4/", "GET", {"view": VIEW, "method": "GET", "status": "204"}),
        ("/shop/0/", "HEAD", {"view": VIEW, "method": "HEAD", "status": "200"}),
        ("/shop/0/", "DELETE", {"view": VIEW, "method": "DELETE", "status": "500"}),
        ("/shop/0/", "BREW", {"view": VIEW, "method": "other", "status": "405"}),
        ("/shop/x/", "GET", {"view": "", "method": "GET", "status": "404"}),
        ("/function/", "GET", {"view": f"{__name__}.function", "method": "GET", "status": "200"}),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
async def test_a_request_is_counted(get, counted, caplog, target, method, labels):
    timed = {name: labels[name] for name in ("view", "method")}
    counted("http_requests_total", **labels)
    counted("http_request_duration_seconds_count", **timed)
    await get(target, method=method, handler=MeteredHandler)
    assert counted("http_requests_total", **labels) == 1
    assert counted("http_request_duration_seconds_count", **timed) == 1


async def test_a_request_whose_client_leaves_is_counted_as_aborted(counted):
    labels = {"view": f"{__name__}.Slow", "method": "GET", "status": "aborted"}
    counted("http_requests_total", **labels)
    entered.clear()
    communicator = ApplicationCommunicator(MeteredHandler(), http_scope("/slow/"))
    await communicator.send_input({"type": "http.request", "body": b""})
    await until(entered.is_set)
    assert counted("http_requests_in_flight") == 1
    await communicator.send_input({"type": "http.disconnect"})
    await communicator.wait(5)
    assert counted("http_requests_in_flight") == -1
    assert counted("http_requests_total", **labels) == 1


async def test_background_tasks_are_counted(counted):
    def fail() -> None:
        raise ValueError("no")

    async def hang() -> None:
        await asyncio.Event().wait()

    metrics.collect()
    states = ("succeeded", "failed", "cancelled")
    for state in states:
        counted("background_tasks_ended_total", state=state)
    async with lifespan():
        await add_background_task(function, None)
        with pytest.raises(ValueError, match="no"):
            await add_background_task(fail)
        hanging = add_background_task(hang)
        await until(lambda: hanging.state == "running")
        metrics.collect()
        assert counted("background_tasks", state="running") == 1
        hanging.cancel()
    assert counted("background_tasks", state="running") == -1
    ended = {state: counted("background_tasks_ended_total", state=state) for state in states}
    assert ended == {"succeeded": 1, "failed": 1, "cancelled": 1}


async def test_threads_are_counted(settings, counted):
    settings.ASYNCVIEWS |= {"BACKGROUND_THREADS": 3}
    metrics.collect()
    counted("threads_leased", pool="background")
    async with lifespan():
        begun, end = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            await sync_to_async(int)()
            begun.set()
            await end.wait()

        task = add_background_task(work)
        await begun.wait()
        metrics.collect()
        assert REGISTRY.get_sample_value("asyncviews_threads", {"pool": "background"})
        end.set()
        await task
    limit = REGISTRY.get_sample_value("asyncviews_threads_limit", {"pool": "background"})
    assert limit == 3


async def test_the_lag_of_the_event_loop_is_measured(monkeypatch, counted):
    monkeypatch.setattr(metrics, "SAMPLE_INTERVAL", 0.001)
    counted("event_loop_lag_seconds_count")
    async with lifespan():
        await until(lambda: counted("event_loop_lag_seconds_count"))


async def test_a_failure_does_not_end_the_sampling(monkeypatch, counted, caplog):
    monkeypatch.setattr(metrics, "SAMPLE_INTERVAL", 0.001)
    stats = failing_once(metrics.runner.stats, OSError("once"))
    monkeypatch.setattr(metrics.runner, "stats", stats)
    counted("event_loop_lag_seconds_count")
    async with lifespan():
        await until(lambda: stats.called)
        await until(lambda: counted("event_loop_lag_seconds_count"))
    assert [r.getMessage() for r in caplog.records] == [
        "The sampling of metrics failed, and goes on."
    ]


async def scrape(accept: str = "") -> HttpResponse:
    return await AsyncClient().get("/metrics/", headers={"Accept": accept})


async def test_a_scrape_can_be_parsed_and_has_every_metric(get):
    await get("/shop/0/", handler=MeteredHandler)
    response = await scrape()
    families = {family.name: family for family in parse(response.text)}
    assert documented() <= set(families)
    assert families["asyncviews_event_loop_lag_seconds"].type == "histogram"
    assert response["Content-Type"].startswith("text/plain; version=")


async def test_openmetrics_is_spoken_to_who_asks_for_it(get):
    await get("/shop/0/", handler=MeteredHandler)
    response = await scrape("application/openmetrics-text; version=1.0.0")
    assert response["Content-Type"].startswith("application/openmetrics-text")
    assert documented() <= {family.name for family in parse_openmetrics(response.text)}


def documented() -> set[str]:
    text = (DOCS / "reference/metrics.md").read_text()
    names = re.findall(r"^\| `(asyncviews_\w+)` \|", text, re.MULTILINE)
    return {name.removesuffix("_total") for name in names}


def test_the_reference_has_every_metric():
    ours = [name for name in REGISTRY._names_to_collectors if name.startswith("asyncviews_")]
    families = {
        family.name
        for collector in {REGISTRY._names_to_collectors[name] for name in ours}
        for family in collector.collect()
    }
    assert documented() == families


def slow(get_response):
    return lambda request: get_response(request)  # noqa: PLW0108 - as middleware is


def test_hops_are_those_of_the_middleware_that_was_loaded(settings):
    security = "django.middleware.security.SecurityMiddleware"
    settings.MIDDLEWARE = [security, f"{__name__}.slow"]
    MeteredHandler()
    name = "asyncviews_middleware_hops"
    assert REGISTRY.get_sample_value(name, {"middleware": f"{__name__}.slow"}) == 1
    assert REGISTRY.get_sample_value(name, {"middleware": security}) == 0


def test_off_costs_nothing(settings):
    settings.ASYNCVIEWS = {}
    assert type(get_asgi_application()) is ASGIHandler
    settings.ASYNCVIEWS = {"METRICS": True}
    assert type(get_asgi_application()) is MeteredHandler


async def test_the_view_says_that_nothing_is_counted(settings):
    settings.ASYNCVIEWS = {}
    with pytest.raises(ImproperlyConfigured, match=r'ASYNCVIEWS\["METRICS"\] must be True'):
        await scrape()


async def test_a_missing_package_stops_the_start(monkeypatch):
    monkeypatch.delitem(sys.modules, "asyncviews.metrics")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(StartupFailed, match=r"pip install 'asyncviews\[metrics\]'"):
        async with lifespan():
            pass
