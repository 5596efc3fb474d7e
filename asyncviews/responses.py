"""Errors that a client can read: problem documents as RFC 9457 defines them."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template import Context, Engine, TemplateDoesNotExist
from django.template.loader import get_template
from django.utils.cache import patch_vary_headers

PROBLEM_JSON = "application/problem+json"
PROBLEM_TEMPLATE = "asyncviews/problem.html"
_MEDIA_TYPES = [PROBLEM_JSON, "application/json", "text/html"]
_TEMPLATES = Path(__file__).parent / "templates"


class Problem(Exception):
    """An error that is the client's to read: raise it, and `AsyncView` answers with it.

    Subclasses set `status` and `title`. See RFC 9457 for what the members mean.
    """

    status = 500
    title = ""

    def __init__(
        self,
        detail: str = "",
        *,
        headers: dict[str, str] | None = None,
        **extensions: Any,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers or {}
        self.extensions = extensions

    def document(self) -> dict[str, Any]:
        """Return the members of the problem document, JSON-serializable."""
        document: dict[str, Any] = {
            "type": "about:blank",
            "title": self.title or HTTPStatus(self.status).phrase,
            "status": self.status,
        }
        if self.detail:
            document["detail"] = self.detail
        return document | self.extensions


def problem_response(request: HttpRequest, problem: Problem) -> HttpResponse:
    """Return `problem` as JSON, or as a small page for a client that prefers HTML.

    A project replaces the page with a template of its own, ``asyncviews/problem.html``.
    """
    document = problem.document()
    if request.get_preferred_type(_MEDIA_TYPES) == "text/html":
        response = HttpResponse(_render_page(document), status=problem.status)
    else:
        response = JsonResponse(document, status=problem.status, content_type=PROBLEM_JSON)
    for name, value in problem.headers.items():
        response.headers[name] = value
    patch_vary_headers(response, ["Accept"])
    return response


def _render_page(document: dict[str, Any]) -> str:
    context = {"problem": document}
    try:
        return get_template(PROBLEM_TEMPLATE).render(context)
    except TemplateDoesNotExist:
        # The project has no template engine that looks into applications.
        return (
            Engine(dirs=[str(_TEMPLATES)]).get_template(PROBLEM_TEMPLATE).render(Context(context))
        )
