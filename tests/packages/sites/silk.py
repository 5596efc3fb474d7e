from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from tests.packages.site import Site
from tests.packages.visitor import Visitor


class Silk(Site):
    package = "django-silk"
    remarks = "`@silk_profile` mixes up requests that overlap, under either handler"

    def configure(self, settings: dict[str, Any]) -> None:
        settings["INSTALLED_APPS"].append("silk")
        settings["MIDDLEWARE"].insert(0, "silk.middleware.SilkyMiddleware")

    def urls(self) -> list[Any]:
        from tests.packages.models import Meat

        def smoke(request: HttpRequest, owner: str) -> HttpResponse:
            Meat.objects.create(name="ribs", owner=owner)
            return HttpResponse(str(Meat.objects.filter(owner=owner).count()))

        async def asmoke(request: HttpRequest, owner: str) -> HttpResponse:
            await Meat.objects.acreate(name="ribs", owner=owner)
            return HttpResponse(str(await Meat.objects.filter(owner=owner).acount()))

        return [
            path("smoke/<owner>/", smoke),
            path("asmoke/<owner>/", asmoke),
            path("silk/", include("silk.urls", namespace="silk")),
        ]

    def work(self, request: Any) -> str:
        """Return which request Silk believes to be in, and how many queries it has recorded."""
        from silk.collector import DataCollector

        from tests.packages.models import Meat

        Meat.objects.filter(owner=str(request.user)).count()
        collector = DataCollector()
        mine = request.META["QUERY_STRING"] in collector.request.query_params
        return f"{request.user} {collector.request.path} {len(collector.queries)} {mine}"

    def effects(self, name: str) -> Any:
        from silk.models import Request

        return [
            [
                request.path,
                request.method,
                request.view_name,
                request.response.status_code,
                request.num_sql_queries,
                sorted(query.query for query in request.queries.all()),
            ]
            for request in Request.objects.filter(path__contains=name).order_by("path")
        ]

    async def visit(self, visitor: Visitor) -> None:
        await visitor.sign_in()
        assert (await visitor.get(f"/smoke/{visitor.name}/")).text == "1"
        assert (await visitor.get(f"/asmoke/{visitor.name}/")).text == "2"
        summary = await visitor.get("/silk/requests/", keep=lambda response: response.is_success)
        assert f"/smoke/{visitor.name}/" in summary.text


site = Silk()
