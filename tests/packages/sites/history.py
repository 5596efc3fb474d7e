from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from tests.packages.site import Site
from tests.packages.visitor import Visitor


class History(Site):
    package = "django-simple-history"

    def configure(self, settings: dict[str, Any]) -> None:
        settings["INSTALLED_APPS"].append("simple_history")
        settings["MIDDLEWARE"].append("simple_history.middleware.HistoryRequestMiddleware")

    def urls(self) -> list[Any]:
        from tests.packages.models import Meat

        @csrf_exempt
        def smoke(request: HttpRequest) -> HttpResponse:
            meat = Meat.objects.create(name="sync", owner=str(request.user))
            meat.hours = 2
            meat.save()
            return HttpResponse(str(meat.history.first().history_user))

        @csrf_exempt
        async def asmoke(request: HttpRequest) -> HttpResponse:
            user = await request.auser()
            meat = await Meat.objects.acreate(name="async", owner=str(user))
            meat.hours = 2
            await meat.asave()
            await meat.adelete()
            return HttpResponse(str(user))

        return [path("smoke/", smoke), path("asmoke/", asmoke)]

    def work(self, request: Any) -> str:
        from tests.packages.models import Meat

        meat = Meat.objects.create(name="met", owner=str(request.user))
        return str(meat.history.get().history_user)

    def effects(self, name: str) -> Any:
        from tests.packages.models import Meat

        changes = Meat.history.filter(owner=name).order_by("history_id")
        return list(changes.values_list("name", "hours", "history_type", "history_user__username"))

    async def visit(self, visitor: Visitor) -> None:
        await visitor.post("/smoke/")  # by nobody
        await visitor.sign_in()
        assert (await visitor.post("/smoke/")).text == visitor.name
        assert (await visitor.post("/asmoke/")).text == visitor.name


site = History()
