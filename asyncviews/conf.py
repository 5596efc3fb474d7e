"""The project's ``ASYNCVIEWS`` setting: one dictionary, typed, validated, with defaults."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from pydantic import BaseModel, ConfigDict, Field, ValidationError

SETTING = "ASYNCVIEWS"


class Settings(BaseModel):
    """What ``settings.ASYNCVIEWS`` may hold; the keys there are these names in upper case."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resources: tuple[str, ...] = ("asyncviews.resources.http_client",)
    """Dotted paths of the resources that the lifespan opens, in this order."""

    problems: dict[str, str] = {}
    """Which exceptions are which problems: dotted paths of exception classes, and for each that of a
    subclass of `Problem`, or of a function that makes one of the exception."""

    inline_middleware: dict[str, tuple[str, ...]] = {}
    """Hooks of other people's middleware that only compute: dotted paths of classes, and for each the
    names of hooks that may run on the event loop."""

    request_threads: int = Field(default=16, ge=1)
    """How many threads work at once for the sync code of requests, and so how many database connections
    per alias they share. With `background_threads` and four workers that stays below PostgreSQL's 100
    connections."""

    request_threads_queue: int = Field(default=1000, ge=0)
    """How many requests wait to have one work for them before more are answered with 503, and how many
    more threads may wait behind synchronous middleware."""

    request_threads_timeout: float = Field(default=30.0, gt=0)
    """Seconds that a request waits for that before it is answered with 503."""

    max_running: int = Field(default=100, ge=1)
    """How many background tasks run at once in this process."""

    max_waiting: int = Field(default=1000, ge=0)
    """How many more wait for their turn before `BackgroundQueueFull` is raised."""

    background_threads: int = Field(default=8, ge=1)
    """Threads, and so database connections per alias, that background tasks share."""

    history_count: int = Field(default=1000, ge=0)
    """How many ended background tasks this process remembers, for inspection."""

    history_age: float = Field(default=3600.0, gt=0)
    """Seconds for which it remembers them."""

    drain_timeout: float = Field(default=30.0, ge=0, lt=60)
    """Seconds from the start of a shutdown until what still runs is cancelled. It must stay below
    the 60 seconds after which Hypercorn gives up on an application's shutdown."""

    hang_timeout: float = Field(default=60.0, ge=0)
    """Seconds for which the event loop may be held before `manage.py serve` ends the process, and
    with workers starts another. 0 never does."""

    slow_client_timeout: float = Field(default=60.0, ge=0)
    """Seconds by which a client may be late, with the body of its request or in taking a response,
    before `manage.py serve` cuts it off; 500 bytes per second are in time. 0 waits for ever."""

    watchdog_threshold: float | None = Field(default=None, ge=0)
    """Seconds for which code may hold the event loop before a warning names it. None is 0.1 while
    DEBUG is on, and otherwise off, as 0 is."""

    metrics: bool = False
    """Whether this process counts requests and more for Prometheus."""

    telemetry: bool = False
    """Whether background tasks are spans of OpenTelemetry."""


@cache
def get_settings() -> Settings:
    """Return the validated `Settings`.

    Raises:
        ImproperlyConfigured: an unknown key, or a value that cannot be used; all of them at once.
    """
    given, mistakes = read()
    if mistakes:
        raise ImproperlyConfigured(" ".join(mistakes))
    return given


def read() -> tuple[Settings, list[str]]:
    """Return the `Settings`, and in a sentence each what is wrong; there, the defaults are left."""
    given: Any = getattr(django_settings, SETTING, {})
    if not isinstance(given, dict):
        return Settings(), [f"{SETTING} must be a dictionary, not {given!r}."]
    known = [name.upper() for name in Settings.model_fields]
    mistakes = [
        f"{SETTING}[{key!r}]: unknown key{did_you_mean(key, known)}."
        for key in given
        if key not in known
    ]
    values = {key.lower(): given[key] for key in known if key in given}
    try:
        return Settings.model_validate(values), mistakes
    except ValidationError as exc:
        wrong = exc.errors()
    for error in wrong:
        name, *steps = error["loc"]
        path = "".join(f"[{step!r}]" for step in (str(name).upper(), *steps))
        mistakes.append(f"{SETTING}{path}: {error['msg']}.")
        values.pop(str(name), None)
    return Settings.model_validate(values), mistakes


def problems(exc: ValidationError, known: Iterable[str]) -> str:
    """Return what is wrong with which key, all in one line; `known` are the keys that there are."""
    names = list(known)
    found = []
    for error in exc.errors():
        path = ".".join(map(str, error["loc"]))
        unknown = error["type"] == "extra_forbidden"
        what = f"unknown{did_you_mean(error['loc'][-1], names)}" if unknown else error["msg"]
        found.append(f"{path}: {what}" if path else what)  # the whole has no path
    return "; ".join(found)


def did_you_mean(word: object, known: Sequence[str]) -> str:
    """Return in parentheses which known word is meant, or all that are known."""
    by_lower = {name.lower(): name for name in known}
    close = get_close_matches(str(word).lower(), by_lower, n=1)
    return f" (did you mean {by_lower[close[0]]}?)" if close else f" (known: {', '.join(known)})"


@receiver(setting_changed)
def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == SETTING:
        get_settings.cache_clear()
