from __future__ import annotations

from typing import Any

from tests.packages.sites.filters import Filters
from tests.packages.visitor import Visitor


class Tables(Filters):
    package = "django-tables2"
    measured = "/table/?sort=-hours"

    def configure(self, settings: dict[str, Any]) -> None:
        settings["INSTALLED_APPS"].append("django_tables2")

    def urls(self) -> list[Any]:
        from django.urls import path
        from django_tables2 import SingleTableView, Table

        from tests.packages.models import Meat

        class MeatTable(Table):
            class Meta:
                model = Meat
                exclude = ("id",)
                template_name = "django_tables2/bootstrap5.html"

        class Meats(SingleTableView):
            table_class = MeatTable
            template_name = "table.html"
            paginate_by = 2

            def get_queryset(self) -> Any:
                return Meat.objects.filter(owner=str(self.request.user))

        return [path("table/", Meats.as_view())]

    async def visit(self, visitor: Visitor) -> None:
        await visitor.sign_in()
        page = await visitor.get("/table/?sort=-hours&page=2")
        assert page.text.count(visitor.name) == 2
        assert page.text.index("ribs 3") < page.text.index("ribs 2")
        assert (await visitor.get("/table/?page=9")).status_code == 404


site = Tables()
