"""What the document has: each handler at its place in the URLconf, and what it is called there."""

from __future__ import annotations

import inspect
import itertools
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured

from asyncviews.problems import Problem
from asyncviews.urlconf import Route, view_path
from asyncviews.views import AsyncView, Handler

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
"""The methods that a path item has (OpenAPI 3.1, section 4.8.9)."""

logger = logging.getLogger("asyncviews.openapi")

_NAME = re.compile(r"{(\w+)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A handler and one route that leads to it."""

    route: Route
    path: str
    """The path as a template, with a leading slash."""
    method: str
    """In lower case."""
    view_class: type[AsyncView]
    handler: Handler

    @property
    def function(self) -> Callable[..., Any]:
        return self.handler.function

    @property
    def path_names(self) -> list[str]:
        """The names of the parameters in the path, in its order."""
        return _NAME.findall(self.path)


def endpoints(routes: Iterable[Route], prefix: str) -> Iterator[Endpoint]:
    """Yield the handlers of every `AsyncView` whose path begins with `prefix`, but for pages.

    Of paths that differ in nothing but the names of their parameters OpenAPI allows one, which is
    the one that Django tries first.

    Raises:
        ImproperlyConfigured: an attribute of a view cannot be used; the message names both.
    """
    seen: dict[str, Route] = {}
    for route in routes:
        view_class = route.view_class
        if (
            not route.path.startswith(prefix)
            or view_class is None
            or not issubclass(view_class, AsyncView)
            or view_class.openapi_hidden
            or view_class.is_page
        ):
            continue
        path = _template(route)
        first = seen.setdefault(_NAME.sub("{}", path), route)
        if first is not route:
            _leave_out(route, f"OpenAPI cannot tell its path from that of {first.route!r}")
        elif not set(route.parameters) <= set(_NAME.findall(path)):
            _leave_out(route, "its regular expression has no form as a template")
        else:
            _require_tuples(view_class)
            yield from _of_view(route, path, view_class)


def _require_tuples(view_class: type[AsyncView]) -> None:
    """Raise `ImproperlyConfigured` if a tuple lacks its comma, or holds something else."""
    attributes: list[tuple[str, str, Callable[[Any], bool]]] = [
        ("openapi_tags", "strings", lambda tag: isinstance(tag, str)),
        ("raises", "subclasses of Problem", _is_problem),
    ]
    for name, what, fits in attributes:
        value = getattr(view_class, name)
        if not isinstance(value, (tuple, list)) or not all(map(fits, value)):
            raise ImproperlyConfigured(
                f"{view_class.__qualname__}.{name} must be a tuple of {what}, not {value!r}."
            )


def _is_problem(item: Any) -> bool:
    return isinstance(item, type) and issubclass(item, Problem)


def _leave_out(route: Route, reason: str) -> None:
    view = view_path(route.callback)
    logger.warning("The OpenAPI document leaves out %r (%s): %s.", route.route, view, reason)


def _template(route: Route) -> str:
    """Return the path with a slash, and with a name of its own for each group that has none."""
    if route.path.count("{var}") < 2:
        return f"/{route.path}"
    numbers = itertools.count(1)
    return "/" + re.sub("{var}", lambda _: f"{{var{next(numbers)}}}", route.path)


def _of_view(route: Route, path: str, view_class: type[AsyncView]) -> Iterator[Endpoint]:
    allowed = route.initkwargs.get("http_method_names", view_class.http_method_names)
    handlers = view_class.handlers
    for method, handler in handlers.items():
        is_get = method == "head" and handler.function is handlers["get"].function
        if method in allowed and not is_get:
            yield Endpoint(
                route=route, path=path, method=method, view_class=view_class, handler=handler
            )


# What an operation is called


def operation_ids(found: Iterable[Endpoint]) -> Iterator[tuple[Endpoint, str]]:
    """Yield each endpoint with an id, from the name of its URL or else from its path.

    A name that several URLs share is no id: they get that of their path, too.
    """
    everything = list(found)
    names = {id(e): _identifier(e.method, e.route.name or e.path) for e in everything}
    shared = Counter(names.values())
    used: set[str] = set()
    for endpoint in everything:
        name = names[id(endpoint)]
        if shared[name] > 1:
            name = _identifier(endpoint.method, endpoint.route.name or "", endpoint.path)
        free = (f"{name}_{number}" for number in itertools.count(2))
        name = name if name not in used else next(one for one in free if one not in used)
        used.add(name)
        yield endpoint, name


def _identifier(*parts: str) -> str:
    return "_".join(filter(None, (re.sub(r"\W+", "_", part).strip("_") for part in parts)))


def tags(endpoint: Endpoint) -> list[str]:
    """Return what the view says, or else the URL's namespace, or else the label of its app."""
    if endpoint.view_class.openapi_tags:
        return list(endpoint.view_class.openapi_tags)
    namespace, _, _ = (endpoint.route.name or "").rpartition(":")
    if namespace:
        return [namespace]
    module = endpoint.view_class.__module__
    app = apps.get_containing_app_config(module)
    return [app.label if app else module.partition(".")[0]]


def description(endpoint: Endpoint) -> dict[str, Any]:
    """Return summary, description and deprecation, from the docstring of the handler or the view."""
    found: dict[str, Any] = {}
    summary, _, text = _docstring(endpoint).partition("\n\n")
    warning = deprecation(endpoint)
    if summary:
        found["summary"] = " ".join(summary.split())
    if text := "\n\n".join(filter(None, (text.strip(), warning and f"**Deprecated:** {warning}"))):
        found["description"] = text
    if warning is not None:
        found["deprecated"] = True
    return found


def _docstring(endpoint: Endpoint) -> str:
    # That of a handler from this package, of a generic view say, is not about what it serves here.
    own = "" if is_ours(endpoint.function.__module__) else endpoint.function.__doc__
    return inspect.cleandoc(own or vars(endpoint.view_class).get("__doc__") or "")


def is_ours(module: str) -> bool:
    """Whether a module is one of this package."""
    return module.partition(".")[0] == __name__.partition(".")[0]


def deprecation(endpoint: Endpoint) -> str | None:
    """Return what ``@warnings.deprecated`` (PEP 702) says of the handler or its view, if it does."""
    of_view: str | None = vars(endpoint.view_class).get("__deprecated__")
    return getattr(endpoint.function, "__deprecated__", of_view)
