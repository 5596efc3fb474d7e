"""Transactions: a block of synchronous code, as Django's are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.apps import AppConfig
from django.core.checks import CheckMessage
from django.core.checks import Warning as CheckWarning
from django.db import connections, transaction
from django.urls import URLPattern, URLResolver, get_resolver

P = ParamSpec("P")
R = TypeVar("R")

NAMED = 5
"""How many views a warning names."""


async def in_transaction(func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call ``func(*args, **kwargs)`` on the request's thread, in a transaction; return its result.

    An exception rolls the transaction back. Once begun it runs to its end, even if whoever awaits
    it is cancelled. It is that of the default database; for another one decorate `func` itself
    with ``transaction.atomic(using=...)``.

    Raises:
        TypeError: `func` is a coroutine function, which Django's transactions cannot hold.
    """
    if iscoroutinefunction(func):
        name = getattr(func, "__qualname__", repr(func))
        raise TypeError(
            f"in_transaction() takes a plain function, and {name}() is a coroutine function: "
            "write it as `def`, with the ORM's synchronous methods."
        )
    return await sync_to_async(transaction.atomic(func))(*args, **kwargs)


def check_atomic_requests(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Warn of async views that ``ATOMIC_REQUESTS`` breaks: Django answers them with 500."""
    aliases = [alias for alias in connections if connections.settings[alias].get("ATOMIC_REQUESTS")]
    views = list(_async_views(get_resolver().url_patterns)) if aliases else []
    found: list[CheckMessage] = []
    for alias in aliases:
        broken = [path for path, exempt in views if alias not in exempt]
        if broken:
            found.append(_warning(alias, broken))
    return found


def _warning(alias: str, paths: list[str]) -> CheckMessage:
    named = ", ".join(paths[:NAMED])
    if len(paths) > NAMED:
        named += f" and {len(paths) - NAMED} more"
    return CheckWarning(
        f"ATOMIC_REQUESTS of the database {alias!r} does not work with async views, which raise "
        f"RuntimeError instead of answering: {named}.",
        hint=(
            "Turn it off and say what is atomic: `await in_transaction(func)`. Or keep it for "
            "synchronous views, and exempt each async one: "
            '@method_decorator(transaction.non_atomic_requests, name="dispatch").'
        ),
        id="asyncviews.W010",
    )


def _async_views(
    patterns: Sequence[URLPattern | URLResolver], prefix: str = ""
) -> Iterator[tuple[str, set[str]]]:
    """Yield the path of each async view, and the databases from whose transactions it is exempt."""
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _async_views(pattern.url_patterns, path)
        elif iscoroutinefunction(pattern.callback):
            exempt: set[str] = getattr(pattern.callback, "_non_atomic_requests", set())
            yield f"{path or '/'} ({pattern.lookup_str})", exempt
