from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.packages.site import Site, after
from tests.packages.visitor import Visitor


def scripted(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f'<script nonce="{request.csp_nonce}"></script>')  # type: ignore[attr-defined]


class Csp(Site):
    package = "django-csp"
    remarks = "its decorators are for synchronous views, under either handler"

    def configure(self, settings: dict[str, Any]) -> None:
        from csp.constants import NONCE, SELF

        settings["INSTALLED_APPS"].append("csp")
        after(settings["MIDDLEWARE"], "SecurityMiddleware", "csp.middleware.CSPMiddleware")
        settings["CONTENT_SECURITY_POLICY"] = {
            "EXCLUDE_URL_PREFIXES": ["/sync/"],
            "DIRECTIVES": {"default-src": [SELF], "script-src": [SELF, NONCE]},
        }
        settings["CONTENT_SECURITY_POLICY_REPORT_ONLY"] = {
            "DIRECTIVES": {"default-src": [SELF], "report-uri": "/csp-report/"}
        }

    def urls(self) -> list[Any]:
        from csp.decorators import csp_exempt, csp_update

        frames = csp_update({"frame-ancestors": ["https://example.com"]})
        return [
            path("scripted/", scripted),
            path("framed/", frames(scripted)),
            path("exempt/", csp_exempt()(scripted)),
        ]

    def work(self, request: Any) -> str:
        """The nonce belongs to the request, so it is the same at each call."""
        first = request.META.setdefault("packages.nonce", str(request.csp_nonce))
        return f"{request.user} {first == str(request.csp_nonce)}"

    async def visit(self, visitor: Visitor) -> None:
        await visitor.sign_in()
        seen = set()
        for _ in range(2):
            page = await visitor.get("/scripted/")
            nonce = page.text.split('"')[1]
            assert f"'nonce-{nonce}'" in page.headers["content-security-policy"]
            seen.add(nonce)
        assert len(seen) == 2
        framed = await visitor.get("/framed/")
        assert "frame-ancestors https://example.com" in framed.headers["content-security-policy"]
        for exempt in ("/exempt/", "/sync/"):
            assert "content-security-policy" not in (await visitor.get(exempt)).headers
        plain = await visitor.get("/")
        assert "nonce" not in plain.headers["content-security-policy"]
        assert "content-security-policy-report-only" in plain.headers


site = Csp()
