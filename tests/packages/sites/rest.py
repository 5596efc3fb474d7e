from __future__ import annotations

from typing import Any

from tests.packages.site import Site
from tests.packages.visitor import PASSWORD, Visitor


class Rest(Site):
    package = "djangorestframework"
    measured = "/api/meats/"

    def configure(self, settings: dict[str, Any]) -> None:
        settings["INSTALLED_APPS"] += ["rest_framework", "rest_framework.authtoken"]
        settings["REST_FRAMEWORK"] = {
            "DEFAULT_AUTHENTICATION_CLASSES": [
                "rest_framework.authentication.SessionAuthentication",
                "rest_framework.authentication.TokenAuthentication",
            ],
            "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticatedOrReadOnly"],
            "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
            "PAGE_SIZE": 2,
        }

    def urls(self) -> list[Any]:
        from django.urls import include, path
        from rest_framework import routers, serializers, viewsets
        from rest_framework.authtoken.views import obtain_auth_token

        from tests.packages.models import Meat

        class MeatSerializer(serializers.ModelSerializer):
            class Meta:
                model = Meat
                fields = ["name", "owner", "hours"]
                read_only_fields = ["owner"]

        class Meats(viewsets.ModelViewSet):
            serializer_class = MeatSerializer
            lookup_field = "name"

            def get_queryset(self) -> Any:
                return Meat.objects.filter(owner=str(self.request.user))

            def perform_create(self, serializer: Any) -> None:
                serializer.save(owner=str(self.request.user))

        router = routers.DefaultRouter()
        router.register("meats", Meats, basename="meat")
        return [path("api/token/", obtain_auth_token), path("api/", include(router.urls))]

    async def visit(self, visitor: Visitor) -> None:
        assert (await visitor.post("/api/meats/", json={"name": "ribs"})).status_code == 403
        signed_in = {"username": visitor.name, "password": PASSWORD}
        token = (
            await visitor.post("/api/token/", json=signed_in, keep=lambda r: [*r.json()])
        ).json()["token"]
        visitor.headers["authorization"] = f"Token {token}"
        for name in ("ribs", "salmon", "brisket"):
            made = await visitor.post("/api/meats/", json={"name": name})
            assert made.json()["owner"] == visitor.name
        wrong = await visitor.post("/api/meats/", json={"hours": "many"})
        assert wrong.json().keys() == {"name", "hours"}
        assert (await visitor.get("/api/meats/?page=2")).json()["count"] == 3
        changed = await visitor.ask("PATCH", "/api/meats/ribs/", json={"hours": 9})
        assert changed.json()["hours"] == 9
        assert (await visitor.ask("DELETE", "/api/meats/salmon/")).status_code == 204
        assert (await visitor.get("/api/meats/salmon/")).status_code == 404
        del visitor.headers["authorization"]
        await visitor.sign_in()
        page = await visitor.get("/api/meats/", headers={"accept": "text/html"})
        assert "brisket" in page.text
        assert (await visitor.post("/api/meats/", json={"name": "x"})).status_code == 403  # CSRF


site = Rest()
