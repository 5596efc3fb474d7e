from __future__ import annotations

from typing import Any

from tests.packages.site import Site
from tests.packages.visitor import Visitor


class Ninja(Site):
    package = "django-ninja"
    measured = "/api/add?one=1&other=2"

    def urls(self) -> list[Any]:
        from django.http import HttpRequest
        from django.urls import path
        from ninja import ModelSchema, NinjaAPI
        from ninja.security import django_auth

        from tests.packages.models import Meat

        api = NinjaAPI()

        class MeatSchema(ModelSchema):
            class Meta:
                model = Meat
                fields = ["name", "owner", "hours"]

        @api.get("/add")
        async def add(request: HttpRequest, one: int, other: int) -> int:
            return one + other

        @api.get("/meats", response=list[MeatSchema], auth=django_auth)
        def meats(request: HttpRequest) -> Any:
            return Meat.objects.filter(owner=str(request.auth))  # type: ignore[attr-defined]

        @api.get("/meats/{name}", response=MeatSchema, auth=django_auth)
        async def meat(request: HttpRequest, name: str) -> Any:
            return (await Meat.objects.aget_or_create(owner=str(request.auth), name=name))[0]  # type: ignore[attr-defined]

        return [path("api/", api.urls)]

    async def visit(self, visitor: Visitor) -> None:
        assert (await visitor.get("/api/add?one=1&other=2")).json() == 3
        wrong = await visitor.get("/api/add?one=1&other=a")
        assert wrong.status_code == 422
        assert (await visitor.get("/api/meats")).status_code == 401
        assert (await visitor.get("/api/meats/ribs")).status_code == 401
        await visitor.sign_in()
        made = await visitor.get("/api/meats/ribs")
        assert made.json()["owner"] == visitor.name
        assert (await visitor.get("/api/meats")).json() == [made.json()]
        assert "/api/meats" in (await visitor.get("/api/openapi.json")).json()["paths"]
        assert (await visitor.get("/api/docs")).status_code == 200


site = Ninja()
