"""System checks of what the settings name: each mistake is an error with a message of its own.

The application's startup asks for the same, and fails with the same messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - that is its name
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import get_commands
from django.utils.module_loading import import_string

from asyncviews import inline_marks, telemetry
from asyncviews.conf import SETTING, Settings, did_you_mean, read
from asyncviews.problems import check_problems
from asyncviews.resources import load

Apps = Sequence[AppConfig] | None

BACKENDS = ("asyncviews.tasks.AsyncioBackend", "asyncviews.tasks.DurableBackend")


def require_usable() -> None:
    """Have the application start only with settings that can be used.

    Raises:
        ImproperlyConfigured: with the messages of `check_settings()` and `check_tasks()`.
    """
    if found := [*check_settings(None), *_check_backends(_is_ours)]:
        raise ImproperlyConfigured("\n".join(message.msg for message in found))


def check_settings(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """E002: ``ASYNCVIEWS`` cannot be used, or what it asks for is not there."""
    given, mistakes = read()
    mistakes += [
        *_missing_packages(given),
        *_wrong_problems(given),
        *_wrong_resources(given),
        *inline_marks.mistakes(given),
    ]
    return [Error(mistake, id="asyncviews.E002") for mistake in mistakes]


def _missing_packages(given: Settings) -> Iterator[str]:
    try:
        if given.telemetry:
            telemetry.require()
    except ImproperlyConfigured as exc:
        yield str(exc)
    try:
        if given.metrics:
            import asyncviews.metrics  # noqa: F401
    except ImproperlyConfigured as exc:
        yield str(exc)


def _wrong_problems(given: Settings) -> Iterator[str]:
    where = f'{SETTING}["PROBLEMS"]'
    for paths in given.problems.items():
        found = []
        for path in paths:
            try:
                found.append(import_string(path))
            except ImportError as exc:
                yield f"{where}: {exc}."
            except Exception as exc:  # noqa: BLE001 - whatever the module raises
                yield f"{where}: importing {path} raised {exc!r}."
        if len(found) == len(paths):
            try:
                check_problems(where, {found[0]: found[1]})
            except ImproperlyConfigured as exc:
                yield str(exc)


def _wrong_resources(given: Settings) -> Iterator[str]:
    for path in given.resources:
        try:
            load(path)
        except ImproperlyConfigured as exc:
            yield f"{exc}"
        except Exception as exc:  # noqa: BLE001 - whatever the module raises
            yield f'{SETTING}["RESOURCES"]: importing {path} raised {exc!r}.'


def check_tasks(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """E004: a backend in ``TASKS`` cannot be made or used; and what the backends themselves check.

    It stands in for Django's check, which is there only when something has imported
    ``django.tasks``, and which the first backend that cannot be made brings down.
    """
    return _check_backends(lambda backend: True)


def _check_backends(wanted: Callable[[Any], bool]) -> list[CheckMessage]:
    """Make all backends, and have those that are wanted check themselves."""
    configured: Any = getattr(settings, "TASKS", None)
    if not configured:
        return []
    if not isinstance(configured, dict):
        return [_unusable(f"TASKS must be a dictionary, not {configured!r}.")]
    try:
        from asyncviews.tasks.compat import task_backends
    except ImproperlyConfigured as exc:
        return [_unusable(f"TASKS: {exc}")]
    found: list[CheckMessage] = []
    for alias, parameters in configured.items():
        label = f'TASKS["{alias}"]'
        if not isinstance(parameters, dict) or not isinstance(parameters.get("BACKEND"), str):
            found.append(_unusable(f'{label} must be a dictionary with a "BACKEND".'))
            continue
        try:
            backend = task_backends[alias]
            found += backend.check() if wanted(backend) else []
        except Exception as exc:  # noqa: BLE001 - other people's backends may raise anything
            text = str(exc) if isinstance(exc, ImproperlyConfigured) else repr(exc)
            found.append(_unusable(f"{label}: {text}{_meant(parameters['BACKEND'])}"))
    return found


def _is_ours(backend: Any) -> bool:
    """Whether a backend is of this package, whose checks neither block nor only warn."""
    package = __name__.partition(".")[0]
    return any(cls.__module__.partition(".")[0] == package for cls in type(backend).__mro__)


def _unusable(text: str) -> CheckMessage:
    return Error(text, id="asyncviews.E004")


def _meant(path: str) -> str:
    """Return the end of the message of a path that may be a misspelt one of this package."""
    ours = path.startswith("asyncviews.") and path not in BACKENDS
    return did_you_mean(path, BACKENDS) if ours else ""


def check_asgi_application(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """E005: ``ASGI_APPLICATION`` is not the dotted path of an ASGI application."""
    path = getattr(settings, "ASGI_APPLICATION", None)
    if not path:
        return []
    try:
        load_application(path)
    except ImproperlyConfigured as exc:
        given, mistakes = read()
        if str(exc) in {" ".join(mistakes), " ".join(inline_marks.mistakes(given))}:
            return []  # get_asgi_application() has raised what E002 says
        return [Error(str(exc), id="asyncviews.E005")]
    except Exception as exc:  # noqa: BLE001 - whatever the module raises
        text = f"ASGI_APPLICATION: importing {path} raised {exc!r}."
        return [Error(text, id="asyncviews.E005")]
    return []


def load_application(path: object) -> Any:
    """Return the ASGI application at the dotted path that ``ASGI_APPLICATION`` is.

    Raises:
        ImproperlyConfigured: there is none.
        ImportError: its module cannot import something else.
    """
    if not isinstance(path, str) or ":" in path:
        dotted = str(path).replace(":", ".")
        raise ImproperlyConfigured(
            f'ASGI_APPLICATION is a dotted path: write "{dotted}", not {path!r}.'
        )
    try:
        application = import_string(path)
    except ImportError as exc:
        if exc.name and not path.startswith(exc.name):
            raise
        raise ImproperlyConfigured(f"Cannot load settings.ASGI_APPLICATION: {exc}.") from exc
    innermost = application
    while not isinstance(innermost, WSGIHandler) and hasattr(innermost, "application"):
        innermost = innermost.application
    if isinstance(innermost, WSGIHandler):
        raise ImproperlyConfigured(
            f"ASGI_APPLICATION: {path} is a WSGI application. Write the path of the one in asgi.py, "
            "which get_asgi_application() of asyncviews.asgi returns."
        )
    if not callable(application):
        attribute = f'; write "{path}.application"' if isinstance(application, ModuleType) else ""
        raise ImproperlyConfigured(
            f"ASGI_APPLICATION: {path} is no application but {application!r}{attribute}."
        )
    return application


def check_runserver(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """W011: ``runserver`` is that of ``django.contrib.staticfiles``, which serves by WSGI."""
    if get_commands().get("runserver") != "django.contrib.staticfiles":
        return []
    return [
        Warning(
            '"django.contrib.staticfiles" stands before "asyncviews" in INSTALLED_APPS, so '
            "`runserver` is Django's: it serves by WSGI, without resources and background tasks "
            "that outlive a request.",
            hint='Move "asyncviews" before "django.contrib.staticfiles".',
            id="asyncviews.W011",
        )
    ]
