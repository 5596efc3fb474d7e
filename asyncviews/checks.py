"""System checks of what works, but costs more than it must, or less surely than it looks.

Those that are about a deployment run with ``manage.py check --deploy`` only.
"""

from __future__ import annotations

import ast
import os
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asgiref
import django
from asgiref.sync import iscoroutinefunction
from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import (
    CheckMessage,
    Tags,
    Warning,  # noqa: A004 - Django's name
    register,
)
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler as DjangoHandler
from django.db import connections
from django.utils.module_loading import import_string

from asyncviews import internals
from asyncviews.background import BackgroundTaskMixin
from asyncviews.checks_settings import (
    check_asgi_application,
    check_runserver,
    check_settings,
    check_tasks,
)
from asyncviews.checks_unions import check_unions
from asyncviews.checks_urls import check_path_parameters
from asyncviews.conf import SETTING, Settings, get_settings
from asyncviews.handler import HTTPHandler
from asyncviews.middleware_costs import middleware_costs
from asyncviews.urlconf import Route, view_path, walk

TAG = "asyncviews"

Apps = Sequence[AppConfig] | None

for check in (
    check_settings,
    check_tasks,
    check_asgi_application,
    check_runserver,
    check_path_parameters,
    check_unions,
):
    register(check, TAG)
if getattr(settings, "TASKS", None):
    with suppress(ImproperlyConfigured):  # no django-tasks, as check_tasks() says
        from asyncviews.tasks.compat import check_tasks as djangos_check_of_tasks

        internals.unregister_check(djangos_check_of_tasks)


