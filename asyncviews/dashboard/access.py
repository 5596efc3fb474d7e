"""Who may look at the dashboard."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse

from asyncviews.problems import Forbidden, Unauthorized, prefers_html

CHANGE_STORED = "asyncviews_durable.change_storedtask"
"""The permission that the admin asks for before it cancels or retries a stored task."""


async def user_of(request: HttpRequest) -> Any:
    """Return the request's user.

    Raises:
        ImproperlyConfigured: nothing says who that is.
    """
    auser = getattr(request, "auser", None)
    if auser is None:
        raise ImproperlyConfigured(
            "The dashboard of asyncviews is for staff, and nothing says who the user is: add "
            '"django.contrib.auth.middleware.AuthenticationMiddleware" to MIDDLEWARE.'
        )
    return await auser()


class StaffOnly:
    """A view for members of the staff. A browser that is not logged in is sent to ``LOGIN_URL``."""

    request: HttpRequest

    async def authorize(self, request: HttpRequest) -> None:
        user = await user_of(request)
        if not user.is_authenticated:
            raise Unauthorized("This is for members of the staff. Log in.")
        if not (user.is_active and getattr(user, "is_staff", False)):
            raise Forbidden("This is for members of the staff.")

    async def handle_exception(self, exc: Exception) -> HttpResponseBase:
        if isinstance(exc, Unauthorized) and prefers_html(self.request):
            return redirect_to_login(home(self.request))
        return await super().handle_exception(exc)  # type: ignore[misc, no-any-return]


def home(request: HttpRequest) -> str:
    """Return the path of the dashboard, wherever the project has put it."""
    namespace = request.resolver_match.namespace if request.resolver_match else ""
    return reverse(f"{namespace}:dashboard")
