"""Middleware on the event loop: hooks that only compute need not be sent to a thread.

Django sends every synchronous hook of a middleware to a thread, though most of its own do nothing
that could block. `rules()` says so hook by hook. Here is how the handler follows it while Django
loads its middleware: those that stand next to each other in MIDDLEWARE become one coroutine function,
which calls their hooks, each where its rule puts it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial, wraps
from types import FunctionType, MethodType
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.handlers.exception import response_for_exception
from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin
from django.utils.module_loading import import_string

from asyncviews.inline_classes import call_of, patcher, rules_of, why_whole, wrapper_of
from asyncviews.inline_packages import Call
from asyncviews.inline_rules import HOOKS, NATIVE, THREAD, Rule, has_own_call, in_thread
from asyncviews.internals import mark_logged, middleware_path, spanned_by_sentry, wrapped_by_sentry
from asyncviews.problems import ServiceUnavailable, problem_response
from asyncviews.text import printable
from asyncviews.threads import NoThreadAvailable

logger = logging.getLogger("asyncviews.threads")

_AROUND = ("process_request", "process_response")
"""The hooks around ``get_response()``, which the middleware calls itself."""

GetResponse = Callable[[Any], Awaitable[Any]]


@dataclass(slots=True)
class Loaded:
    """An entry of MIDDLEWARE as a handler has loaded it: where each of its hooks runs."""

    path: str

    behind: Callable[..., Any]
    """What Django has made of the entries behind it."""

    link: Callable[..., Any]
    """The same, adapted."""

    is_async: bool
    """Whether `link` is."""

    given: Callable[..., Any]
    """The same, as the middleware has got it."""

    middleware: Any = None
    layer: _Layer | None = None

    places: dict[str, Rule] = field(default_factory=dict)
    """By hook; ``__call__`` for a middleware that is called as a whole."""

    shares_thread: bool = False
    """Whether requests come to it in a thread already, and stay there."""

    @property
    def hops(self) -> int:
        """How often a request is sent to a thread for it, as far as that does not depend on it."""
        shared = ("__call__", *_AROUND) if self.shares_thread else ()
        return sum(not rule.is_inline for name, rule in self.places.items() if name not in shared)

    def settle(self) -> None:
        """Take account of what was patched while the entries in front of this one were loaded."""
        if self.layer is not None:
            self.layer.settle()
            self.places |= self.layer.rules
        if self.middleware is not None:
            now = rules_of(self.middleware)
            self.places |= {
                hook: now[hook]
                for hook, rule in self.places.items()
                if rule.is_inline and hook in now and not now[hook].is_inline
            }
        order = ("__call__", *HOOKS, *self.places)
        self.places = {name: self.places[name] for name in order if name in self.places}


class Loader:
    """Adapts the middleware of a handler while Django loads it, from the innermost outwards.

    `adapt` is called as ``BaseHandler.adapt_method_mode()``, where nothing else is to be done.
    """

    def __init__(self, adapt: Callable[..., Any]) -> None:
        self.loaded: list[Loaded] = []
        """In the order of MIDDLEWARE; complete when Django is done."""

        self._adapt = adapt
        self._next: Loaded | None = None

    def adapt(
        self,
        is_async: bool,
        method: Callable[..., Any],
        method_is_async: bool | None = None,
        debug: bool = False,
        name: str | None = None,
    ) -> Callable[..., Any]:
        """Return what the handler, or a middleware, uses in place of `method`.

        `method` is a link of the middleware chain, which `convert_exception_to_response()` has made
        of a middleware and all that is behind it; or, if Django does not say whether it is async, a
        hook.
        """
        if method_is_async is None:
            method = self._adapt_hook(method) if is_async else method
            return cast("Callable[..., Any]", self._adapt(is_async, method, None, debug, name))
        if self._next is not None and method is not self._next.behind:  # else it is not used
            self.loaded.insert(0, self._next)
        path = middleware_path(name)
        in_front = import_string(path) if path else None
        wants_async = is_async or getattr(in_front, "async_capable", False)
        # Django does not know that synchronous middleware has been taken apart behind it.
        method_is_async = method_is_async or iscoroutinefunction(method)
        may_be_async = wants_async or (isinstance(in_front, type) and bool(call_of(in_front)))
        link = self._adapt_link(method, method_is_async, may_be_async=may_be_async)
        link_is_async = method_is_async or link is not method
        given: Callable[..., Any] = link
        if not (link_is_async and wants_async):
            given = self._adapt(is_async, link, link_is_async, debug, name)
        self._next = Loaded(path, method, link, link_is_async, given) if path else None
        return given

    def finish(self) -> None:
        for entry in self.loaded:
            entry.settle()

    def _adapt_hook(self, method: Callable[..., Any]) -> Callable[..., Any]:
        if (entry := self._next) is None:
            return method
        name = getattr(method, "__name__", "hook")
        middleware = entry.middleware = getattr(method, "__self__", None)
        if iscoroutinefunction(method):
            rule = NATIVE
        elif name in getattr(middleware, "__dict__", ()):
            rule = in_thread("the instance overrides it")
        elif isinstance(method, MethodType) or wrapper_of(method) == "sentry_sdk":
            rule = rules_of(middleware).get(name, THREAD)
        else:
            rule = in_thread("not known")
        entry.places[name] = rule
        return _inline_hook(method, entry) if rule.is_inline and rule is not NATIVE else method

    def _adapt_link(
        self, link: Callable[..., Any], is_async: bool, *, may_be_async: bool
    ) -> Callable[..., Any]:
        if not self.loaded:
            return link  # to the view
        entry = self.loaded[0]
        entry.middleware, wrapper = _inside(link)
        if isinstance(entry.middleware, MiddlewareMixin) and not _has_own_call(entry.middleware):
            return _adapt_mixin(link, entry, wrapper)
        if may_be_async and not is_async and (adapted := self._adapt_call(link, entry, wrapper)):
            return adapted
        entry.places |= _places_of_whole(entry, is_async, wrapper)
        entry.shares_thread = not (is_async or entry.is_async)
        return link

    def _adapt_call(
        self, link: Callable[..., Any], entry: Loaded, wrapper: str
    ) -> GetResponse | None:
        """Return a link that is async, if the synchronous middleware in `link` can be taken apart."""
        call = call_of(type(entry.middleware))
        if not call or getattr(entry.middleware, "get_response", None) is not entry.given:
            return None
        if wrapper not in {"", "sentry_sdk"}:
            return None
        behind = entry.link if entry.is_async else self._adapt(True, entry.link, False)
        layer = _Layer(entry.middleware, call)
        joined = _joined(layer, behind)
        if wrapper:
            joined = wraps(entry.middleware.__call__)(joined)
            joined = spanned_by_sentry(link.__wrapped__, joined)  # type: ignore[attr-defined]
        if joined is not None:
            entry.layer = layer
        return joined


def _places_of_whole(entry: Loaded, is_async: bool, wrapper: str) -> dict[str, Rule]:
    """Return where a middleware runs that is called as Django calls it."""
    cls = import_string(entry.path)
    is_mixin = isinstance(cls, type) and issubclass(cls, MiddlewareMixin)
    if is_mixin and not isinstance(entry.middleware, cls):
        # What a tool has put in its place calls it, one supposes.
        call = type(entry.middleware).__call__ if callable(entry.middleware) else None
        reason = in_thread(f"wrapped by {wrapper or wrapper_of(call)}")
        return {hook: reason for hook in _AROUND if hasattr(cls, hook)}
    wrapped = f", wrapped by {wrapper}" if wrapper else ""
    why = why_whole(type(entry.middleware)) or "synchronous"
    return {"__call__": NATIVE if is_async else in_thread(why + wrapped)}


def _inside(link: Callable[..., Any]) -> tuple[Any, str]:
    """Return the middleware in a link, and the package that has wrapped it or the link, if any."""
    wrapper = "" if wrapper_of(link) == "django" else wrapper_of(link)
    found, around = getattr(link, "__wrapped__", None), wrapper
    while found is not None:
        if (inner := wrapped_by_sentry(found)) is not None:
            found, around, wrapper = inner, "sentry_sdk", "sentry_sdk"
        elif isinstance(found, FunctionType) and hasattr(found, "__wrapped__"):
            found, around = found.__wrapped__, around or wrapper_of(found)
        else:
            break
    # A function that a decorator has made is no middleware that somebody has wrapped.
    return found, around if isinstance(found, MiddlewareMixin) else wrapper


def _has_own_call(middleware: MiddlewareMixin) -> bool:
    """Whether a middleware calls its hooks in its own way; that of `_adapt_mixin()` is none."""
    own = [vars(middleware).get(name) for name in ("__call__", "__acall__")]
    found = any(call is not None and not hasattr(call, "layer") for call in own)
    return found or has_own_call(type(middleware))


def _adapt_mixin(link: Callable[..., Any], entry: Loaded, wrapper: str) -> Callable[..., Any]:
    """Return a link that calls hooks on the event loop, if the one that is given does not."""
    middleware = entry.middleware
    layer = entry.layer = _Layer(middleware)
    own = ", ".join(sorted({*_AROUND} & vars(middleware).keys()))
    if not getattr(middleware, "async_mode", False):
        entry.shares_thread = True
        layer.keep("what is behind it in MIDDLEWARE is synchronous")
    elif own:
        layer.keep(f"the instance overrides {own}")
    elif who := patcher(MiddlewareMixin, "__acall__", at_all=True):
        layer.keep(f"MiddlewareMixin is patched by {who}")
    elif layer.is_inline:
        if not (wrapper or patcher(MiddlewareMixin, "__call__", at_all=True)):
            return _joined(layer, middleware.get_response)
        # Whatever is around it goes on calling the middleware, as it likes.
        middleware.__acall__ = _inline_call(layer)
    return link


class _Layer:
    """A middleware: what it does to a request, and to a response, and where."""

    process_request: Callable[[Any], Any] | None
    process_response: Callable[[Any, Any], Any] | None
    rules: dict[str, Rule]

    __slots__ = (
        "_call", "_reason", "middleware", "process_request", "process_response", "request_rule",
        "response_rule", "rules",
    )  # fmt: skip

    def __init__(self, middleware: Any, call: Call | None = None) -> None:
        self.middleware = middleware
        self._call = call
        self._reason = ""
        self.settle()

    def keep(self, reason: str) -> None:
        """Have the hooks run in a thread, whatever is known of them."""
        self._reason = reason
        self.settle()

    def settle(self) -> None:
        """Find the hooks and their rules, as they are now."""
        found = rules_of(self.middleware)
        self.rules = {}
        for name in _AROUND:
            if (hook := self._hook(name)) is not None:
                self.rules[name] = found.get(name, THREAD)
                if self._reason:
                    self.rules[name] = in_thread(self._reason)
            setattr(self, name, hook)
        self.request_rule = self.rules.get("process_request", THREAD)
        self.response_rule = self.rules.get("process_response", THREAD)

    def _hook(self, name: str) -> Callable[..., Any] | None:
        if self._call is None:
            return getattr(self.middleware, name, None)
        hook = getattr(self._call, name)
        return None if hook is None else partial(hook, self.middleware)

    @property
    def is_inline(self) -> bool:
        return any(rule.is_inline for rule in self.rules.values())


def _inline_call(layer: _Layer) -> GetResponse:
    """Return what does the same as the ``__acall__()`` of a `MiddlewareMixin`."""
    middleware = layer.middleware

    @wraps(middleware.__acall__)
    async def acall(request: Any) -> Any:
        response = None
        if layer.process_request is not None:
            response = await _run(layer.request_rule, middleware, layer.process_request, request)
        response = response or await middleware.get_response(request)
        if layer.process_response is not None:
            hook = layer.process_response
            response = await _run(layer.response_rule, middleware, hook, request, response)
        return response

    acall.layer = layer  # type: ignore[attr-defined]
    return acall


def _inline_hook(method: Any, entry: Loaded) -> Callable[..., Awaitable[Any]]:
    middleware, name = entry.middleware, method.__name__

    @wraps(method)
    async def hook(*args: Any) -> Any:
        return await _run(entry.places[name], middleware, method, *args)

    # The handler names its class when a template response hook returns None.
    hook.__self__ = middleware  # type: ignore[attr-defined]
    return hook


async def _run(rule: Rule, middleware: Any, hook: Callable[..., Any], *args: Any) -> Any:
    if rule.needs_thread(middleware, *args):
        return await _in_thread(hook)(*args)
    return hook(*args)


def _in_thread(hook: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    return sync_to_async(hook, thread_sensitive=True)


def _joined(layer: _Layer, behind: Any) -> GetResponse:
    """Return what does what a layer, and those that come right behind it, do."""
    return _chain((layer, *getattr(behind, "layers", ())), getattr(behind, "innermost", behind))


def _chain(layers: Sequence[_Layer], innermost: GetResponse) -> GetResponse:
    """Return a coroutine function that does what these middleware do around `innermost`.

    Each layer is as in `MiddlewareMixin.__acall__()`, and converts exceptions as
    `convert_exception_to_response()` does: what fails in it, or behind it, is a response to those
    outside of it.
    """

    async def chain(request: Any) -> Any:
        response = failure = None
        entered = 0
        try:
            for layer in layers:
                entered += 1
                if layer.process_request is not None:
                    if layer.request_rule.needs_thread(layer.middleware, request):
                        response = await _in_thread(layer.process_request)(request)
                    else:
                        response = layer.process_request(request)
                    if response:
                        break
            else:
                response = await innermost(request)
        except (Exception, NoThreadAvailable) as exc:  # noqa: BLE001 - as Django does
            failure = exc
        try:
            return await _leave(layers[:entered], request, response, failure)
        finally:
            del failure  # its traceback has this frame, which would keep it, and the request

    chain.layers = layers  # type: ignore[attr-defined]
    chain.innermost = innermost  # type: ignore[attr-defined]
    return chain


async def _leave(
    layers: Sequence[_Layer],
    request: Any,
    response: Any,
    failure: Exception | NoThreadAvailable | None,
) -> Any:
    """Take a response, or what was raised instead, back through the layers that were entered.

    Each layer processes the response, or converts what was raised behind it, or in it, to one. If
    an error handler of the project raises meanwhile, that is for the next outer layer to convert.

    Raises:
        Exception: the outermost layer could not convert it either.
    """
    for layer in reversed(layers):
        if failure is None and layer.process_response is not None:
            try:
                if layer.response_rule.needs_thread(layer.middleware, request, response):
                    response = await _in_thread(layer.process_response)(request, response)
                else:
                    response = layer.process_response(request, response)
            except (Exception, NoThreadAvailable) as exc:  # noqa: BLE001 - as Django does
                failure = exc
        if failure is not None:
            try:
                response = await _respond_to(request, failure)
                failure = None
            except Exception as exc:  # noqa: BLE001 - see above
                failure = exc
    if failure is None:
        return response
    try:
        raise failure
    finally:
        del failure


async def _respond_to(request: Any, exc: Exception | NoThreadAvailable) -> Any:
    if isinstance(exc, NoThreadAvailable):
        return busy_response(request, exc)
    # While `exc` is not being handled here: what is raised next gets the context that Django has.
    return await sync_to_async(_response_for, thread_sensitive=False)(request, exc)


def _response_for(request: Any, exc: Exception) -> Any:
    try:
        raise exc  # noqa: TRY301 - Django asks sys.exc_info() for it
    except Exception:  # noqa: BLE001 - whatever it is
        return response_for_exception(request, exc)


def busy_response(request: HttpRequest, reason: NoThreadAvailable) -> HttpResponse:
    """Return the 503 for a request that has found no thread; for Django that would be a 500."""
    logger.warning(
        "%s is answered with 503. %s",
        printable(f"{request.method} {request.path}"),
        reason,
        extra={"status_code": 503, "request": request},
    )
    response = problem_response(request, ServiceUnavailable("The server is busy."))
    mark_logged(response)
    return response
