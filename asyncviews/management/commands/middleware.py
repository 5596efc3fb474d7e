"""What each middleware costs a request: ``manage.py middleware``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import django
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils.deprecation import MiddlewareMixin
from django.utils.module_loading import import_string

from asyncviews import inline
from asyncviews.handler import request_threads
from asyncviews.inline_rules import THREAD as THREAD_RULE
from asyncviews.inline_rules import Rule
from asyncviews.internals import CHECKED, IS_CHECKED, ThreadSensitive

NATIVE = "native async"
INLINE = "inline"
THREAD = "thread"


class Command(BaseCommand):
    """Tells for each entry of MIDDLEWARE where it runs, and what a thread costs here."""

    help = (
        "Tells where each middleware runs: native async, inline on the event loop, inline unless "
        "the request needs a thread, or on the request's thread; and what a thread costs here."
    )
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        if not IS_CHECKED:
            known = ", ".join(f"{major}.{minor}" for major, minor in sorted(CHECKED))
            self.stdout.write(
                self.style.WARNING(
                    f"Django {django.get_version()} is none of those whose middleware is known "
                    f"({known}): nothing runs inline."
                )
            )
        width = max((len(path) for path in settings.MIDDLEWARE), default=0)
        hops = 0
        for path in settings.MIDDLEWARE:
            where = list(describe(load(path)))
            hops += sum(place == THREAD for _, place in where)
            self.stdout.write(f"{path:<{width}}  {summary(where)}")
            if options["verbosity"] > 1:
                for hook, place in where:
                    self.stdout.write(f"    {hook}: {place}")
        cost = asyncio.run(cost_of_a_hop())
        self.stdout.write(
            f"\nA hop to a thread and back takes about {cost * 1e6:.0f} µs here. "
            f"Middleware makes {hops} in each request: {hops * cost * 1e6:.0f} µs."
        )


def load(path: str) -> Any:
    """Return the middleware at a dotted path.

    Raises:
        CommandError: there is none.
    """
    try:
        return import_string(path)
    except ImportError as exc:
        raise CommandError(f"settings.MIDDLEWARE: {exc}") from exc


def describe(middleware: Any) -> Iterator[tuple[str, str]]:
    """Yield where each hook of a middleware class or factory runs."""
    is_class = isinstance(middleware, type) and issubclass(middleware, MiddlewareMixin)
    if not is_class or not middleware.async_capable or overrides_call(middleware):
        capable = getattr(middleware, "async_capable", False)
        yield "__call__", NATIVE if capable else THREAD
        return
    rules = inline.rules(middleware)
    for hook in inline.HOOKS:
        if hasattr(middleware, hook):
            yield hook, place(rules.get(hook, THREAD_RULE))


def overrides_call(middleware: type) -> bool:
    """Whether it has an ``__acall__()`` of its own, and so no hooks that are called for it."""
    return getattr(middleware, "__acall__", None) is not MiddlewareMixin.__acall__


def place(rule: Rule) -> str:
    settled = rule.settled()
    if settled is None:
        return f"inline unless {rule.unless}"
    return THREAD if settled else INLINE


def summary(where: list[tuple[str, str]]) -> str:
    """Say it in one line; what is the same for all hooks once."""
    places = list(dict.fromkeys(place for _, place in where))
    if not places:
        return "nothing to do"
    if len(places) > 1 and INLINE in places:
        places.remove(INLINE)  # the conditions say it, too
    hops = sum(place == THREAD for _, place in where)
    counted = f"{THREAD}, {hops} hop{'s' if hops > 1 else ''}"
    return "; ".join(counted if place == THREAD else place for place in places)


async def cost_of_a_hop() -> float:
    """Return the seconds that `sync_to_async()` takes on a leased thread, doing nothing there."""
    lease = request_threads.lease(exclusive=True)
    seconds = []
    with ThreadSensitive(lease):
        for _ in range(300):
            began = time.perf_counter()
            await sync_to_async(int)()
            seconds.append(time.perf_counter() - began)
    lease.release()
    return median(seconds[100:])
