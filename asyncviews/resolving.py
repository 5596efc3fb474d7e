"""Which view serves a path, remembered where nothing but the path decides it.

Django tries one URL pattern after the other, for each request anew. Where a project has no
converters of its own and no patterns that depend on the language, the answer is the same as long as
the lists of patterns are.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from functools import lru_cache
from typing import Any

from django.urls import ResolverMatch, URLPattern, URLResolver
from django.urls.converters import DEFAULT_CONVERTERS
from django.urls.resolvers import RegexPattern, RoutePattern

from asyncviews.internals import IS_CHECKED

REMEMBERED = 2048  # paths
LONGEST = 200  # characters of a path that is remembered


def resolve(resolver: URLResolver, path: str) -> ResolverMatch:
    """Return what ``resolver.resolve(path)`` returns.

    Raises:
        Resolver404: no pattern matches.
    """
    routes = _routes(resolver)
    if len(path) > LONGEST or not routes.depend_on_path_only():
        return resolver.resolve(path)
    found = _resolve(resolver, path, routes.generation)
    # Middleware may change it, so each request has its own.
    match = object.__new__(ResolverMatch)
    attributes = match.__dict__ = found.__dict__.copy()
    for name in ("kwargs", "captured_kwargs", "extra_kwargs"):
        if attributes[name] is not None:
            attributes[name] = attributes[name].copy()
    return match


@lru_cache(REMEMBERED)
def _resolve(resolver: URLResolver, path: str, generation: int) -> ResolverMatch:
    return resolver.resolve(path)


class _Routes:
    """The patterns of a resolver, and of all that it includes, as they were when last looked at.

    A project that adds a pattern to a list, or replaces one, need not call ``clear_url_caches()``
    for Django to find it.
    """

    def __init__(self, resolver: URLResolver) -> None:
        self._resolver = resolver
        self.generation = 0
        """Counts how often the patterns have changed."""
        self._look()

    def depend_on_path_only(self) -> bool:
        if self._are_constant and self._have_changed():
            self.generation += 1
            self._look()
        return self._are_constant

    def _look(self) -> None:
        self._seen: list[tuple[URLResolver, Any, Any]] = []
        try:
            self._are_constant = IS_CHECKED and _is_constant(self._resolver)
            if self._are_constant:
                self._seen = [
                    (each, each.url_patterns, copy(each.url_patterns))
                    for each in _resolvers(self._resolver)
                ]
        except Exception:  # noqa: BLE001 - an included URLconf is broken, and shows when reached
            self._are_constant = False

    def _have_changed(self) -> bool:
        for resolver, patterns, before in self._seen:
            # Lists compare their items by identity first: this takes nanoseconds a pattern.
            if resolver.url_patterns is not patterns or patterns != before:
                return True
        return False


@lru_cache(64)
def _routes(resolver: URLResolver) -> _Routes:
    return _Routes(resolver)


def _resolvers(resolver: URLResolver) -> Iterator[URLResolver]:
    """Yield a resolver and all that it includes."""
    yield resolver
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from _resolvers(pattern)


def _is_constant(resolver: Any) -> bool:
    if type(resolver) not in {URLResolver, URLPattern} or not _is_plain(resolver.pattern):
        return False
    return type(resolver) is URLPattern or all(map(_is_constant, resolver.url_patterns))


def _is_plain(pattern: Any) -> bool:
    kind = type(pattern)
    if kind is RegexPattern:
        return isinstance(pattern._regex, str)  # noqa: SLF001 - not one that is translated
    if kind is not RoutePattern or not isinstance(pattern._route, str):  # noqa: SLF001
        return False
    return all(
        converter in DEFAULT_CONVERTERS.values() for converter in pattern.converters.values()
    )