@register(TAG)
def check_versions(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """Whether Django and asgiref are of versions whose private parts this package knows."""
    found: list[CheckMessage] = []
    if not internals.IS_CHECKED:
        known = ", ".join(f"{major}.{minor}" for major, minor in sorted(internals.CHECKED))
        cost = "all middleware runs in threads, and no route is remembered"
        found.append(_not_known("Django", django.__version__, known, cost))
    if not internals.ASGIREF_IS_CHECKED:
        known = ", ".join(sorted(internals.ASGIREF_CHECKED))
        cost = "each request gets a thread and database connections of its own, as from Django"
        found.append(_not_known("asgiref", asgiref.__version__, known, cost))
    return found


def _not_known(package: str, version: str, known: str, cost: str) -> CheckMessage:
    return Warning(
        f"{package} {version} is not a version that this release of asyncviews knows ({known}). "
        f"All works, but slower: {cost}.",
        hint=f"Update asyncviews, or install a version of {package} that it knows.",
        id="asyncviews.W009",
    )


@register(TAG)
def check_middleware(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """Whether each request is sent to threads by middleware."""
    try:
        costly = [cost for cost in middleware_costs() if cost.hops]
    except ImproperlyConfigured:
        return []  # the server says it
    if not costly:
        return []
    hops = sum(cost.hops for cost in costly)
    listed = "; ".join(f"{cost.path} ({cost.summary})" for cost in costly)
    return [
        Warning(
            f"Middleware costs each request {hops} hop{'s' if hops > 1 else ''} to a thread and "
            f"back: {listed}.",
            hint=(
                "A middleware class whose hooks only compute says so with `inline_capable = True`, "
                f"and {SETTING}['INLINE_MIDDLEWARE'] says it of other people's. Others can be "
                "written as async middleware. `manage.py asyncviews middleware` tells what a hop "
                "costs here."
            ),
            id="asyncviews.W001",
        )
    ]


NAMED = 5
"""How many views a warning names."""


@register(TAG)
def check_atomic_requests(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """Whether there are async views that ``ATOMIC_REQUESTS`` breaks: Django answers them with 500."""
    aliases = [alias for alias in connections if connections.settings[alias].get("ATOMIC_REQUESTS")]
    views = [route for route in walk() if iscoroutinefunction(route.callback)] if aliases else []
    return [
        _not_atomic(alias, broken)
        for alias in aliases
        if (broken := [route for route in views if alias not in _exempt(route)])
    ]


def _exempt(route: Route) -> set[str]:
    """Return the databases from whose transactions a view is exempt."""
    exempt: set[str] = getattr(route.callback, "_non_atomic_requests", set())
    return exempt


def _not_atomic(alias: str, routes: list[Route]) -> CheckMessage:
    named = ", ".join(
        f"{route.route or '/'} ({view_path(route.callback)})" for route in routes[:NAMED]
    )
    if len(routes) > NAMED:
        named += f" and {len(routes) - NAMED} more"
    return Warning(
        f"ATOMIC_REQUESTS of the database {alias!r} does not work with async views, which raise "
        f"RuntimeError instead of answering: {named}.",
        hint=(
            "Turn it off and say what is atomic: `await in_transaction(func)`. Or keep it for "
            "synchronous views, and exempt each async one: "
            '@method_decorator(transaction.non_atomic_requests, name="dispatch").'
        ),
        id="asyncviews.W006",
    )


@register(TAG, deploy=True)
def check_application(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """Whether background work has an application that runs and drains it."""
    path = getattr(settings, "ASGI_APPLICATION", None)
    if path and not _is_plain_django(path):
        return []
    if not (work := _background_work()):
        return []
    served = (
        f"ASGI_APPLICATION is {path}, an application of Django's"
        if path
        else "ASGI_APPLICATION is not set, so the site seems to be served by WSGI"
    )
    return [
        Warning(
            f"There is background work ({work}), and no server runs it: {served}.",
            hint=(
                "Use get_asgi_application() of asyncviews.asgi in asgi.py, set ASGI_APPLICATION to "
                "it, and serve that. Otherwise tasks in memory are drained only when the "
                "interpreter exits, and stored tasks are not run at all."
            ),
            id="asyncviews.W002",
        )
    ]


def _is_plain_django(path: str) -> bool:
    """Whether the application is Django's handler, perhaps with static files in front."""
    try:
        application = import_string(path)
    except Exception:  # noqa: BLE001 - the server says it
        return False
    application = getattr(application, "application", application)
    return isinstance(application, DjangoHandler) and not isinstance(application, HTTPHandler)


def _background_work() -> str:
    """Return one example of work that needs the application, empty if there is none."""
    for alias, options in (getattr(settings, "TASKS", None) or {}).items():
        if options.get("BACKEND", "").startswith("asyncviews."):
            return f'TASKS["{alias}"]'
    with suppress(Exception):  # what is wrong with the URLconf is said by Django's checks
        for route in walk():
            if route.view_class and issubclass(route.view_class, BackgroundTaskMixin):
                return f"the view {route.view_class.__qualname__}"
    return ""


@register(TAG, deploy=True)
def check_static_files(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """Whether anybody can serve the static files: the ASGI server of a site does not."""
    if not apps.is_installed("django.contrib.staticfiles"):
        return []
    elsewhere = urlsplit(settings.STATIC_URL or "").netloc
    served_by_middleware = any(
        path.startswith(("whitenoise.", "servestatic.")) for path in settings.MIDDLEWARE
    )
    default = "django.contrib.staticfiles.storage."
    backend = settings.STORAGES.get("staticfiles", {}).get("BACKEND", default)
    if settings.STATIC_ROOT or elsewhere or served_by_middleware or not backend.startswith(default):
        return []
    return [
        Warning(
            "Static files are served nowhere: STATIC_ROOT is not set, so `collectstatic` cannot "
            "collect them, and no middleware serves them.",
            hint=(
                "Set STATIC_ROOT, run `manage.py collectstatic`, and let the proxy serve the "
                "directory; or use WhiteNoise."
            ),
            id="asyncviews.W003",
        )
    ]


@register(TAG, deploy=True)
def check_drain_timeout(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """Whether another server, whose configuration is here, ends the process before it has drained."""
    if (given := _settings()) is None:
        return []
    return [
        Warning(
            f"{SETTING}['DRAIN_TIMEOUT'] is {given.drain_timeout:g} s, and {file} gives a process "
            f"{limit:g} s to stop ({name}): what is not done by then is cut off without a word.",
            hint=f"Raise {name} above DRAIN_TIMEOUT, or lower DRAIN_TIMEOUT.",
            id="asyncviews.W004",
        )
        for file, name, limit in _servers_deadlines(Path.cwd())
        if given.drain_timeout >= limit
    ]


def _servers_deadlines(directory: Path) -> Iterator[tuple[str, str, float]]:
    """Yield file, option and seconds of each server whose configuration is in a directory."""
    gunicorn = directory / "gunicorn.conf.py"
    with suppress(OSError, SyntaxError, ValueError):
        # gunicorn reads this file where it is started, and waits for 30 seconds by default.
        found = _constant(gunicorn.read_text(), "graceful_timeout", default=30)
        yield gunicorn.name, "graceful_timeout", float(found)
    hypercorn = directory / "hypercorn.toml"
    with suppress(OSError, ValueError, TypeError):
        found = tomllib.loads(hypercorn.read_text()).get("shutdown_timeout", 60)
        yield hypercorn.name, "shutdown_timeout", float(found)


def _constant(source: str, name: str, *, default: float) -> Any:
    """Return what a module assigns to a name; raises ValueError if that must be computed."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and name in map(ast.unparse, node.targets):
            return ast.literal_eval(node.value)
    return default


@register(Tags.database, deploy=True)
def check_connections(
    app_configs: Apps, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Whether the database accepts as many connections as there may be threads.

    It asks the databases that are named: ``manage.py check --deploy --database default``.
    """
    if (given := _settings()) is None:
        return []
    concurrency = os.environ.get("WEB_CONCURRENCY", "")  # gunicorn, uvicorn and others heed it
    processes = int(concurrency) if concurrency.isdecimal() else 1
    threads = given.request_threads + given.background_threads
    return [
        _too_many(alias, processes, threads, accepted)
        for alias in databases or ()
        if (accepted := _accepted(alias)) is not None and processes * threads > accepted
    ]


def _accepted(alias: str) -> int | None:
    """Return how many connections a database accepts, None if nobody knows or a pool keeps count."""
    connection = connections[alias]
    if connection.vendor != "postgresql" or connection.settings_dict["OPTIONS"].get("pool"):
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('max_connections')::int"
            " - current_setting('superuser_reserved_connections')::int"
        )
        return int(cursor.fetchone()[0])


def _too_many(alias: str, processes: int, threads: int, accepted: int) -> CheckMessage:
    max_age = connections[alias].settings_dict["CONN_MAX_AGE"]
    keeps = "for ever" if max_age is None else f"for {max_age} s" if max_age else "while it is used"
    count = f"{processes} processes" if processes > 1 else "one process"
    return Warning(
        f"The database {alias!r} accepts {accepted} connections. With {threads} threads, each of "
        f"which keeps one {keeps} (CONN_MAX_AGE), {count} may ask for {processes * threads}.",
        hint=(
            f"Lower REQUEST_THREADS or BACKGROUND_THREADS in {SETTING}, or CONN_MAX_AGE; raise "
            'max_connections; or use a pool (OPTIONS["pool"], PgBouncer).'
        ),
        id="asyncviews.W005",
    )


def _settings() -> Settings | None:
    try:
        return get_settings()
    except ImproperlyConfigured:
        return None  # E002 says it
