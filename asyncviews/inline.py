"""Middleware on the event loop: hooks that only compute need not be sent to a thread.

Django sends every synchronous hook of a middleware to a thread, though most of its own do nothing
that could block. `RULES` says so hook by hook. Here is how the handler follows it: middleware
classes that stand next to each other in MIDDLEWARE become one coroutine function, which calls
their hooks, each where its rule puts it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import django
from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.handlers.exception import response_for_exception
from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

from asyncviews.inline_rules import INLINE, RULES, THREAD, Rule, dotted_path
from asyncviews.internals import IS_CHECKED, mark_logged
from asyncviews.problems import ServiceUnavailable, problem_response
from asyncviews.text import printable
from asyncviews.threads import NoThreadAvailable

logger = logging.getLogger("asyncviews.threads")

MARK = "inline_capable"
"""The attribute with which a middleware class says that all it defines only computes."""

HOOKS = ("process_request", "process_view", "process_template_response", "process_response")

GetResponse = Callable[[Any], Awaitable[Any]]


def adapt(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return what the handler uses in place of `method`, which may be that itself.

    `method` is what `BaseHandler.adapt_method_mode()` gets while the middleware is loaded: a link of
    the middleware chain, which `convert_exception_to_response()` has made of a middleware and all
    that is behind it, or a bound hook.
    """
    middleware = getattr(method, "__wrapped__", None)
    if isinstance(middleware, MiddlewareMixin):
        return _adapt_link(method, middleware)
    middleware = getattr(method, "__self__", None)
    if isinstance(middleware, MiddlewareMixin):
        rule = _rules_of(middleware).get(method.__name__, THREAD)
        return method if rule is THREAD else _adapt_hook(method, middleware, rule)
    return method


def _rules_of(middleware: MiddlewareMixin) -> dict[str, Rule]:
    """Return the rules for a middleware, which may have methods that its class does not have."""
    cls = type(middleware)
    found = rules(cls)
    return _as_read(found) if vars(middleware).keys() & _read(cls) else found


def rules(cls: type) -> dict[str, Rule]:
    """Return the rules for the hooks of a middleware class; none if one of its bases is unknown."""
    if unknown_bases(cls):
        return {}
    owners = {hook: next((c for c in cls.__mro__ if hook in vars(c)), None) for hook in HOOKS}
    found = {hook: _rule(owner, hook) for hook, owner in owners.items() if owner}
    own = {name for c in cls.__mro__ if is_marked(c) for name in vars(c)}
    return _as_read(found) if own & _read(cls) else found


def _read(cls: type) -> set[str]:
    """Return what Django's classes among a class and its bases define besides hooks.

    The conditions of rules were read in it, and hold as long as it is Django's.
    """
    djangos = (c for c in cls.__mro__ if dotted_path(c) in RULES)
    return {name for c in djangos for name in vars(c) if _is_method(c, name)} - {*HOOKS}


def _is_method(cls: type, name: str) -> bool:
    """Whether a class defines a method or a property of that name, and no special one."""
    return not name.startswith("__") and hasattr(vars(cls)[name], "__get__")


def _as_read(rules: dict[str, Rule]) -> dict[str, Rule]:
    """Return the rules for a class that has replaced some of what Django's hooks call.

    A hook that is marked, or never blocks, still runs inline: Django's code does not block, and the
    mark says the same of what was replaced. A condition may be wrong now.
    """
    return {hook: rule if rule.settled() is False else THREAD for hook, rule in rules.items()}


def unknown_bases(cls: type) -> list[type]:
    """Return which of a class and its bases are neither in the table nor marked."""
    if not issubclass(cls, MiddlewareMixin) or not IS_CHECKED:
        return [cls]
    classes = [c for c in cls.__mro__ if c not in (MiddlewareMixin, object)]
    return [c for c in classes if dotted_path(c) not in RULES and not is_marked(c)]


def is_marked(cls: type) -> bool:
    """Whether the class itself, not a base of it, is marked."""
    return vars(cls).get(MARK) is True


def _rule(owner: type, hook: str) -> Rule:
    if is_marked(owner):
        return THREAD if iscoroutinefunction(vars(owner)[hook]) else INLINE
    rule = RULES[dotted_path(owner)].get(hook, THREAD)
    called = [hook, *(name for name in vars(owner) if name not in HOOKS)]
    patched = any(_is_patched(owner, name) for name in called)
    return THREAD if patched or django.VERSION[:2] not in rule.versions else rule


def _is_patched(owner: type, name: str) -> bool:
    """Whether somebody, as tools that trace requests do, has replaced a method of Django's."""
    function = vars(owner)[name]
    if not (callable(function) and (_is_method(owner, name) or name in HOOKS)):
        return False
    return function.__module__ != owner.__module__ or hasattr(function, "__wrapped__")


@dataclass(frozen=True, slots=True)
class _Layer:
    """A middleware: what it does to a request, and to a response, and where."""

    middleware: MiddlewareMixin
    process_request: Callable[[Any], Any] | None
    process_response: Callable[[Any, Any], Any] | None
    request_rule: Rule
    response_rule: Rule


def _adapt_link(link: GetResponse, middleware: MiddlewareMixin) -> GetResponse:
    cls: Any = type(middleware)
    overridden = vars(middleware).keys() & {*HOOKS, "__call__", "__acall__"}
    overridden |= {n for n in ("__call__", "__acall__") if n in vars(cls)}
    found = _rules_of(middleware)
    if not found or not middleware.async_mode or overridden:
        return link
    layer = _Layer(
        middleware,
        getattr(middleware, "process_request", None),
        getattr(middleware, "process_response", None),
        found.get("process_request", THREAD),
        found.get("process_response", THREAD),
    )
    behind: Any = middleware.get_response
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


def _adapt_hook(
    method: Any, middleware: MiddlewareMixin, rule: Rule
) -> Callable[..., Awaitable[Any]]:
    @wraps(method)
    async def hook(*args: Any) -> Any:
        if rule.needs_thread(middleware, *args):
            return await _in_thread(method)(*args)
        return method(*args)

    # The handler names its class when a template response hook returns None.
    hook.__self__ = middleware  # type: ignore[attr-defined]
    return hook


def _in_thread(hook: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    return sync_to_async(hook, thread_sensitive=True)
