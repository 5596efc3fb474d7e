"""Where each middleware of the project runs, and so what it costs a request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.deprecation import MiddlewareMixin
from django.utils.module_loading import import_string

from asyncviews import inline
from asyncviews.handler import leased_thread
from asyncviews.inline_rules import THREAD as THREAD_RULE
from asyncviews.inline_rules import Rule

NATIVE = "native async"
INLINE = "inline"
THREAD = "thread"


@dataclass(frozen=True, slots=True)
class MiddlewareCost:
    """An entry of MIDDLEWARE; `places` has each of its hooks with where that runs."""

    path: str
    places: tuple[tuple[str, str], ...]

    @property
    def hops(self) -> int:
        """How often a request is sent to a thread for it."""
        return sum(place == THREAD for _, place in self.places)

    @property
    def summary(self) -> str:
        """All of it in one line; what is the same for all hooks once."""
        places = list(dict.fromkeys(place for _, place in self.places))
        if not places:
            return "nothing to do"
        if len(places) > 1 and INLINE in places:
            places.remove(INLINE)  # the conditions say it, too
        counted = f"{THREAD}, {self.hops} hop{'s' if self.hops > 1 else ''}"
        return "; ".join(counted if place == THREAD else place for place in places)


def middleware_costs() -> list[MiddlewareCost]:
    """Return what the entries of MIDDLEWARE cost, in their order.

    Raises:
        ImproperlyConfigured: one of them cannot be imported.
    """
    return [MiddlewareCost(path, tuple(_places(_load(path)))) for path in settings.MIDDLEWARE]


def _load(path: str) -> Any:
    try:
        return import_string(path)
    except ImportError as exc:
        raise ImproperlyConfigured(f"settings.MIDDLEWARE: {exc}") from exc


def _places(middleware: Any) -> Iterator[tuple[str, str]]:
    """Yield where each hook of a middleware class or factory runs."""
    is_class = isinstance(middleware, type) and issubclass(middleware, MiddlewareMixin)
    if not is_class or not middleware.async_capable or _overrides_call(middleware):
        capable = getattr(middleware, "async_capable", False)
        yield "__call__", NATIVE if capable else THREAD
        return
    rules = inline.rules(middleware)
    for hook in inline.HOOKS:
        if hasattr(middleware, hook):
            yield hook, _place(rules.get(hook, THREAD_RULE))


def _overrides_call(middleware: type) -> bool:
    """Whether it has an ``__acall__()`` of its own, and so no hooks that are called for it."""
    return getattr(middleware, "__acall__", None) is not MiddlewareMixin.__acall__


def _place(rule: Rule) -> str:
    settled = rule.settled()
    if settled is None:
        return f"inline unless {rule.unless}"
    return THREAD if settled else INLINE


async def cost_of_a_hop() -> float:
    """Return the seconds that `sync_to_async()` takes on a leased thread, doing nothing there."""
    seconds = []
    with leased_thread():
        for _ in range(300):
            began = time.perf_counter()
            await sync_to_async(int)()
            seconds.append(time.perf_counter() - began)
    return median(seconds[100:])
