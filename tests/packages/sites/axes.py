from __future__ import annotations

from typing import Any

from tests.packages.site import Site
from tests.packages.visitor import NAMES, PASSWORD, Visitor


class Axes(Site):
    package = "django-axes"

    def configure(self, settings: dict[str, Any]) -> None:
        settings["INSTALLED_APPS"].append("axes")
        settings["MIDDLEWARE"].append("axes.middleware.AxesMiddleware")
        settings["AUTHENTICATION_BACKENDS"] = [
            "axes.backends.AxesStandaloneBackend",
            "django.contrib.auth.backends.ModelBackend",
        ]
        settings["AXES_FAILURE_LIMIT"] = 3
        settings["AXES_LOCKOUT_PARAMETERS"] = ["username"]

    def prepare(self) -> None:
        from django.contrib.auth.models import User

        for name in NAMES:
            User.objects.create_user(f"{name}-locked", password=PASSWORD)

    def effects(self, name: str) -> Any:
        from axes.models import AccessAttempt, AccessLog

        return [
            list(
                model.objects.filter(username__startswith=name)
                .order_by("pk")
                .values_list("username", "path_info", "ip_address", *more)
            )
            for model, more in ((AccessAttempt, ["failures_since_start"]), (AccessLog, []))
        ]

    async def visit(self, visitor: Visitor) -> None:
        statuses = []
        for password in ["wrong"] * 4 + [PASSWORD]:
            form = {"username": f"{visitor.name}-locked", "password": password}
            statuses.append((await visitor.send_form("/login/", **form)).status_code)
        assert statuses == [200, 200, 429, 429, 429]
        await super().visit(visitor)


site = Axes()
