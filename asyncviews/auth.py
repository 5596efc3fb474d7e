"""Who may call a view: Django's access mixins, for `AsyncView`.

A client that wants JSON gets a problem, 401 if nobody is logged in and 403 otherwise; all others
get what Django answers, a redirect to the login page or the 403 page.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from operator import call
from typing import TYPE_CHECKING, Any, ClassVar

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.contrib.auth import mixins
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.views import View

from asyncviews.hooks import check_hooks, decide, runs_own_code
from asyncviews.internals import fetch_user, share_user
from asyncviews.permissions import has_permissions
from asyncviews.problems import Forbidden, Unauthorized, prefers_html


class AccessMixin(mixins.AccessMixin):
    """What the access mixins share. They stand before an `AsyncView`."""

    # For the OpenAPI document: what a request has to bring, as names of its security schemes.
    credentials: ClassVar[tuple[str, ...]] = ("session",)

    if TYPE_CHECKING:  # of AsyncView
        request: HttpRequest
        answers_json: Callable[[], bool]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_hooks(cls)
        _check_order(cls)

    def handle_no_permission(self) -> HttpResponseRedirect:
        """Refuse the request. Called on its thread; or on the event loop, once the user is fetched.

        Raises:
            Unauthorized: the client wants JSON, and nobody is logged in.
            Forbidden: the client wants JSON, and somebody is.
            PermissionDenied: `raise_exception` is set, or somebody is logged in.
        """
        share_user(self.request)
        if prefers_html(self.request, undecided=not self.answers_json()):
            response = super().handle_no_permission()
            patch_vary_headers(response, ["Accept"])
            return response
        problem = Forbidden if self.request.user.is_authenticated else Unauthorized
        raise problem(str(self.get_permission_denied_message()))

    async def _refuse(self) -> HttpResponseBase:
        await fetch_user(self.request)
        return await sync_to_async(self.handle_no_permission)()


def _check_order(cls: type) -> None:
    """Refuse a view that would not be protected.

    Raises:
        ImproperlyConfigured: its `handle()` is called before that of the mixin, or not at all.
    """
    if not issubclass(cls, View):
        return
    handling = [base for base in cls.__mro__ if "handle" in vars(base)]
    views = [base for base in handling if issubclass(base, View)]
    for mixin in (base for base in handling if base.__module__ == __name__):
        name = mixin.__qualname__
        if not views:
            raise ImproperlyConfigured(
                f"{cls.__qualname__} is no AsyncView: {name} of asyncviews.auth would not protect "
                "it. For Django's views there is that of django.contrib.auth.mixins."
            )
        before = handling[: handling.index(mixin)]
        if earlier := [view for view in views if view in before and not issubclass(view, mixin)]:
            raise ImproperlyConfigured(
                f"{cls.__qualname__}: {name} stands before {earlier[0].__qualname__} in the list of "
                f"bases, as in `class Orders({name}, AsyncView)`; otherwise it protects nothing."
            )


async def _called(function: Callable[[], Any], *, own: bool) -> Any:
    """Call a function, on the request's thread if it is the project's own code."""
    return await sync_to_async(call)(function) if own else function()


class LoginRequiredMixin(AccessMixin):
    """Answers only who is logged in."""

    async def handle(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        user = await fetch_user(request)
        asked = f"{type(user).__qualname__}.is_authenticated"
        own = runs_own_code(type(user), "is_authenticated")
        answer = await _called(partial(getattr, user, "is_authenticated"), own=own)
        if not await decide(answer, asked):
            return await self._refuse()
        return await super().handle(request, *args, **kwargs)  # type: ignore[misc, no-any-return]


class PermissionRequiredMixin(AccessMixin):
    """Answers only who has all of the permissions named in `permission_required`."""

    permission_required: str | Sequence[str] | None = None

    get_permission_required: Callable[[], Sequence[str]] = (
        mixins.PermissionRequiredMixin.get_permission_required  # type: ignore[assignment]
    )

    async def has_permission(self) -> bool:
        """Whether the user has the permissions: the hook to extend."""
        user = await fetch_user(self.request)
        get: Callable[[], Any] = self.get_permission_required
        own = runs_own_code(self, "get_permission_required", "permission_required")
        permissions = await _called(get, own=own)
        if inspect.isawaitable(permissions):
            permissions = await permissions
        return await has_permissions(user, permissions)

    async def handle(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not await decide(self.has_permission(), f"{type(self).__qualname__}.has_permission()"):
            return await self._refuse()
        return await super().handle(request, *args, **kwargs)  # type: ignore[misc, no-any-return]


class UserPassesTestMixin(AccessMixin):
    """Answers only if `test_func()` returns True, or an awaitable whose result is True."""

    def test_func(self) -> bool | Awaitable[bool | None] | None:
        """Whether the request is answered: `async def`, or `def`, called on its thread.

        Whatever is neither a boolean nor None, or awaitable, is an error and answers nobody.
        """
        raise NotImplementedError(
            f"{type(self).__name__} is missing the implementation of the test_func() method."
        )

    def get_test_func(self) -> Callable[[], Any]:
        """Return the function to ask instead of `test_func()`."""
        return self.test_func

    async def handle(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        get: Callable[[], Callable[[], Any]] = self.get_test_func
        test = await _called(get, own=runs_own_code(self, "get_test_func"))
        answer = test() if iscoroutinefunction(test) else await sync_to_async(call)(test)
        if not await decide(answer, f"{type(self).__qualname__}.test_func()"):
            return await self._refuse()
        share_user(request)
        return await super().handle(request, *args, **kwargs)  # type: ignore[misc, no-any-return]
