from __future__ import annotations

from typing import Any

from tests.packages.site import Site
from tests.packages.visitor import Visitor

FRIEND = "https://friend.example.com"


class Cors(Site):
    package = "django-cors-headers"

    def configure(self, settings: dict[str, Any]) -> None:
        settings["INSTALLED_APPS"].append("corsheaders")
        settings["MIDDLEWARE"].insert(0, "corsheaders.middleware.CorsMiddleware")
        settings["CORS_ALLOWED_ORIGINS"] = [FRIEND]
        settings["CORS_ALLOW_CREDENTIALS"] = True
        settings["CORS_URLS_REGEX"] = r"^/(?!login)"

    async def visit(self, visitor: Visitor) -> None:
        await visitor.sign_in()
        allowed = await visitor.get("/", headers={"origin": FRIEND})
        assert allowed.headers["access-control-allow-origin"] == FRIEND
        assert "origin" in allowed.headers["vary"]
        stranger = await visitor.get("/sync/", headers={"origin": "https://example.org"})
        assert "access-control-allow-origin" not in stranger.headers
        asks = {"origin": FRIEND, "access-control-request-method": "DELETE"}
        preflight = await visitor.ask("OPTIONS", "/meet/", headers=asks)
        assert "DELETE" in preflight.headers["access-control-allow-methods"]
        assert (
            "access-control-allow-methods"
            not in (await visitor.ask("OPTIONS", "/login/", headers=asks)).headers
        )


site = Cors()
