"""The arguments of a background task as a reader may see them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from inspect import BoundArguments, Parameter
from itertools import repeat
from reprlib import Repr
from typing import Any

from asyncviews.annotations import signature_of

MASK = "****"
"""Stands for what is secret."""

_repr = Repr()
_repr.maxstring = _repr.maxother = 100
_repr.maxlevel = 3


def shown(
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    secrets: Collection[str],
    leading: int = 0,
) -> str:
    """Return the arguments of a call: shortened, and without those that `secrets` names.

    `leading` is how many positional arguments the function is given before `args`. Nothing is
    shown of a call that does not fit the function's signature.
    """
    if not secrets:
        return ", ".join([*map(_repr.repr, args), *map(_named, kwargs, kwargs.values())])
    try:
        bound = bind(func, args, kwargs, leading=leading)
    except (
        TypeError,
        ValueError,
    ):  # it cannot be called like this, and nobody knows what is secret
        return MASK
    return ", ".join(_shown(bound, secrets, leading))


def bind(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], *, leading: int = 0
) -> BoundArguments:
    """Return which of the function's own parameters have which values.

    A decorator's wrapper may call the wrapped function with more or other positional arguments, so
    that the names of that function's parameters say nothing about the wrapper's.

    Raises:
        TypeError: the function cannot be called like this.
        ValueError: it has no signature, as some that are built in.
    """
    own = signature_of(func, follow_wrapped=False)
    return own.bind(*repeat(None, leading), *args, **kwargs)


def _shown(bound: BoundArguments, secrets: Collection[str], leading: int) -> Iterator[str]:
    parameters = bound.signature.parameters
    without_a_name = [name for name in secrets if name not in parameters]  # may be any of *args
    for name, value in bound.arguments.items():
        kind = parameters[name].kind
        if kind is Parameter.VAR_POSITIONAL:
            masked = name in secrets or without_a_name
            yield from (MASK if masked else _repr.repr(item) for item in value[leading:])
        elif kind is Parameter.VAR_KEYWORD:
            yield from (
                _named(key, item, masked=name in secrets or key in secrets)
                for key, item in value.items()
            )
        elif leading:
            leading -= 1
        else:
            yield _named(name, value, masked=name in secrets)


def _named(name: str, value: Any, *, masked: bool = False) -> str:
    return f"{name}={MASK if masked else _repr.repr(value)}"
