"""Background tasks as spans of OpenTelemetry, and with a scope of Sentry of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import Context
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
    from opentelemetry.context import Context as TraceContext

    return TraceContext()


def use_own_scope(task: BackgroundTask[Any], own: Context, process: Context) -> None:
    """Give a task scopes of Sentry in its context `own`, if Sentry is used.

    As in a Celery worker they are forks of those of the process, here of the context `process`: the
    task has neither the user, the tags nor the request of who adds it, and what it sets itself
    stays with it. Its events belong to the same trace.
    """
    sentry: Any = sys.modules.get("sentry_sdk")
    if sentry is None:
        return
    if hasattr(sentry, "get_isolation_scope") and sentry.is_initialized():
        own.run(_enter_scopes, sentry, task, *process.copy().run(_fork_scopes, sentry))


def _enter_scopes(sentry: Any, task: BackgroundTask[Any], isolation: Any, current: Any) -> None:
    starter = _trace_headers(sentry)
    isolation.clear_breadcrumbs()
    isolation.set_transaction_name(task.name, source="task")
    isolation.set_context("Background task", {"id": task.id, "origin": task.origin})
    sentry.Scope.set_isolation_scope(isolation)
    sentry.Scope.set_current_scope(current)
    sentry.continue_trace(starter)


def _trace_headers(sentry: Any) -> dict[str, Any]:
    """Return which trace the current span belongs to, nothing outside of any."""
    if sentry.get_current_span() is None:
        return {}
    return {"sentry-trace": sentry.get_traceparent(), "baggage": sentry.get_baggage()}


def _fork_scopes(sentry: Any) -> tuple[Any, Any]:
    return sentry.get_isolation_scope().fork(), sentry.get_current_scope().fork()
