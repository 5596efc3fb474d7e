from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest, JsonResponse
from django.urls import path

from tests.packages.site import Site
from tests.packages.visitor import NAMES, Visitor


class Guardian(Site):
    package = "django-guardian"
    measured = "/meat/1/"

    def configure(self, settings: dict[str, Any]) -> None:
        settings["INSTALLED_APPS"].append("guardian")
        settings["AUTHENTICATION_BACKENDS"] = [
            "django.contrib.auth.backends.ModelBackend",
            "guardian.backends.ObjectPermissionBackend",
        ]

    def prepare(self) -> None:
        from django.contrib.auth.models import User
        from guardian.shortcuts import assign_perm

        from tests.packages.models import Meat

        Meat.objects.create(name="ribs", owner="nobody")
        for name in NAMES:
            meat = Meat.objects.create(name="ribs", owner=name)
            assign_perm("packages.view_meat", User.objects.get(username=name), meat)

    def urls(self) -> list[Any]:
        from django.views.generic import DetailView
        from guardian.mixins import PermissionRequiredMixin
        from guardian.shortcuts import get_objects_for_user

        from tests.packages.models import Meat

        class Show(PermissionRequiredMixin, DetailView):
            model = Meat
            permission_required = "packages.view_meat"
            return_403 = True
            template_name = "meat.html"

        async def mine(request: HttpRequest) -> JsonResponse:
            user = await request.auser()
            meats = await sync_to_async(get_objects_for_user)(user, "packages.view_meat")
            found = [(meat.owner, await user.ahas_perm("view_meat", meat)) async for meat in meats]
            return JsonResponse(found, safe=False)

        return [path("meat/<int:pk>/", Show.as_view()), path("mine/", mine)]

    def work(self, request: Any) -> str:
        from guardian.shortcuts import get_objects_for_user

        return str([m.owner for m in get_objects_for_user(request.user, "packages.view_meat")])

    async def visit(self, visitor: Visitor) -> None:
        assert (await visitor.get("/meat/1/")).status_code == 403
        await visitor.sign_in()
        all_meats = range(1, len(NAMES) + 2)
        shown = [pk for pk in all_meats if (await visitor.get(f"/meat/{pk}/")).is_success]
        assert shown == [2 + NAMES.index(visitor.name)]
        del visitor.answers[-len(all_meats) :]  # which one it is depends on the visitor
        assert visitor.name in (await visitor.get("/mine/")).text


site = Guardian()
