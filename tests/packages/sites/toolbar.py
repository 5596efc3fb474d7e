from __future__ import annotations

import re
from typing import Any

import httpx
from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.packages.site import Site
from tests.packages.visitor import Visitor

QUERIES = re.compile(r"(?:SELECT|INSERT|UPDATE) .*? (?:FROM|INTO|WHERE)[^<]*")


class Toolbar(Site):
    package = "django-debug-toolbar"
    remarks = "a page's panels show templates of pages that overlap it, under either handler"

    def configure(self, settings: dict[str, Any]) -> None:
        settings["DEBUG"] = True
        settings["INSTALLED_APPS"].append("debug_toolbar")
        settings["INTERNAL_IPS"] = ["127.0.0.1"]
        settings["MIDDLEWARE"].insert(0, "debug_toolbar.middleware.DebugToolbarMiddleware")

    def urls(self) -> list[Any]:
        from debug_toolbar.toolbar import debug_toolbar_urls

        from tests.packages.models import Meat

        def sync_queries(request: HttpRequest) -> HttpResponse:
            Meat.objects.filter(owner=str(request.user)).count()
            return HttpResponse("<html><body></body></html>")

        async def queries(request: HttpRequest) -> HttpResponse:
            owner = str(await request.auser())
            await Meat.objects.filter(owner=owner).acount()
            await sync_to_async(Meat.objects.filter(name=owner).first)()
            return HttpResponse("<html><body></body></html>")

        return [
            path("queries/", queries),
            path("sync-queries/", sync_queries),
            *debug_toolbar_urls(),
        ]

    async def visit(self, visitor: Visitor) -> None:
        visitor.keep = _page
        await visitor.sign_in()
        for view in ("/sync-queries/", "/queries/", "/"):
            page = await visitor.get(view)
            stored = re.search(r'data-request-id="(\w+)"', page.text)
            assert stored, page.text
            for panel, keep in PANELS.items():
                asked = {"request_id": stored[1], "panel_id": panel}
                shown = await visitor.get("/__debug__/render_panel/", params=asked, keep=keep)
                if panel == "SQLPanel":
                    assert (visitor.name in shown.text) == ("queries" in view)


def _page(response: httpx.Response) -> Any:
    """Return the page without the toolbar, and which panels that has."""
    before, _, toolbar = response.text.partition('<div id="djDebugRoot"')
    return before, re.findall(r'id="djdt-(\w+)"', toolbar)


def _text(response: httpx.Response) -> Any:
    return re.sub(r"<[^>]+>|\s+", " ", response.json()["content"])


def _names(response: httpx.Response) -> Any:
    """Return what is there; how often depends on when garbage was collected."""
    return sorted(set(re.findall(r"[\w.]+", _text(response))))


def _queries(response: httpx.Response) -> Any:
    return QUERIES.findall(re.sub(r"</?(strong|span)[^>]*>", "", response.json()["content"]))


PANELS = {
    "SQLPanel": _queries,
    "RequestPanel": _text,
    "HeadersPanel": _text,
    "SignalsPanel": _names,
}

site = Toolbar()
