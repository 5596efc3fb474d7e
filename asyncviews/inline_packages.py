"""The same as `asyncviews.inline_rules`, for the middleware of common packages.

Each was read in the versions that are named with it, and nothing here is used with others. Not here
is what is async itself: that of django-allauth, django-axes, django-cors-headers,
django-debug-toolbar, django-htmx, django-otp, django-permissions-policy, django-simple-history and
servestatic; and what may block in each request: that of django-auditlog, django-impersonate,
django-reversion and django-silk. django-guardian has none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from django.conf import settings

from asyncviews.inline_rules import INLINE, Rule, dotted_path, is_djangos


@dataclass(frozen=True, slots=True)
class Call:
    """What a synchronous ``__call__()`` does before and after ``get_response()``, as two hooks."""

    process_request: Callable[[Any, Any], Any] | None = None
    process_response: Callable[[Any, Any, Any], Any] | None = None

    whole: Callable[[Any], str] = lambda cls: ""
    """Why a class cannot be taken apart as it is configured; empty if it can."""


@dataclass(frozen=True, slots=True)
class Known:
    """A middleware class of a package: where its hooks run in the versions that were read."""

    package: str
    read: tuple[str, ...]
    """The first two numbers of each version."""

    rules: Mapping[str, Rule]
    call: Call | None = None
    """How to call it, if it is no `MiddlewareMixin`."""


def known(cls: type) -> Known | None:
    """Return what is known of a class, be it in versions that are not installed."""
    return PACKAGES.get(dotted_path(cls))


def installed(package: str) -> str:
    """Return the first two numbers of the version of a package; empty if it has none."""
    try:
        number = re.match(r"\d+\.\d+", version(package))
    except PackageNotFoundError:
        return ""
    return number[0] if number else ""


def not_read(entry: Known) -> str:
    """Return in words that another version is installed than was read; empty if it was."""
    number = installed(entry.package)
    if number in entry.read:
        return ""
    return f"{entry.package} {number} is not known, but {', '.join(entry.read)}"


# WhiteNoise


def _static_file(middleware: Any, request: Any) -> Any:
    find = middleware.find_file if middleware.autorefresh else middleware.files.get
    static_file = find(request.path_info)
    return None if static_file is None else middleware.serve(static_file, request)


def _looks_for_files(middleware: Any, request: Any) -> bool:
    return bool(middleware.autorefresh) or request.path_info in middleware.files


def _refreshes() -> bool | None:
    return True if getattr(settings, "WHITENOISE_AUTOREFRESH", settings.DEBUG) else None


# django-hijack


def _names_remote_user(middleware: Any, request: Any) -> bool:
    return "REMOTE_USER" in request.META


def _may_notify(middleware: Any, request: Any, response: Any) -> bool:
    session: Any = getattr(request, "session", None)
    if not is_djangos(session):
        return True
    return bool(session.accessed and not session.is_empty())


# OpenTelemetry


def _calls_hooks(cls: Any) -> str:
    hooks = (cls._otel_request_hook, cls._otel_response_hook)
    return "it calls hooks of the project" if any(hooks) else ""


# The table

PACKAGES = {
    "csp.middleware.CSPMiddleware": Known(
        "django-csp", ("3.8", "4.0"), {"process_request": INLINE, "process_response": INLINE}
    ),
    "django_prometheus.middleware.PrometheusAfterMiddleware": Known(
        "django-prometheus",
        ("2.4", "2.5"),
        dict.fromkeys(
            (
                "process_request",
                "process_view",
                "process_template_response",
                "process_response",
            ),
            INLINE,
        ),
    ),
    "django_prometheus.middleware.PrometheusBeforeMiddleware": Known(
        "django-prometheus",
        ("2.4", "2.5"),
        {"process_request": INLINE, "process_response": INLINE},
    ),
    "django_ratelimit.middleware.RatelimitMiddleware": Known(
        "django-ratelimit", ("4.0", "4.1"), {}, Call()
    ),
    "django_user_agents.middleware.UserAgentMiddleware": Known(
        "django-user-agents",
        ("0.4",),
        {"process_request": INLINE},
        Call(lambda middleware, request: middleware.process_request(request)),
    ),
    "hijack.middleware.HijackUserMiddleware": Known(
        "django-hijack",
        ("3.7",),
        {
            "process_request": Rule(_names_remote_user, "the request has a REMOTE_USER"),
            "process_response": Rule(_may_notify, "the session was used"),
        },
    ),
    "opentelemetry.instrumentation.django.middleware.otel_middleware._DjangoMiddleware": Known(
        "opentelemetry-instrumentation-django",
        ("0.61", "0.62", "0.63", "0.64", "0.65", "0.66"),
        dict.fromkeys(("process_request", "process_view", "process_response"), INLINE),
        Call(
            lambda middleware, request: middleware.process_request(request),
            lambda middleware, request, response: middleware.process_response(request, response),
            whole=_calls_hooks,
        ),
    ),
    "waffle.middleware.WaffleMiddleware": Known(
        "django-waffle", ("4.2", "5.0"), {"process_response": INLINE}
    ),
    "whitenoise.middleware.WhiteNoiseMiddleware": Known(
        "whitenoise",
        ("6.9", "6.10", "6.11", "6.12"),
        {
            "process_request": Rule(
                _looks_for_files,
                "it is the path of a static file, or WHITENOISE_AUTOREFRESH is on",
                _refreshes,
            )
        },
        Call(_static_file),
    ),
}
"""What is known, by the dotted path of the class."""
