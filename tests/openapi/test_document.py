"""The document as a whole: which handlers are in, what they are called, what they share."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import include, path, re_path, set_script_prefix
from django.utils.translation import gettext_lazy, override
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from openapi_spec_validator import validate
from pydantic import BaseModel, computed_field
from typing_extensions import deprecated

from asyncviews import AsyncView, Body, NotFound, Query
from asyncviews.auth import LoginRequiredMixin
from asyncviews.generic import AsyncTemplateView
from tests.openapi import project


class Order(AsyncView):
    """An order.

    With *all* of it.
    """

    async def get(self, request: HttpRequest) -> HttpResponse: ...

    async def post(self, request: HttpRequest) -> HttpResponse:
        """Place it,
        at once.
        """
        return HttpResponse()


class Item(AsyncView):
    async def get(self, request: HttpRequest, **kwargs: str) -> HttpResponse: ...


def operations(document):
    return {
        operation["operationId"]: operation
        for item in document["paths"].values()
        for operation in item.values()
    }


@pytest.mark.urls("tests.openapi.project")
def test_a_project_with_everything_has_a_valid_document():
    document = json.loads(project.api.text())
    validate(document)
    assert document["openapi"].startswith("3.1.")
    assert document["info"] == {
        "title": "Smokehouse",
        "version": "2.0",
        "description": "All of *it*.",
    }
    assert len(operations(document)) == 20


@pytest.mark.urls("tests.openapi.project")
def test_every_reference_leads_somewhere_and_every_component_is_used():
    document = project.api.document()
    text = json.dumps(document)
    for kind, components in document["components"].items():
        for name in components:
            used = kind == "securitySchemes" or f'"#/components/{kind}/{name}"' in text
            assert used, f"{kind}/{name}"


@pytest.mark.urls("tests.openapi.project")
def test_it_is_the_same_each_time():
    assert replace(project.api).text() == replace(project.api).text()


def test_an_empty_project(documented):
    assert documented()["paths"] == {}


def test_only_async_views_below_the_prefix_are_in(documented):
    class Sync(View):
        def get(self, request): ...

    patterns = [
        path("api/v1/", Item.as_view()),
        path("api/v2/", csrf_exempt(Order.as_view())),
        path("api/v2/sync/", Sync.as_view()),
        path("api/v2/function/", lambda request: None),
        path("api/v2/hidden/", project.Hidden.as_view()),
        path("api/v2/page/", AsyncTemplateView.as_view(template_name="page.html")),
    ]
    assert list(documented(*patterns, prefix="api/v2/")["paths"]) == ["/api/v2/"]
    assert list(documented(*patterns, prefix="/api/v1/")["paths"]) == ["/api/v1/"]
    assert list(documented(*patterns)["paths"]) == ["/api/v1/", "/api/v2/"]


def test_methods_that_a_route_does_not_allow_are_out(documented):
    (item,) = documented(path("", Order.as_view(http_method_names=["get"])))["paths"].values()
    assert list(item) == ["get"]


def test_operation_ids_are_from_names_and_unique(documented):
    document = documented(
        path("orders/", Order.as_view(), name="orders"),
        path("shop/", include(([path("<slug:slug>/", Item.as_view(), name="item")], "shop"))),
        path("unnamed/<int:pk>/", Item.as_view()),
        path("a/b/", Item.as_view(), name="twice"),
        path("a-b/", Item.as_view(), name="twice"),
        path("a_b/", Item.as_view(), name="twice"),
    )
    assert list(operations(document)) == [
        "get_orders",
        "post_orders",
        "get_shop_item",
        "get_unnamed_pk",
        "get_twice_a_b",
        "get_twice_a_b_2",
        "get_twice_a_b_3",
    ]


def test_tags_are_namespaces_apps_or_what_the_view_says(documented):
    class Tagged(Item):
        openapi_tags = ("Meat", "Wood")

    document = documented(
        path("a/", include(([path("b/", Order.as_view(), name="o")], "shop"), namespace="eu")),
        path("c/", Tagged.as_view()),
        path("d/", Item.as_view()),
    )
    assert document["paths"]["/a/b/"]["get"]["tags"] == ["eu"]
    assert document["paths"]["/c/"]["get"]["tags"] == ["Meat", "Wood"]
    assert document["paths"]["/d/"]["get"]["tags"] == ["tests"]
    assert [tag["name"] for tag in document["tags"]] == ["eu", "Meat", "Wood", "tests"]


def test_docstrings_of_the_handler_or_else_the_view(documented):
    class Silent(AsyncView):
        async def get(self, request: HttpRequest) -> HttpResponse: ...

    document = documented(path("a/", Order.as_view()), path("b/", Silent.as_view()))
    get, post = document["paths"]["/a/"]["get"], document["paths"]["/a/"]["post"]
    assert (get["summary"], get["description"]) == ("An order.", "With *all* of it.")
    assert post["summary"] == "Place it, at once."
    assert "description" not in post
    assert "summary" not in document["paths"]["/b/"]["get"]  # not that of AsyncView


def test_deprecated_handlers_and_views(documented):
    @deprecated("Use v2.", category=None)
    class Old(AsyncView):
        async def get(self, request: HttpRequest) -> HttpResponse: ...

    class Half(AsyncView):
        async def get(self, request: HttpRequest) -> HttpResponse: ...

        @deprecated("Orders are kept.")
        async def delete(self, request: HttpRequest) -> HttpResponse: ...

    document = documented(path("old/", Old.as_view()), path("half/", Half.as_view()))
    assert document["paths"]["/old/"]["get"]["deprecated"] is True
    assert "deprecated" not in document["paths"]["/half/"]["get"]
    delete = document["paths"]["/half/"]["delete"]
    assert delete["deprecated"] is True
    assert delete["description"] == "**Deprecated:** Orders are kept."


def test_of_paths_that_differ_in_names_only_the_first_is_in(documented, caplog):
    routes = [path("<int:pk>/", Item.as_view()), path("<slug:name>/", Order.as_view())]
    with caplog.at_level(logging.WARNING, "asyncviews.openapi"):
        assert list(documented(*routes)["paths"]) == ["/{pk}/"]
    (message,) = caplog.messages
    assert "'<slug:name>/' (tests.openapi.test_document.Order)" in message
    assert "'<int:pk>/'" in message


def test_regular_expressions(documented, caplog):
    class Positional(AsyncView):
        async def get(self, request: HttpRequest, *args: str) -> HttpResponse: ...

    document = documented(
        re_path(r"^year/(?P<year>[0-9]{4})/$", Item.as_view()),
        re_path(r"^(\d+)/(\d+)/$", Positional.as_view()),
        re_path(r"^a|(?P<b>b)$", Item.as_view()),
    )
    assert list(document["paths"]) == ["/year/{year}/", "/{var1}/{var2}/"]
    assert "no form as a template" in caplog.text


def test_the_prefix_of_a_script_and_of_a_language(documented):
    routes = i18n_patterns(path("a/", Item.as_view()))
    set_script_prefix("/site/")
    try:
        with override("de"):
            document = documented(*routes)
    finally:
        set_script_prefix("/")
    assert document["servers"] == [{"url": "/site"}]
    assert list(document["paths"]) == ["/de/a/"]
    assert documented(*routes)["servers"] == [{"url": "/"}]


def test_the_text_follows_urlconf_and_language():
    api = replace(project.api, title=gettext_lazy("Home"))
    with override_settings(ROOT_URLCONF="tests.openapi.project"):
        text = api.text()
        assert api.text() is text
        with override("de"):
            assert '"title": "Start"' in api.text()
        set_script_prefix("/site/")
        try:
            assert '"url": "/site"' in api.text()
        finally:
            set_script_prefix("/")
        assert len(json.loads(text)["paths"]) > 10
    assert json.loads(api.text())["paths"] == {}


def test_models_of_one_name_are_kept_apart(documented):
    def view(fields):
        model = type("Order", (BaseModel,), {"__annotations__": fields, "__module__": __name__})

        class Orders(AsyncView):
            async def post(self, request: HttpRequest, order: Body[model]) -> HttpResponse: ...

        return Orders.as_view()

    schemas = documented(path("a/", view({"a": int})), path("b/", view({"b": int})))["components"][
        "schemas"
    ]
    orders = [schema for name, schema in schemas.items() if "Order" in name]
    assert [list(order["properties"]) for order in orders] == [["a"], ["b"]]


def test_what_a_client_sends_and_gets_may_differ(documented):
    class Batch(BaseModel):
        celsius: float

        @computed_field
        def fahrenheit(self) -> float:
            return self.celsius * 1.8 + 32

    class Batches(AsyncView):
        async def post(self, request: HttpRequest, batch: Body[Batch]) -> Batch: ...

    schemas = documented(path("", Batches.as_view()))["components"]["schemas"]
    assert list(schemas["Batch-Input"]["properties"]) == ["celsius"]
    assert list(schemas["Batch-Output"]["properties"]) == ["celsius", "fahrenheit"]


def test_a_type_without_a_schema_is_named(documented):
    class Calls(AsyncView):
        async def get(
            self, request: HttpRequest, call: Query[Callable[[], int]]
        ) -> HttpResponse: ...

    with pytest.raises(ImproperlyConfigured, match=r"Calls\.get\(\): .*WithJsonSchema"):
        documented(path("", Calls.as_view()))


def test_security_of_the_access_mixins(documented):
    class Guarded(Item):
        credentials = ("session", "token")

    token = {"type": "http", "scheme": "bearer"}
    document = documented(path("", Guarded.as_view()), security_schemes={"token": token})
    assert document["paths"]["/"]["get"]["security"] == [{"session": []}, {"token": []}]
    assert document["components"]["securitySchemes"] == {
        "session": {"type": "apiKey", "in": "cookie", "name": "sessionid"},
        "token": token,
    }
    of_ours = type("OfOurs", (LoginRequiredMixin, Item), {})
    document = documented(path("", of_ours.as_view()))
    assert document["paths"]["/"]["get"]["security"] == [{"session": []}]
    assert {"401", "403"} <= document["paths"]["/"]["get"]["responses"].keys()
    with pytest.raises(ImproperlyConfigured, match=r"Guarded\.credentials: .*'token'"):
        documented(path("", Guarded.as_view()))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("openapi_tags", "Kitchen", "must be a tuple of strings, not 'Kitchen'"),
        ("openapi_tags", (1,), "must be a tuple of strings"),
        ("raises", NotFound, "must be a tuple of subclasses of Problem, not <class"),
        ("raises", (404,), "must be a tuple of subclasses of Problem"),
        ("raises", (LookupError,), "must be a tuple of subclasses of Problem, not .*LookupError"),
    ],
)
def test_attributes_that_cannot_be_used_are_named(documented, name, value, message):
    wrong = type("Wrong", (Item,), {name: value})
    with pytest.raises(ImproperlyConfigured, match=f"Wrong.{name}.*{message}"):
        documented(path("", wrong.as_view()))


def test_a_project_without_a_document_does_not_pay_for_it():
    code = (
        "import asyncviews, sys; assert not [m for m in sys.modules if 'asyncviews.openapi' in m]"
    )

    subprocess.run(
        [sys.executable, "-c", code], check=True, env={"DJANGO_SETTINGS_MODULE": "tests.settings"}
    )
