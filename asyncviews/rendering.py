"""A response that refuses queries which its template causes by itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from inspect import currentframe
from typing import Any

from django.core.paginator import Page
from django.db import connections
from django.db.models import QuerySet
from django.db.models.query import RawQuerySet
from django.template import Node, Variable
from django.template.base import TokenType
from django.template.response import TemplateResponse

_PLANNED = (
    "django.contrib.auth.context_processors",  # {{ perms }}
    "django.contrib.auth.middleware",  # {{ user }}
    "django.contrib.messages.",
    "django.contrib.sessions.",
    "django.core.cache.",  # {% cache %}
    "django.forms.",
)
"""Modules whose queries do not grow with what a page shows."""


class UnplannedQuery(RuntimeError):
    """A template needs the database for a variable or a tag."""


class StrictTemplateResponse(TemplateResponse):
    """Django's `TemplateResponse`, which refuses queries that the template causes by itself.

    Each queryset and each page of a paginator among the values of the context is fetched before.
    Context processors, forms, ``{% cache %}``, the session, the user and ``{{ perms }}`` may query.

    Rendering raises `UnplannedQuery`, which names template, line, tag and variable, for any other
    query. Templates of other engines than Django's are not watched.
    """

    @property
    def rendered_content(self) -> str:
        for value in (self.context_data or {}).values():
            # By type(), which leaves lazy objects alone.
            queryset = value.object_list if issubclass(type(value), Page) else value
            if issubclass(type(queryset), (QuerySet, RawQuerySet)):
                len(queryset)
        refused: list[UnplannedQuery] = []

        def execute(query: Callable[..., Any], *args: Any) -> Any:
            if cause := _cause():
                refused.append(UnplannedQuery(cause.explain()))
                raise refused[-1]
            return query(*args)

        with ExitStack() as stack:
            for connection in connections.all():
                stack.enter_context(connection.execute_wrapper(execute))
            try:
                return super().rendered_content
            finally:
                # Not only if it raises: {% if a.b == c %} swallows exceptions, and is false.
                if refused:
                    raise refused[0]


@dataclass(frozen=True, slots=True)
class _Cause:
    """What asks for a query in a template."""

    node: Any
    """The tag or variable that is being rendered."""
    variable: str
    """The name that is being looked up in it; empty if none is."""

    def explain(self) -> str:
        return (
            f"Template {self._where()} needs the database. Fetch it before: with select_related() or "
            "prefetch_related() on the view's queryset, or in get_context_data(). Or let templates "
            "of the view query: response_class = TemplateResponse, from django.template.response."
        )

    def _where(self) -> str:
        token = self.node.token
        opening, closing = ("{{", "}}") if token.token_type is TokenType.VAR else ("{%", "%}")
        where = f"{self.node.origin.template_name!r}, line {token.lineno}: "
        where += f"{opening} {token.contents} {closing}"
        return where if self.variable in {"", token.contents} else f"{where}, {self.variable!r},"


def _cause() -> _Cause | None:
    """Return the innermost tag or variable below which the caller runs; None for planned queries."""
    variable = ""
    frame = currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_PLANNED):
            return None
        this = frame.f_locals.get("self")
        if isinstance(this, Variable):
            variable = variable or str(this.var)
        elif isinstance(this, Node) and getattr(this, "token", None) is not None:
            return _Cause(this, variable)
        frame = frame.f_back
    return None
