"""Hooks that subclasses override: refused when the class is created, if of the wrong kind.

Code that comes from Django's synchronous views would otherwise fail at the first request, or be
skipped without a word: nobody awaits what a coroutine function returns where a plain one is called.

Not every function shows that it returns a coroutine. A coroutine is true, so the answer of a hook
that decides something is looked at, too.

A plain hook may query, unless it is Django's and is known not to: `runs_own_code()` tells.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import CoroutineType, FunctionType
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import ImproperlyConfigured
from django.views import View

_OF_EITHER_KIND = ("test_func",)
_OURS = ("django.", "asyncviews.")
_ACCESS = "django.contrib.auth.mixins"  # not imported: applications may not be ready


async def decide(answer: Any, asked: str) -> bool:
    """Return the answer of `asked`, the name of what was called; await it while it is awaitable.

    Raises:
        TypeError: it is neither True nor False.
    """
    while inspect.isawaitable(answer):
        answer = await answer
    return decided(answer, asked)


def decided(answer: Any, asked: str) -> bool:
    """Return the answer of `asked`, the name of what was called. None is a no.

    Raises:
        TypeError: it is neither True nor False. Objects are true, coroutines among them, and would
            decide whatever they stand for.
    """
    if isinstance(answer, bool) or answer is None:
        return bool(answer)
    if isinstance(answer, CoroutineType):
        answer.close()  # or there would be a warning that nobody awaits it
        hint = "make it a plain `def`, since it is called, not awaited"
    else:
        hint = "return `bool(...)` of what decides"
    kind = type(answer).__qualname__
    raise TypeError(f"{asked} must be True or False, not of type {kind}: {hint}.")


def require_decided(view: object, *names: str) -> None:
    """Look at the answers of hooks that Django's code calls later, as far as `view` has them.

    Raises:
        TypeError: one of them is neither True nor False.
    """
    for name in names:
        if hook := getattr(view, name, None):
            decided(hook(), f"{type(view).__qualname__}.{name}()")


def runs_own_code(view: Any, *names: str) -> bool:
    """Whether the project's code, or a third party's, runs when `view` uses these attributes.

    Such code may query, and belongs on the request's thread. `view` is an object or a class; the
    names are those of hooks, and of attributes that may be properties.
    """
    return any(_is_own(view, name) for name in names)


def has_own_code_behind(cls: type, base: type, name: str) -> bool:
    """Whether a class that stands behind `base` has a hook which is neither Django's nor ours."""
    behind = cls.__mro__[cls.__mro__.index(base) + 1 :]
    return any(name in vars(each) and not _is_ours(each) for each in behind)


def _is_own(view: Any, name: str) -> bool:
    own = {} if isinstance(view, type) else vars(view)
    if name in own:
        return callable(own[name]) and not _is_ours(own[name])
    for owner in (view if isinstance(view, type) else type(view)).__mro__:
        if name in vars(owner):
            value = vars(owner)[name]
            is_code = callable(value) or hasattr(value, "__get__")
            return is_code and not (_is_ours(owner) and _is_ours(value))
    return False


def _is_ours(code: Any) -> bool:
    """Whether a class, a function or what wraps one is Django's or that of asyncviews."""
    module = getattr(getattr(code, "fget", code), "__module__", None) or ""
    return module.startswith(_OURS) and not hasattr(code, "__wrapped__")


def check_hooks(cls: type) -> None:
    """Compare the hooks of `cls` with those of asyncviews, or else Django's, that they override.

    Raises:
        ImproperlyConfigured: a hook is a coroutine function and should be none, or the reverse.
    """
    for base, name, declared in _declared(cls):
        for owner in _owners(cls, name, base):
            hook = vars(owner)[name]
            if isinstance(hook, FunctionType) and _is_async(hook) != _is_async(declared):
                raise ImproperlyConfigured(_message(cls, owner, name, is_async=_is_async(declared)))


def _owners(cls: type, name: str, base: type) -> Iterator[type]:
    """Yield the class whose hook is called, and Django's access mixins that never are.

    Those stand behind `base`, which declares the hook, and would protect nothing.
    """
    yield next(each for each in cls.__mro__ if name in vars(each))
    for each in cls.__mro__[cls.__mro__.index(base) :]:
        if each.__module__ == _ACCESS and name in vars(each):
            yield each


def _declared(cls: type) -> Iterator[tuple[type, str, FunctionType]]:
    bases = [base for base in cls.__mro__ if base.__module__.startswith("asyncviews.")]
    bases += [base for base in cls.__mro__ if base.__module__.startswith("django.views.generic.")]
    seen = {*View.http_method_names, *_OF_EITHER_KIND}  # AsyncView looks at handlers itself
    for base in bases:
        for name, function in vars(base).items():
            if isinstance(function, FunctionType) and name not in seen and name[:2] != "__":
                seen.add(name)
                yield base, name, function


def _is_async(function: FunctionType) -> bool:
    return bool(iscoroutinefunction(function))


def _message(cls: type, owner: type, name: str, *, is_async: bool) -> str:
    where = f"{owner.__qualname__}.{name}()"
    if owner is not cls:
        where += f", which {cls.__qualname__} inherits,"
    if not is_async:
        return f"{where} must be a plain `def`: it is called, not awaited."
    if owner.__module__.startswith("django."):
        module = "asyncviews.auth" if owner.__module__ == _ACCESS else "asyncviews.generic"
        return f"{where} is synchronous: take the class of that name from {module}."
    message = (
        f"{where} must be `async def`: it is awaited. Await its `super().{name}()` as well, and "
        "run what blocks in it with `await sync_to_async(...)()`. (A decorator that does not "
        "support async functions has the same effect.)"
    )
    if owner is cls:
        return message
    mixin = f"async_mixin({owner.__name__})"
    return f"{message} Or inherit from {mixin} of asyncviews.generic, which runs it on a thread."
