"""Who may look at the dashboard, and who may change what it shows.

It asks for the permissions that the admin asks for. Where no tasks are stored they do not exist, and
superusers have them all the same, or whom an authentication backend of the project's gives them.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.cache import patch_vary_headers

from asyncviews.hooks import decide
from asyncviews.internals import fetch_user
from asyncviews.permissions import has_permissions
from asyncviews.problems import Forbidden, Unauthorized, prefers_html

VIEW = "asyncviews_durable.view_storedtask"
"""The permission to see tasks, with their arguments, errors and tracebacks."""

CHANGE = "asyncviews_durable.change_storedtask"
"""The permission to see tasks, and to cancel and retry them."""


async def user_of(request: HttpRequest) -> Any:
    """Return the request's user.

    Raises:
        ImproperlyConfigured: nothing says who that is.
    """
    if not hasattr(request, "user"):
        raise ImproperlyConfigured(
            "The dashboard of asyncviews is for staff, and nothing says who the user is: add "
            '"django.contrib.auth.middleware.AuthenticationMiddleware" to MIDDLEWARE.'
        )
    return await fetch_user(request)


async def may_change(request: HttpRequest) -> bool:
    """Return whether the request's user may cancel and retry tasks."""
    return await has_permissions(await user_of(request), [CHANGE])


async def require_change(request: HttpRequest) -> None:
    """Refuse to change a task for who may not.

    Raises:
        Forbidden: the user lacks the permission.
    """
    if not await may_change(request):
        raise Forbidden(f"To cancel or retry a task, you need the permission {CHANGE}.")


class StaffOnly:
    """A view for members of the staff who may see tasks, as the admin's list of them is.

    A browser that is not logged in is sent to ``LOGIN_URL``.
    """

    request: HttpRequest

    async def authorize(self, request: HttpRequest) -> None:
        user = await user_of(request)
        if not await _is(user, "is_authenticated"):
            raise Unauthorized("This is for members of the staff. Log in.")
        if not (await _is(user, "is_active") and await _is(user, "is_staff")):
            raise Forbidden("This is for members of the staff.")
        if not (await has_permissions(user, [VIEW]) or await has_permissions(user, [CHANGE])):
            raise Forbidden(f"To see tasks, you need the permission {VIEW}.")

    async def handle_exception(self, exc: Exception) -> HttpResponseBase:
        if isinstance(exc, Unauthorized) and prefers_html(self.request):
            response = redirect_to_login(home(self.request))
            patch_vary_headers(response, ["Accept"])
            return response
        return await super().handle_exception(exc)  # type: ignore[misc, no-any-return]


async def _is(user: Any, attribute: str) -> bool:
    answer = getattr(user, attribute, False)
    return await decide(answer, f"{type(user).__qualname__}.{attribute}")


def home(request: HttpRequest) -> str:
    """Return the path of the dashboard, wherever the project has put it."""
    namespace = request.resolver_match.namespace if request.resolver_match else ""
    return reverse(f"{namespace}:dashboard")
