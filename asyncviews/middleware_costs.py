"""Where each middleware of the project runs, and so what it costs a request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured

from asyncviews.handler import HTTPHandler, leased_thread
from asyncviews.inline import Loaded
from asyncviews.inline_rules import NATIVE, Rule


@dataclass(frozen=True, slots=True)
class MiddlewareCost:
    """An entry of MIDDLEWARE as a handler has loaded it."""

    path: str

    places: tuple[tuple[str, str], ...]
    """Each hook, or ``__call__``, with where that runs, and why if it is a thread."""

    hops: int
    """How often a request is sent to a thread for it."""

    summary: str
    """All of it in one line; what is the same for all hooks once."""


def middleware_costs() -> list[MiddlewareCost]:
    """Return what each entry of MIDDLEWARE costs, in their order.

    A handler loads them for that, as the application's does: tools may have wrapped what is imported,
    and what is loaded, too. An entry that says that it is not used is not there.

    Raises:
        ImproperlyConfigured: one of them cannot be loaded.
    """
    return [_cost(entry) for entry in _new_handler().middleware.loaded]


def _new_handler() -> HTTPHandler:
    try:
        return HTTPHandler()
    except ImproperlyConfigured:
        raise
    except Exception as exc:
        text = str(exc) if isinstance(exc, ImportError) else repr(exc)
        raise ImproperlyConfigured(f"settings.MIDDLEWARE: {text}") from exc


def _cost(entry: Loaded) -> MiddlewareCost:
    rules = list(entry.places.values())
    places = tuple((name, _place(rule)) for name, rule in entry.places.items())
    summary = "; ".join(_summary(rules, entry.hops)) or "nothing to do"
    return MiddlewareCost(entry.path, places, entry.hops, summary)


def _place(rule: Rule) -> str:
    if rule.is_inline:
        return _inline(rule)
    reason = rule.because or rule.unless
    return f"thread: {reason}" if reason else "thread"


def _inline(rule: Rule) -> str:
    if rule is NATIVE:
        return "native async"
    return "inline" if rule.settled() is False else f"inline unless {rule.unless}"


def _summary(rules: list[Rule], hops: int) -> Iterator[str]:
    """Yield what a line says of all hooks of a middleware, each thing once."""
    inline = dict.fromkeys(_inline(rule) for rule in rules if rule.is_inline)
    if len(inline) > 1 or hops:
        inline.pop("inline", None)  # the rest says it, too
    yield from inline
    in_thread = [rule for rule in rules if not rule.is_inline]
    if in_thread:
        reasons = dict.fromkeys(filter(None, (rule.because or rule.unless for rule in in_thread)))
        count = f"{hops} hop{'' if hops == 1 else 's'}"
        yield f"thread, {count}" + (f": {', '.join(reasons)}" if reasons else "")


async def cost_of_a_hop() -> float:
    """Return the seconds that `sync_to_async()` takes on a leased thread, doing nothing there."""
    seconds = []
    with leased_thread():
        for _ in range(300):
            began = time.perf_counter()
            await sync_to_async(int)()
            seconds.append(time.perf_counter() - began)
    return median(seconds[100:])
