"""Background tasks as spans of OpenTelemetry, linked to the request that started them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

from asyncviews.conf import get_settings

if TYPE_CHECKING:
    from asyncviews.background.task import BackgroundTask


def span_of(task: BackgroundTask[Any]) -> AbstractContextManager[Any]:
    """Return a block in which a task runs; a span if ``ASYNCVIEWS["TELEMETRY"]`` is on."""
    return _span(task) if get_settings().telemetry else nullcontext()


@cache
def require() -> Any:
    """Return the module of the API.

    Raises:
        ImproperlyConfigured: it is not installed.
    """
    try:
        from opentelemetry import trace
    except ImportError as exc:
        raise ImproperlyConfigured(
            "Telemetry needs opentelemetry-api: pip install 'asyncviews[telemetry]'"
        ) from exc
    return trace


@contextmanager
def _span(task: BackgroundTask[Any]) -> Iterator[Any]:
    """Trace a task. It begins a trace of its own: the request is over, and does not wait for it.

    The span that was current when the task was added is known from the task's context.
    """
    trace = require()
    starter = trace.get_current_span().get_span_context()
    tracer = trace.get_tracer("asyncviews", version("asyncviews"))
    with tracer.start_as_current_span(
        task.name,
        context=_no_parent(),
        kind=trace.SpanKind.CONSUMER,
        links=[trace.Link(starter)] if starter.is_valid else [],
        attributes={"asyncviews.task.id": task.id, "asyncviews.task.origin": task.origin or ""},
    ) as span:
        try:
            yield span
        finally:
            span.set_attribute("asyncviews.task.attempts", task.attempts)


def _no_parent() -> Any:
    from opentelemetry.context import Context

    return Context()
