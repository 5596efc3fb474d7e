"""Metrics for Prometheus: a handler that counts requests, a sampler, and a view that is scraped.

All of it is there only if ``ASYNCVIEWS["METRICS"]`` is on; nothing imports this module otherwise.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter as Tally
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views import View

from asyncviews.asgi import ASGIHandler
from asyncviews.background import State, runner
from asyncviews.conf import get_settings
from asyncviews.handler import Receive, Scope, Send, request_threads
from asyncviews.pulse import Repeated
from asyncviews.urlconf import view_path
from asyncviews.views import AsyncView

try:
    from prometheus_client import (
        REGISTRY,
        CollectorRegistry,
        Counter,
        Gauge,
        Histogram,
        multiprocess,
    )
    from prometheus_client.exposition import choose_encoder
except ImportError as exc:
    raise ImproperlyConfigured(
        "Metrics need prometheus-client: pip install 'asyncviews[metrics]'"
    ) from exc

logger = logging.getLogger("asyncviews.metrics")

SAMPLE_INTERVAL = 0.5
"""Seconds between two looks at what is not counted as it happens."""

_METHODS = frozenset(name.upper() for name in View.http_method_names)
_LAG_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

REQUESTS = Counter(
    "asyncviews_http_requests",
    "Requests by view and status; aborted are those whose client left before the response.",
    ["view", "method", "status"],
)
DURATION = Histogram(
    "asyncviews_http_request_duration_seconds",
    "From the request, its body included, to the beginning of the response.",
    ["view", "method"],
)


def _gauge(name: str, description: str, *labels: str) -> Gauge:
    return Gauge(f"asyncviews_{name}", description, labels, multiprocess_mode="livesum")


IN_FLIGHT = _gauge("http_requests_in_flight", "Requests that are being answered, streams included.")
TASKS = _gauge("background_tasks", "Background tasks that have not ended, by state.", "state")
TASKS_ENDED = Counter(
    "asyncviews_background_tasks_ended", "Background tasks that have ended, by state.", ["state"]
)
THREADS = _gauge("threads", "Threads there are.", "pool")
THREADS_LIMIT = _gauge("threads_limit", "Threads there may be.", "pool")
THREADS_LEASED = _gauge("threads_leased", "Threads that serve a request or a task.", "pool")
THREADS_STUCK = _gauge("threads_stuck", "Threads whose task has timed out, and that go on.", "pool")
LEASES_WAITING = _gauge("thread_leases_waiting", "Requests or tasks that wait for one.", "pool")
LAG = Histogram(
    "asyncviews_event_loop_lag_seconds",
    f"By how much the event loop was late, measured every {SAMPLE_INTERVAL:g} s.",
    buckets=_LAG_BUCKETS,
)

MIDDLEWARE_HOPS = Gauge(
    "asyncviews_middleware_hops",
    "How often each request is sent to a thread for an entry of MIDDLEWARE.",
    ["middleware"],
    multiprocess_mode="livemax",
)

_counted: Tally[State] = Tally()


class MeteredHandler(ASGIHandler):
    """The application's handler, which counts."""

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async)
        for entry in self.middleware.loaded:
            MIDDLEWARE_HOPS.labels(entry.path).set(entry.hops)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        with IN_FLIGHT.track_inprogress():
            await super().__call__(scope, receive, send)

    async def run_get_response(self, request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        status = "aborted"
        try:
            response = await super().run_get_response(request)
            status = str(response.status_code)
        finally:
            match = request.resolver_match
            view = view_path(match.func) if match else ""
            method = request.method if request.method in _METHODS else "other"
            REQUESTS.labels(view, method, status).inc()
            DURATION.labels(view, method).observe(time.perf_counter() - began)
        return response


@contextmanager
def sampled(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Measure the lag of the running event loop, and all the rest, for the length of a block."""
    sampler = _Sampler(loop)
    try:
        yield
    finally:
        sampler.stop()


class _Sampler:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._collect = Repeated(collect, "The sampling of metrics", logger)
        self._schedule()

    def _schedule(self) -> None:
        due = self._loop.time() + SAMPLE_INTERVAL
        self._timer = self._loop.call_at(due, self._sample, due)

    def _sample(self, due: float) -> None:
        LAG.observe(max(0.0, self._loop.time() - due))
        self._collect()
        self._schedule()

    def stop(self) -> None:
        self._timer.cancel()
        self._collect()


def collect() -> None:
    """Bring up to date what is not counted as it happens. On the event loop only."""
    settings, stats = get_settings(), runner.stats()
    TASKS.labels(State.QUEUED).set(stats.queued)
    TASKS.labels(State.RUNNING).set(stats.running)
    for state, count in stats.ended.items():
        TASKS_ENDED.labels(state).inc(max(0, count - _counted[state]))  # 0 in a forked child
        _counted[state] = count
    for name, pool, limit in (
        ("request", request_threads, settings.request_threads),
        ("background", runner.threads, settings.background_threads),
    ):
        THREADS_LIMIT.labels(name).set(limit)
        THREADS.labels(name).set(pool.size)
        THREADS_LEASED.labels(name).set(pool.busy)
        LEASES_WAITING.labels(name).set(pool.waiting)
    THREADS_STUCK.labels("background").set(stats.threads_stuck)


class Metrics(AsyncView):
    """What Prometheus scrapes: all metrics of the default registry, and so the project's own, too.

    With ``PROMETHEUS_MULTIPROC_DIR`` in the environment they are those of all worker processes.
    """

    async def get(self, request: HttpRequest) -> HttpResponse:
        if not get_settings().metrics:
            raise ImproperlyConfigured(
                'The metrics view is in the URLconf, but nothing is counted: ASYNCVIEWS["METRICS"] '
                "must be True."
            )
        collect()
        registry = REGISTRY
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return HttpResponse(encode(registry), content_type=content_type)
