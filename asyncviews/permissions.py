"""Whether a user has permissions, as Django's synchronous code would say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.apps import apps
from django.contrib import auth

from asyncviews.hooks import decide, decided
from asyncviews.overrides import Halves, overridden

_OF_USERS = ("has_perm", "has_perms", "get_all_permissions")
_OF_BACKENDS = (
    "has_perm",
    "get_all_permissions",
    "get_group_permissions",
    "get_user_permissions",
    "_get_permissions",
)


async def has_permissions(user: Any, permissions: Iterable[str]) -> bool:
    """Whether `user` has all permissions, whose names are like ``"app.change_model"``.

    The user model and the authentication backends are asked by their asynchronous methods, or on
    the request's thread by the synchronous ones if those were overridden; by both, which have to
    agree, if some overrides are of one kind and some of the other.

    Raises:
        ImproperlyConfigured: a synchronous method of theirs is a coroutine function.
        TypeError: the answer is neither True nor False.
    """
    names = permissions if isinstance(permissions, str) else tuple(permissions)
    halves = _halves(user)
    if (halves.async_ or not halves.sync) and not await _ask(user, names):
        return False
    return not halves.sync or await _ask_in_thread(user, names)


def _halves(user: Any) -> Halves:
    found = [overridden(user, _OF_USERS)]
    if apps.is_installed("django.contrib.auth"):
        found += [overridden(backend, _OF_BACKENDS) for backend in auth.get_backends()]
    return Halves(any(each.sync for each in found), any(each.async_ for each in found))


async def _ask(user: Any, permissions: Sequence[str]) -> bool:
    return await decide(user.ahas_perms(permissions), f"{type(user).__qualname__}.ahas_perms()")


async def _ask_in_thread(user: Any, permissions: Sequence[str]) -> bool:
    name = f"{type(user).__qualname__}.has_perms()"
    return await decide(await sync_to_async(_has_perms)(user, permissions), name)


def _has_perms(user: Any, permissions: Sequence[str]) -> Any:
    if hasattr(user, "has_perms"):
        return user.has_perms(permissions)
    name = f"{type(user).__qualname__}.has_perm()"  # all that the admin asks of a user model
    return all(decided(user.has_perm(permission), name) for permission in permissions)
