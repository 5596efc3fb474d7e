from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.packages.site import Site, after
from tests.packages.visitor import Visitor

STYLE = "body { color: brown; }\n" * 500


class Static(Site):
    package = "whitenoise"

    def configure(self, settings: dict[str, Any]) -> None:
        home = Path(settings["HOME"])
        after(
            settings["MIDDLEWARE"],
            "SecurityMiddleware",
            "whitenoise.middleware.WhiteNoiseMiddleware",
        )
        settings["STATIC_ROOT"] = home / "collected"
        settings["STATICFILES_DIRS"] = [home / "assets"]
        settings["STATICFILES_FINDERS"] = ["django.contrib.staticfiles.finders.FileSystemFinder"]
        settings["STORAGES"] = {
            "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
            "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
        }

    def prepare(self) -> None:
        from django.conf import settings
        from django.core.management import call_command

        (assets,) = settings.STATICFILES_DIRS
        assets.mkdir()
        (assets / "site.css").write_text(STYLE)
        call_command("collectstatic", interactive=False, verbosity=0)
        for file in settings.STATIC_ROOT.iterdir():
            os.utime(file, (1_700_000_000, 1_700_000_000))

    async def visit(self, visitor: Visitor) -> None:
        await visitor.sign_in()
        style = await visitor.get("/static/site.css", headers={"accept-encoding": "identity"})
        assert style.text == STYLE
        packed = await visitor.get("/static/site.css", headers={"accept-encoding": "gzip"})
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.text == STYLE
        known = {"if-none-match": style.headers["etag"]}
        assert (await visitor.get("/static/site.css", headers=known)).status_code == 304
        part = await visitor.get(
            "/static/site.css", headers={"range": "bytes=5-9", "accept-encoding": "identity"}
        )
        assert (part.status_code, part.text) == (206, STYLE[5:10])
        head = await visitor.ask(
            "HEAD", "/static/site.css", headers={"accept-encoding": "identity"}
        )
        assert head.headers["content-length"] == str(len(STYLE))
        hashed = await visitor.get("/static/site.a0ad9e1b8c5c.css")
        assert hashed.status_code == 404, (hashed.status_code, hashed.headers, hashed.text)
        assert (await visitor.post("/static/site.css")).status_code == 405
        await super().visit(visitor)


site = Static()
