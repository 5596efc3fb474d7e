"""Django's methods that exist twice, ``has_perm()`` and ``ahas_perm()``: which one was overridden.

Django's asynchronous methods do not call the synchronous ones, so whoever overrides only one half
has said nothing about the other. The half that was overridden further down counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import ImproperlyConfigured


class Halves(NamedTuple):
    """Whose answer counts: with both, some methods have a newer synchronous half, some the other."""

    sync: bool
    """Whether a synchronous method overrides its twin, or has none."""
    async_: bool
    """Whether an asynchronous method overrides its twin, or has none."""


def overridden(owner: Any, names: tuple[str, ...]) -> Halves:
    """Compare the methods `names` of an object with their asynchronous twins.

    Raises:
        ImproperlyConfigured: a method that is called, and not awaited, is a coroutine function.
    """
    cls = owner.__class__  # of a lazy object, the class of what it stands for
    own = getattr(owner, "__dict__", {})
    if own.keys() & {*names, *map(_twin, names)}:
        return _compare(cls, names, own)
    # What is patched in a class counts, too: it changes the key.
    methods = tuple(getattr(cls, name, None) for name in (*names, *map(_twin, names)))
    return _compare_classes(cls, names, methods)


def _twin(name: str) -> str:
    return f"_a{name[1:]}" if name.startswith("_") else f"a{name}"


@lru_cache(64)
def _compare_classes(cls: type, names: tuple[str, ...], methods: tuple[Any, ...]) -> Halves:
    return _compare(cls, names, {})


def _compare(cls: type, names: tuple[str, ...], own: Mapping[str, Any]) -> Halves:
    # Django's own halves agree, whichever of its classes has them.
    djangos = {c for c in cls.__mro__ if c.__module__.startswith("django.")}
    inherited = {
        name: f for c in reversed(cls.__mro__) if c in djangos for name, f in vars(c).items()
    }
    namespaces = [own, *(vars(c) for c in cls.__mro__ if c not in djangos), inherited]
    pairs = [(_depth(name, namespaces), _depth(_twin(name), namespaces)) for name in names]
    for name, (depth, _) in zip(names, pairs, strict=True):
        if depth < len(namespaces):
            _require_plain(cls, name, namespaces[depth][name])
    return Halves(any(a < b for a, b in pairs), any(b < a for a, b in pairs))


def _depth(name: str, namespaces: list[Mapping[str, Any]]) -> int:
    found = (depth for depth, namespace in enumerate(namespaces) if name in namespace)
    return next(found, len(namespaces))


def _require_plain(cls: type, name: str, method: Any) -> None:
    if iscoroutinefunction(getattr(method, "__func__", method)):
        raise ImproperlyConfigured(
            f"{cls.__qualname__}.{name}() must be a plain `def`: Django calls it and takes the "
            f"coroutine for a yes. The asynchronous method is {_twin(name)}()."
        )
