from __future__ import annotations

from typing import Any

from tests.packages.site import Site
from tests.packages.visitor import Visitor


class Health(Site):
    package = "django-health-check"
    measured = "/health/?format=json"

    def configure(self, settings: dict[str, Any]) -> None:
        settings["INSTALLED_APPS"].append("health_check")
        settings["MEDIA_ROOT"] = f"{settings['HOME']}/media"

    def urls(self) -> list[Any]:
        from django.urls import path
        from health_check.views import HealthCheckView

        checks = [f"health_check.checks.{name}" for name in ("Cache", "Database", "Storage")]
        broken = ("health_check.checks.Database", {"alias": "missing"})
        return [
            path("health/", HealthCheckView.as_view(checks=checks)),
            path("broken/", HealthCheckView.as_view(checks=[broken])),
        ]

    async def visit(self, visitor: Visitor) -> None:
        await visitor.sign_in()
        healthy = await visitor.get("/health/?format=json")
        assert set(healthy.json().values()) == {"OK"}
        assert len(healthy.json()) == 3
        for accepted in ("text/plain", "text/html"):
            await visitor.get("/health/", headers={"accept": accepted}, keep=lambda r: r.is_success)
        assert (await visitor.get("/health/", headers={"accept": "a/b"})).status_code == 406
        broken = await visitor.get("/broken/?format=text")
        assert (broken.status_code, "Database" in broken.text) == (500, True)


site = Health()
