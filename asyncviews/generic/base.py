"""Templates and redirects, and what all generic views share.

They are Django's, and so are their hooks. A hook that is `async def` here is awaited on the event
loop. One that is a plain `def` is called on the request's thread, and so is a property; only what is
Django's and computes is called on the event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from asgiref.sync import sync_to_async
from django.http import (
    HttpRequest,
    HttpResponseGone,
    HttpResponsePermanentRedirect,
    HttpResponseRedirect,
)
from django.http.response import HttpResponseBase
from django.utils.log import log_response
from django.views.generic.base import TemplateResponseMixin

from asyncviews.generic.bases import ContextMixin, RedirectView
from asyncviews.hooks import check_hooks, has_own_code_behind, runs_own_code
from asyncviews.views import AsyncView


class AsyncContextMixin(ContextMixin):
    """Django's `ContextMixin`; it stands before all mixins of Django's that add to the context.

    Raises:
        ImproperlyConfigured: when a subclass is created with a hook that is synchronous and should
            not be, or the reverse.
    """

    # Whether what stands behind, Django's or a mixin's, needs the database.
    _context_queries: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_hooks(cls)
        if has_own_code_behind(cls, AsyncContextMixin, "get_context_data"):
            cls._context_queries = True

    async def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Return what the template gets."""
        build: Callable[..., dict[str, Any]] = super().get_context_data  # type: ignore[misc]
        if self._context_queries or runs_own_code(self, "get_context_object_name", "extra_context"):
            return await sync_to_async(build)(**kwargs)
        return build(**kwargs)


class AsyncTemplateResponseMixin(TemplateResponseMixin):
    """Django's `TemplateResponseMixin`: templates are rendered on the request's thread, and may query."""

    is_page = True


async def render(view: Any, context: dict[str, Any]) -> HttpResponseBase:
    """Call ``render_to_response()`` of a generic view: on the request's thread, if it may query.

    Django's makes a response that is rendered later, on the request's thread.
    """
    if runs_own_code(view, *_RESPONDING) or getattr(view, "template_name_field", None):
        return await sync_to_async(_respond)(view, context)
    return _respond(view, context)


_RESPONDING = (
    "render_to_response",
    "get_template_names",
    "response_class",
    "template_name",
    "template_name_field",
    "template_engine",
    "content_type",
)


def _respond(view: Any, context: dict[str, Any]) -> HttpResponseBase:
    response: HttpResponseBase = view.render_to_response(context)
    return response


class AsyncTemplateView(AsyncTemplateResponseMixin, AsyncContextMixin, AsyncView):
    """Renders a template. The arguments of the URL pattern are in its context."""

    async def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return await render(self, await self.get_context_data(**kwargs))


def share_parameters(cls: type[AsyncView], method: str, *others: str, owner: type) -> None:
    """Let handlers that only call that of `method` have its parameters, too.

    `owner` is the class that defines them; one that a subclass overrides has its own.
    """
    for other in others:
        if getattr(cls, other) is vars(owner)[other] and {method, other} <= cls.handlers.keys():
            signature = cls.handlers[method].signature
            cls.handlers[other] = replace(cls.handlers[other], signature=signature)


class AsyncRedirectView(AsyncView, RedirectView):
    """Redirects, whatever the method."""

    preserve_request = False
    is_page = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        others = ("head", "post", "options", "delete", "put", "patch")
        share_parameters(cls, "get", *others, owner=AsyncRedirectView)

    async def get_redirect_url(self, *args: Any, **kwargs: Any) -> str | None:
        """Return the URL to redirect to, or None for 410 (Gone)."""
        make: Callable[..., str | None] = super().get_redirect_url  # type: ignore[misc]
        if runs_own_code(self, "url", "pattern_name", "query_string"):
            return await sync_to_async(make)(*args, **kwargs)
        return make(*args, **kwargs)

    async def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        url = await self.get_redirect_url(*args, **kwargs)
        if not url:
            gone = HttpResponseGone()
            log_response("Gone: %s", request.path, response=gone, request=request)
            return gone
        redirect = HttpResponsePermanentRedirect if self.permanent else HttpResponseRedirect
        return redirect(url, preserve_request=self.preserve_request)

    async def head(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return await self.get(request, *args, **kwargs)

    post = options = delete = put = patch = head  # type: ignore[assignment]
