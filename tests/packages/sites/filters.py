from __future__ import annotations

from typing import Any

from tests.packages.site import Site
from tests.packages.visitor import NAMES, Visitor


class Filters(Site):
    package = "django-filter"
    measured = "/meats/?hours__gt=2"

    def configure(self, settings: dict[str, Any]) -> None:
        settings["INSTALLED_APPS"].append("django_filters")

    def prepare(self) -> None:
        from tests.packages.models import Meat

        Meat.objects.bulk_create(
            Meat(name=f"ribs {hours}", owner=name, hours=hours)
            for name in NAMES
            for hours in range(1, 6)
        )

    def urls(self) -> list[Any]:
        from django.urls import path
        from django_filters import FilterSet
        from django_filters.views import FilterView

        from tests.packages.models import Meat

        class MeatFilter(FilterSet):
            class Meta:
                model = Meat
                fields = {"name": ["exact", "icontains"], "hours": ["lt", "gt"]}

            @property
            def qs(self) -> Any:
                return super().qs.filter(owner=str(self.request.user))

        class Meats(FilterView):
            filterset_class = MeatFilter
            template_name = "meats.html"

        return [path("meats/", Meats.as_view())]

    async def visit(self, visitor: Visitor) -> None:
        await visitor.sign_in()
        page = await visitor.get("/meats/", params={"hours__gt": 2, "name__icontains": "RIBS"})
        assert page.text.count(f"of {visitor.name}") == 3
        assert "ribs 5" in page.text
        assert "Enter a number" in (await visitor.get("/meats/?hours__gt=many")).text


site = Filters()
