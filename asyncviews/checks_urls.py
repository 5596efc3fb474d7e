"""System checks of path parameters: what handlers ask for, and what the URLconf captures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - that is its name
from pydantic.errors import PydanticInvalidForJsonSchema

from asyncviews.parameters import Group
from asyncviews.sources import PathSource
from asyncviews.urlconf import Route, walk
from asyncviews.views import AsyncView, Handler


def check_path_parameters(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Compare the path parameters of each `AsyncView` with what its URL patterns capture.

    E003: a handler requires what a pattern does not capture, and would answer every request with
    422. W007: a pattern captures what no handler of its view takes. W010: no pattern captures what
    a handler has a default for.
    """
    try:
        routes = list(walk()) if getattr(settings, "ROOT_URLCONF", None) else []
    except Exception:  # noqa: BLE001 - what is wrong with the URLconf is said by Django's checks
        return []
    views = [
        (route, view_class)
        for route in routes
        if (view_class := route.view_class) is not None and issubclass(view_class, AsyncView)
    ]
    found: list[CheckMessage] = []
    for route, view_class in views:
        found += _missing(route, view_class)
        found += _unused(route, view_class)
    return [*found, *_never_given(views)]


def _never_given(views: Iterable[tuple[Route, type[AsyncView]]]) -> Iterator[CheckMessage]:
    """W010, for parameters without a source: one that says ``Path[...]`` is meant so.

    A handler that several views inherit gets what any of them is given.
    """
    given: dict[Any, set[str]] = defaultdict(set)
    owners: dict[Any, tuple[type[AsyncView], str, Handler]] = {}
    unknown = set()
    for route, view_class in views:
        for method, handler in _handlers(view_class):
            given[handler.function] |= {*route.parameters, *route.defaults}
            owners.setdefault(handler.function, (view_class, method, handler))
            if _may_be_given_more(route, view_class):
                unknown.add(handler.function)
    for function, (view_class, method, handler) in owners.items():
        for parameter in handler.signature.implicit if function not in unknown else ():
            if parameter.required or parameter.names & given[function]:
                continue
            yield Warning(
                f"{view_class.__qualname__}.{method}() has the parameter '{parameter.name}' without "
                "a source, which is one of the path, and no URL pattern captures it: it always has "
                "its default.",
                hint=f"To read it from the query string, write {parameter.corrected}. If it is to "
                "come from the path, in another URLconf, write Path[...].",
                obj=view_class,
                id="asyncviews.W010",
            )


def _may_be_given_more(route: Route, view_class: type[AsyncView]) -> bool:
    """Whether code between the URLconf and the handler may add arguments that nobody sees here."""
    if route.positional:
        return True
    function: Any = route.callback
    while inner := getattr(function, "__wrapped__", None):
        if not _is_defined_in(function, "django", "asyncviews"):
            return True
        function = inner
    ways = (view_class.as_view, view_class.setup, view_class.dispatch, view_class.handle)
    return not (
        _is_defined_in(function, "django")
        and all(_is_defined_in(way, "asyncviews") for way in ways)
    )


def _is_defined_in(function: Any, *packages: str) -> bool:
    """Whether a function's own code is in a package; `functools.wraps` does not change that."""
    namespace = getattr(function, "__globals__", {})
    return namespace.get("__name__", "").partition(".")[0] in packages


def _missing(route: Route, view_class: type[AsyncView]) -> Iterator[CheckMessage]:
    captured = {*route.parameters, *route.defaults}
    for method, handler in _handlers(view_class):
        for name in sorted(_required(handler) - captured):
            yield Error(
                f"{view_class.__qualname__}.{method}() requires the path parameter '{name}', which "
                f"the URL pattern {route.route!r} does not capture: every request would be "
                "answered with 422.",
                hint=f"The pattern captures {_listed(captured)}. A parameter that is to come from "
                f"elsewhere says so: {_elsewhere(handler, name)}.",
                obj=view_class,
                id="asyncviews.E003",
            )


def _elsewhere(handler: Handler, name: str) -> str:
    """Return how a required parameter is written to be read from the query string."""
    return next((p.corrected for p in handler.signature.implicit if name in p.names), "Query[...]")


def _unused(route: Route, view_class: type[AsyncView]) -> Iterator[CheckMessage]:
    handlers = dict(_handlers(view_class))
    if not handlers or any(handler.signature.takes_kwargs for handler in handlers.values()):
        return
    taken = {name for handler in handlers.values() for name in _names(handler)}
    for name in route.parameters:
        if name not in taken:
            methods = ", ".join(f"{method}()" for method in handlers)
            yield Warning(
                f"The URL pattern {route.route!r} captures '{name}', which no handler of "
                f"{view_class.__qualname__} takes ({methods}).",
                hint=f"The path parameters of the handlers are {_listed(taken)}. What is read from "
                "self.kwargs can be declared with **kwargs.",
                obj=view_class,
                id="asyncviews.W007",
            )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names)) or "nothing"


def _handlers(view_class: type[AsyncView]) -> Iterator[tuple[str, Handler]]:
    """Yield the handlers, but for a HEAD that is answered by GET."""
    handlers = view_class.handlers
    for method, handler in handlers.items():
        if method != "head" or handler.function is not handlers["get"].function:
            yield method, handler


def _path_groups(handler: Handler) -> Iterator[Group]:
    for group in handler.signature.groups:
        if isinstance(group.source, PathSource):
            yield group


def _names(handler: Handler) -> Iterator[str]:
    for group in _path_groups(handler):
        yield from group.schema.fields


def _required(handler: Handler) -> set[str]:
    required: set[str] = set()
    for group in _path_groups(handler):
        if group.name is None or group.required:
            required |= _required_fields(group)
    return required


def _required_fields(group: Group) -> set[str]:
    """Return the names without which a request never fits."""
    try:
        schema = group.schema.adapter.json_schema()
    except PydanticInvalidForJsonSchema:
        return set()  # of such types only a request tells
    if group.schema.fields.keys() - schema.get("properties", {}).keys():
        return set()  # there are other names for the same: aliases, members of a union
    return set(schema.get("required", ()))
