"""Mixins that were written for Django's synchronous views, before an asynchronous one.

Their code runs on the request's thread. A hook that is awaited here, such as ``get_context_data()``,
is called there, by them and by their `super()`; `_bridge()` makes one that can be both.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from types import FunctionType
from typing import Any

from asgiref.sync import async_to_sync, iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.http.response import HttpResponseBase
from django.views import View

from asyncviews.views import AsyncView

AWAITED = (
    "dispatch",
    "http_method_not_allowed",
    "get_context_data",
    "get_object",
    "get_form",
    "form_valid",
    "form_invalid",
    "get_redirect_url",
    "get_dated_items",
    "has_permission",
)
"""Hooks of Django's views that are awaited here."""


def async_mixin(mixin: type) -> Any:
    """Return an asynchronous twin of a synchronous mixin, to stand before an `AsyncView`.

    What `mixin` overrides of handlers and awaited hooks is called on the request's thread. There
    ``super()`` and ``self`` give it the view's hooks as functions to call, though they are `async
    def`; the thread waits for those. Everything else of `mixin` is inherited as it is.

    Raises:
        ImproperlyConfigured: there is nothing in `mixin` to adapt.
    """
    own = [*_overridden(mixin)]
    if not own:
        raise ImproperlyConfigured(
            f"{mixin.__qualname__} overrides nothing that is awaited: it needs no async_mixin()."
        )
    # What its super() finds stands behind it, and before what it inherits from Django.
    djangos = tuple(base for base in mixin.__mro__ if _is_djangos(base))
    behind = type(f"_Behind{mixin.__name__}", djangos[:1], {})
    before = _before(mixin)
    for name in own:
        setattr(before, name, _bridge(before, name))
        setattr(behind, name, _bridge(behind, name))
    if "dispatch" in own:
        # The access mixins of asyncviews ask in `handle()`: one that stands before it comes first.
        before.handle = _bridge(before, "dispatch")
        before.dispatch = _bridge(behind, "dispatch")
        behind.dispatch = _bridge(behind, "handle")  # type: ignore[attr-defined]
    return type(f"Async{mixin.__name__}", (before, mixin, behind), {"__doc__": mixin.__doc__})


def _is_djangos(base: type) -> bool:
    """Whether it is a class whose hooks are those of asyncviews in an `AsyncView`."""
    return base.__module__.startswith("django.views.")


def _overridden(mixin: type) -> Iterator[str]:
    namespaces = [vars(base) for base in mixin.__mro__ if not _is_djangos(base)]
    for name in (*AWAITED, *View.http_method_names):
        hook = next((space[name] for space in namespaces if name in space), None)
        if isinstance(hook, FunctionType) and not iscoroutinefunction(hook):
            yield name


def _before(mixin: type) -> Any:
    """Return a class that lets `mixin` call the awaited hooks of the view that it is mixed into.

    It has no base that others of its kind have: the twins of two mixins stand one behind the other.
    """

    class Before:
        def __init_subclass__(cls, **kwargs: Any) -> None:
            for name in AWAITED if issubclass(cls, AsyncView) else ():
                hook = getattr(cls, name, None)
                if iscoroutinefunction(hook) and not hasattr(hook, _MARK):
                    setattr(cls, name, _bridge(cls, name, vars(cls).get(name)))
            super().__init_subclass__(**kwargs)

    Before.__name__ = Before.__qualname__ = f"_Before{mixin.__name__}"
    return Before


_MARK = "asyncviews_bridge"


def _bridge(cls: type, name: str, function: Callable[..., Any] | None = None) -> FunctionType:
    """Return a hook that is awaited on an event loop, and called elsewhere.

    It calls `function`, or if there is none what stands behind `cls`, wherever that has to run.
    """

    def hook(self: Any, *args: Any, **kwargs: Any) -> Any:
        behind: Any = partial(function, self) if function else getattr(super(cls, self), name)
        if _is_on_event_loop():
            call = behind if iscoroutinefunction(behind) else sync_to_async(behind)
            return call(*args, **kwargs)
        result = behind(*args, **kwargs)
        return async_to_sync(_settled)(result) if inspect.isawaitable(result) else result

    hook.__name__, hook.__qualname__ = name, f"{cls.__qualname__}.{name}"
    if name in View.http_method_names:
        hook.__annotations__["return"] = HttpResponseBase
    setattr(hook, _MARK, True)
    return markcoroutinefunction(hook)  # type: ignore[return-value]


async def _settled(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _is_on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
