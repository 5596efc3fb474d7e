"""Every view of the project and where it is: the URLconf, walked from its root."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RegexPattern, RoutePattern
from django.utils.regex_helper import normalize

_PARAMETER = re.compile(r"<(?:[^>:]+:)?([^>]+)>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One pattern of the URLconf, with what the ``include()`` around it add."""

    path: str
    """The path as a template without a leading slash, as ``orders/{pk}/``. A group without a name
    is ``{var}``; what depends on the language is in the one that is active."""
    route: str
    """The same as it is written, as ``orders/<int:pk>/``; `ResolverMatch` calls it so, too."""
    callback: Callable[..., Any]
    """What the pattern calls, decorators included."""
    name: str | None
    """What ``reverse()`` takes, as ``shop:order``."""
    parameters: tuple[str, ...]
    """The names of what the path captures."""
    positional: int
    """How many positional arguments it captures; only a regular expression can."""
    converters: Mapping[str, Any]
    """The converters of those parameters that have one: all but those of regular expressions."""
    defaults: Mapping[str, Any]
    """The further keyword arguments that ``path()`` and ``include()`` give. Of the same name, those
    of ``path()`` replace what is captured; what is captured replaces those of ``include()``."""

    @property
    def view(self) -> Any:
        """The view's class, or its function without the decorators that admit to it."""
        return view_of(self.callback)

    @property
    def view_class(self) -> type | None:
        """The class of a class-based view."""
        return self.view if isinstance(self.view, type) else None

    @property
    def initkwargs(self) -> Mapping[str, Any]:
        """What ``as_view()`` was called with."""
        return getattr(_unwrap(self.callback), "view_initkwargs", {})


def walk(resolver: URLResolver | None = None) -> Iterator[Route]:
    """Yield every route, in the order in which Django tries them; by default, of ROOT_URLCONF.

    Raises:
        ImproperlyConfigured: an included URLconf holds no patterns.
        ImportError: it, or a view in it, cannot be imported.
    """
    for pattern in (resolver or get_resolver()).url_patterns:
        if isinstance(pattern, URLPattern):
            yield _route(pattern)
        else:
            for inner in walk(pattern):
                yield _included(inner, pattern)


def view_of(callback: Callable[..., Any]) -> Any:
    """Return the class of a class-based view, or a function without its decorators.

    A decorator that wraps with neither `functools.wraps` nor `functools.partial` hides them.
    """
    innermost = _unwrap(callback)
    return getattr(innermost, "view_class", innermost)


def view_path(callback: Callable[..., Any]) -> str:
    """Return module and qualified name of the view that a pattern calls."""
    view = view_of(callback)
    named = view if hasattr(view, "__qualname__") else type(view)
    return f"{view.__module__}.{named.__qualname__}"


def _unwrap(callback: Any) -> Any:
    while not hasattr(callback, "view_class"):
        if isinstance(callback, partial):
            callback = callback.func
        elif hasattr(callback, "__wrapped__"):
            callback = callback.__wrapped__
        else:
            break
    return callback


def _route(pattern: URLPattern) -> Route:
    names = _names(pattern.pattern)
    return Route(
        path=_template(pattern.pattern),
        route=str(pattern.pattern),
        callback=pattern.callback,
        name=pattern.name,
        parameters=names,
        positional=_positional(pattern.pattern),
        converters=dict(pattern.pattern.converters),
        defaults=dict(pattern.default_args),
    )


def _included(inner: Route, by: URLResolver) -> Route:
    """Return a route as it is behind an ``include()``, as `URLResolver.resolve()` puts it."""
    outer = str(by.pattern)
    names = _names(by.pattern)
    keywords = names or by.default_kwargs or inner.parameters or inner.defaults
    return replace(
        inner,
        path=_template(by.pattern) + inner.path,
        route=outer + inner.route.removeprefix("^") if outer else inner.route,
        name=f"{by.namespace}:{inner.name}" if inner.name and by.namespace else inner.name,
        parameters=tuple(dict.fromkeys((*names, *inner.parameters))),
        positional=inner.positional + (0 if keywords else _positional(by.pattern)),
        converters={**by.pattern.converters, **inner.converters},
        defaults={**by.default_kwargs, **inner.defaults},
    )


def _names(pattern: Any) -> tuple[str, ...]:
    return tuple(pattern.converters) or tuple(pattern.regex.groupindex)


def _positional(pattern: Any) -> int:
    is_regex = isinstance(pattern, RegexPattern)
    return pattern.regex.groups if is_regex and not pattern.regex.groupindex else 0


def _template(pattern: Any) -> str:
    text = str(pattern)
    if isinstance(pattern, RoutePattern):
        return _PARAMETER.sub(r"{\1}", text)
    if isinstance(pattern, RegexPattern):
        return _template_of_regex(text)
    return text  # the prefix of a language


def _template_of_regex(regex: str) -> str:
    """Return a regular expression as ``reverse()`` reads it, optional groups included.

    One that it cannot read, with alternatives outside of groups, stays as it is.
    """
    form, names = max(normalize(regex), key=lambda possibility: len(possibility[1]))
    plain = regex.removeprefix("^").removesuffix("$").removesuffix(r"\Z")
    if not form and plain:
        return plain
    for name in names:
        form = form.replace(f"%({name})s", "{var}" if name.startswith("_") else f"{{{name}}}")
    return form
