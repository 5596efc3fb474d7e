"""Templates on the event loop: what they need is fetched before, so that they only compute."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import currentframe
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import SESSION_KEY
from django.core.exceptions import SynchronousOnlyOperation
from django.core.paginator import Page
from django.db.models import QuerySet
from django.db.models.query import RawQuerySet
from django.forms import BaseForm
from django.forms.formsets import BaseFormSet
from django.http import HttpRequest, HttpResponse
from django.template import Node, Variable
from django.template.base import TokenType
from django.template.response import TemplateResponse
from django.utils.functional import SimpleLazyObject

from asyncviews.internals import fetch_user, is_fetched, recorded_refusals


class AsyncTemplateResponse(TemplateResponse):
    """Django's `TemplateResponse`, rendered on the event loop instead of the request's thread.

    Before that, each queryset and each page of a paginator in its context is fetched, and so are
    the session and the user, if the request brings a session. With a form or a formset in the
    context, whose widgets may query, or a callback to call afterwards, it is rendered on the
    request's thread, and where there is no event loop it is rendered as ever.

    Rendering on the event loop raises `SynchronousOnlyOperation` for what needs the database
    after all, with a message that names the template, the variable, and what to do.
    """

    _has_callbacks = False

    @property
    def render(self) -> Callable[[], Any]:
        """The function to call or, on the event loop, to await."""
        in_thread = self._has_callbacks or any(map(_may_query, self._context().values()))
        if in_thread or not _is_on_event_loop():
            return super().render
        return self._render_on_event_loop

    async def _render_on_event_loop(self) -> HttpResponse:
        if not self.is_rendered:
            await fetch_querysets(self._context())
            if self._request is not None:
                await fetch_session(self._request)
        refused: list[_Refusal] = []
        try:
            with recorded_refusals(lambda: refused.append(_refusal())):
                return super().render()
        finally:
            # Not only if it raises: a comparison in a template swallows exceptions, and is false.
            if refused:
                raise SynchronousOnlyOperation(refused[0].explain(self.template_name))

    def add_post_render_callback(self, callback: Callable[..., Any]) -> None:
        self._has_callbacks = True  # cache_page() adds one that stores the response
        super().add_post_render_callback(callback)

    def _context(self) -> Mapping[str, Any]:
        return self.context_data or {}


def _is_on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _may_query(value: object) -> bool:
    # By type(), which leaves lazy objects alone.
    return issubclass(type(value), (BaseForm, BaseFormSet))


async def fetch_querysets(context: Mapping[str, Any]) -> None:
    """Fetch each queryset among the values of `context`, and those of pages, in place."""
    if querysets := list(_unfetched(context)):
        await sync_to_async(_fetch)(querysets)


def _fetch(querysets: list[Any]) -> None:
    for queryset in querysets:
        len(queryset)


def _unfetched(context: Mapping[str, Any]) -> Iterator[Any]:
    for value in context.values():
        queryset = value.object_list if issubclass(type(value), Page) else value
        if issubclass(type(queryset), (QuerySet, RawQuerySet)) and not is_fetched(queryset):
            yield queryset


async def fetch_session(request: HttpRequest) -> None:
    """Load the session that `request` brings, and its user, without counting as access to it.

    What a response says of caches depends on whether the view or the template has looked at them.
    """
    session = getattr(request, "session", None)
    if session is None or session.session_key is None:
        return
    accessed = session.accessed
    await session.aget(SESSION_KEY)
    if isinstance(user := getattr(request, "user", None), SimpleLazyObject):
        await fetch_user(request)
        if not accessed:
            request.user = SimpleLazyObject(partial(_look_at, request, user))  # type: ignore[assignment]
    session.accessed = accessed


def _look_at(request: HttpRequest, user: Any) -> Any:
    request.session.get(SESSION_KEY)
    return user


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A query that a template has asked for on the event loop."""

    node: Any
    """The tag or variable that was being rendered; None in an engine that is not Django's."""
    variable: str
    """The name that was being looked up in it; empty if none was."""

    def explain(self, template: Any) -> str:
        return (
            f"Template {self._where(template)} needs the database, but is rendered on the event "
            "loop. Either fetch it before: with select_related() or prefetch_related() on the "
            "view's queryset, or with `await` in get_context_data(). Or have the view's templates "
            "rendered on the request's thread: response_class = TemplateResponse, from "
            "django.template.response."
        )

    def _where(self, template: Any) -> str:
        if self.node is None:
            return repr(template)
        token = self.node.token
        opening, closing = ("{{", "}}") if token.token_type is TokenType.VAR else ("{%", "%}")
        where = f"{self.node.origin.template_name!r}, line {token.lineno}: "
        where += f"{opening} {token.contents} {closing}"
        return where if self.variable in {"", token.contents} else f"{where}, {self.variable!r},"


def _refusal() -> _Refusal:
    """Return what is being rendered: the innermost tag or variable below the caller."""
    variable = ""
    frame = currentframe()
    while frame is not None:
        this = frame.f_locals.get("self")
        if isinstance(this, Variable):
            variable = variable or str(this.var)
        elif isinstance(this, Node) and getattr(this, "token", None) is not None:
            return _Refusal(this, variable)
        frame = frame.f_back
    return _Refusal(None, variable)
