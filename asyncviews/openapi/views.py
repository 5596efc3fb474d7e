"""`OpenAPI`: a document that a project serves, with a page that shows it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.serializers.json import DjangoJSONEncoder
from django.core.signals import setting_changed
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.urls import URLPattern, get_script_prefix, get_urlconf, path, reverse
from django.utils.translation import get_language

from asyncviews.openapi.document import build
from asyncviews.views import AsyncView

SIDECAR = "drf_spectacular_sidecar"
"""The application that has the files of Swagger UI, and is maintained together with nothing else."""


@dataclass(kw_only=True, eq=False)
class OpenAPI:
    """The OpenAPI document of a project, or of the part of it below one prefix."""

    title: str = "API"
    version: str = "1.0.0"
    """Of the API, not of OpenAPI."""
    description: str = ""
    """For the readers of the document; Markdown."""
    prefix: str = ""
    """What the paths in it begin with, as ``"api/v1/"``; by default all are in."""
    name: str = "openapi"
    """The namespace of its URLs, and what ``manage.py openapi --document`` calls it."""
    security_schemes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What the ``credentials`` of views are, as Security Scheme Objects; ``session`` is known."""
    decorator: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None
    """Wraps the views of the page and of the document: `login_required`, say."""

    def __post_init__(self) -> None:
        self._texts: dict[tuple[str | None, str, str | None], str] = {}
        setting_changed.connect(self._forget)

    @property
    def urls(self) -> tuple[list[URLPattern], str, str]:
        """What ``path("docs/", api.urls)`` takes: the page, and the document at ``openapi.json``.

        Raises:
            ImproperlyConfigured: the files of the page are not there.
        """
        _require_files()
        decorate = self.decorator or (lambda view: view)
        patterns = [
            path("", decorate(Page.as_view(api=self)), name="page"),
            path("openapi.json", decorate(Document.as_view(api=self)), name="document"),
        ]
        return patterns, "openapi", self.name

    def document(self) -> dict[str, Any]:
        """Return the document of the active URLconf, script prefix and language; to be extended.

        Raises:
            ImproperlyConfigured: a handler's types cannot be described; the message names it.
        """
        info = {"title": self.title, "version": self.version, "description": self.description}
        return build(
            info={key: value for key, value in info.items() if value},
            prefix=self.prefix.removeprefix("/"),
            security_schemes=self.security_schemes,
        )

    def text(self) -> str:
        """Return the document as JSON. It is made once for each URLconf, prefix and language."""
        key = get_urlconf(), get_script_prefix(), get_language()
        if key not in self._texts:
            # Descriptions may be lazy translations.
            self._texts[key] = json.dumps(
                self.document(), cls=DjangoJSONEncoder, ensure_ascii=False, indent=2
            )
        return self._texts[key]

    def _forget(self, **kwargs: Any) -> None:
        self._texts.clear()


class Document(AsyncView):
    """The document, as JSON."""

    openapi_hidden = True
    api: OpenAPI = None  # type: ignore[assignment]  # as_view() sets only what is there

    async def get(self, request: HttpRequest) -> HttpResponse:
        # Making it, the first time, takes a while.
        text = await sync_to_async(self.api.text)()
        return HttpResponse(text, content_type="application/json")


class Page(AsyncView):
    """The page that shows the document: Swagger UI."""

    openapi_hidden = True
    api: OpenAPI = None  # type: ignore[assignment]  # see above

    async def get(self, request: HttpRequest) -> HttpResponse:
        match: Any = request.resolver_match
        context = {
            "title": self.api.title,
            "document": reverse(
                f"{match.namespace}:document", args=match.args, kwargs=match.kwargs
            ),
            "csrf_header": settings.CSRF_HEADER_NAME.removeprefix("HTTP_").replace("_", "-"),
            # In the page, since JavaScript may not see the cookie (CSRF_COOKIE_HTTPONLY), or there
            # is none (CSRF_USE_SESSIONS).
            "csrf_token": get_token(request),
        }
        return render(request, "asyncviews/openapi.html", context)


def _require_files() -> None:
    if find_spec(SIDECAR) is None:
        raise ImproperlyConfigured(
            "OpenAPI.urls: the page shows the document with Swagger UI, whose files are not "
            "installed: pip install 'asyncviews[docs-ui]'"
        )
    missing = [name for name in ("asyncviews", SIDECAR) if not apps.is_installed(name)]
    if missing:
        raise ImproperlyConfigured(
            f"OpenAPI.urls: INSTALLED_APPS has no {' and no '.join(map(repr, missing))}, so that "
            "the static files of the page are not found."
        )
