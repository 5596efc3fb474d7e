"""Which view serves a path, remembered where nothing but the path decides it.

Django tries one URL pattern after the other, for each request anew. Where a project has no
converters of its own and no patterns that depend on the language, the answer is always the same.
"""

from __future__ import annotations

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
    if len(path) > LONGEST or not _depends_on_path_only(resolver):
        return resolver.resolve(path)
    found = _resolve(resolver, path)
    # Middleware may change it, so each request has its own.
    match = object.__new__(ResolverMatch)
    attributes = match.__dict__ = found.__dict__.copy()
    for name in ("kwargs", "captured_kwargs", "extra_kwargs"):
        if attributes[name] is not None:
            attributes[name] = attributes[name].copy()
    return match


@lru_cache(REMEMBERED)
def _resolve(resolver: URLResolver, path: str) -> ResolverMatch:
    return resolver.resolve(path)


@lru_cache(64)
def _depends_on_path_only(resolver: URLResolver) -> bool:
    try:
        return IS_CHECKED and _is_constant(resolver)
    except Exception:  # noqa: BLE001 - an included URLconf is broken, and shows when it is reached
        return False


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
