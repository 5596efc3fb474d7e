"""Parameters and bodies."""

import inspect
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from django.http import HttpRequest, HttpResponse
from django.urls import path
from pydantic import BaseModel, Field

from asyncviews import (
    AsyncView,
    Body,
    CommaSeparated,
    Cookie,
    File,
    Form,
    Header,
    Path,
    Query,
    Upload,
    UploadedFile,
)
from asyncviews.sources import Source


class Search(BaseModel):
    q: str = Field("", description="What to look for.", deprecated=True)
    limit: int | None = None
    woods: list[str] = Field(alias="wood")


class Secret(Source):
    location = "vault"

    def read(self, request, url_kwargs, fields):
        return {}


class Parameters(AsyncView):
    async def get(
        self,
        request: HttpRequest,
        search: Query[Search],
        page: Query[Annotated[int, Field(ge=1)]] = 1,
        woods: Query[CommaSeparated[Literal["oak", "hickory"]]] = ("oak",),
        mark: Query[Any] = ...,
        user_agent: Header[str] = "",
        content_type: Header[str] = "",
        key: Cookie[str | None] = None,
        vault: Annotated[str, Secret()] = "",
    ) -> HttpResponse: ...

    async def post(
        self, request: HttpRequest, search: Query[Search | None] = None
    ) -> HttpResponse: ...


def operation(documented, view, method="get", route=""):
    (item,) = documented(path(route, view.as_view()))["paths"].values()
    return item[method]


def parameters(documented, view, method="get", route=""):
    found = operation(documented, view, method, route).get("parameters", [])
    return {(parameter["in"], parameter["name"]): parameter for parameter in found}


def test_each_field_is_a_parameter(documented):
    found = parameters(documented, Parameters)
    assert list(found) == [
        ("query", "q"),
        ("query", "limit"),
        ("query", "wood"),
        ("query", "page"),
        ("query", "woods"),
        ("query", "mark"),
        ("header", "user-agent"),
        ("cookie", "key"),
    ]
    assert [name for (_, name), one in found.items() if one.get("required")] == ["wood"]
    assert found["query", "q"]["description"] == "What to look for."
    assert found["query", "q"]["deprecated"] is True
    assert found["query", "wood"]["schema"]["items"] == {"type": "string"}


def test_defaults_are_those_of_the_signature(documented):
    found = parameters(documented, Parameters)
    assert found["query", "page"]["schema"]["default"] == 1
    assert found["query", "page"]["schema"]["minimum"] == 1
    assert found["query", "woods"]["schema"]["default"] == ["oak"]
    assert "default" not in found["query", "mark"]["schema"]  # JSON has no such thing


def test_a_parameter_is_never_null(documented):
    found = parameters(documented, Parameters)
    assert found["query", "limit"]["schema"] == {"type": "integer", "title": "Limit"}
    assert found["cookie", "key"]["schema"]["type"] == "string"


def test_of_a_structure_with_a_default_nothing_is_required(documented):
    found = parameters(documented, Parameters, "post")
    assert list(found) == [("query", "q"), ("query", "limit"), ("query", "wood")]
    assert not any(one.get("required") for one in found.values())


@pytest.mark.parametrize(
    ("route", "type_", "schema"),
    [
        ("<int:pk>/", int, {"type": "integer", "minimum": 0}),
        ("<int:pk>/", Any, {"type": "integer", "minimum": 0}),
        ("<int:pk>/", Annotated[int, Field(ge=5)], {"type": "integer", "minimum": 5}),
        ("<int:pk>/", str, {"type": "string"}),
        ("<slug:pk>/", str, {"type": "string", "pattern": "^[-a-zA-Z0-9_]+$"}),
        ("<uuid:pk>/", UUID, {"type": "string", "format": "uuid"}),
        ("<pk>/", Any, {"type": "string", "minLength": 1, "pattern": "^[^/]+$"}),
        ("<path:pk>/", str, {"type": "string", "minLength": 1}),
        (
            "<pk>/",
            Literal["a", "b"],
            {"type": "string", "enum": ["a", "b"], "minLength": 1, "pattern": "^[^/]+$"},
        ),
    ],
)
def test_converters_say_what_the_type_does_not(documented, route, type_, schema):
    class View(AsyncView):
        async def get(self, request: HttpRequest, pk: type_) -> HttpResponse: ...

    (found,) = parameters(documented, View, route=route).values()
    assert found["required"] is True
    assert {k: v for k, v in found["schema"].items() if k != "title"} == schema


def test_what_the_path_captures_is_documented_although_no_handler_takes_it(documented):
    class View(AsyncView):
        async def get(self, request: HttpRequest, kind: str = "") -> HttpResponse: ...

    found = parameters(documented, View, route="<int:pk>/")
    assert list(found) == [("path", "pk")]


def test_a_structure_of_the_path(documented):
    class Month(BaseModel):
        year: int = Field(ge=1)
        month: int

    class View(AsyncView):
        async def get(self, request: HttpRequest, month: Path[Month]) -> HttpResponse: ...

    found = parameters(documented, View, route="<int:month>/<int:year>/")
    assert list(found) == [("path", "month"), ("path", "year")]
    assert found["path", "year"]["schema"]["minimum"] == 1


class Meat(BaseModel):
    name: str


class Photo(BaseModel):
    title: str = ""
    image: Annotated[UploadedFile, Upload()]


@pytest.mark.parametrize(
    ("annotations", "required", "media_types", "schema"),
    [
        ({"meat": Body[Meat]}, True, ["application/json"], {"$ref": "#/components/schemas/Meat"}),
        ({"name": Body[str], "kg": Body[float]}, True, ["application/json"], {
            "type": "object", "required": ["name", "kg"], "properties": {
                "name": {"title": "Name", "type": "string"},
                "kg": {"title": "Kg", "type": "number"}}}),
        ({"data": Body[bytes]}, True, ["application/octet-stream"],
         {"type": "string", "format": "binary", "minLength": 1}),
        ({"data": Body[AsyncIterator[bytes]]}, None, ["application/octet-stream"],
         {"type": "string", "format": "binary"}),
        ({"meat": Form[Meat]}, True,
         ["application/x-www-form-urlencoded", "multipart/form-data"],
         {"$ref": "#/components/schemas/Meat"}),
        ({"photo": File[Photo]}, True, ["multipart/form-data"],
         {"$ref": "#/components/schemas/Photo"}),
        ({"meat": Form[Meat], "image": File[UploadedFile]}, True, ["multipart/form-data"], {
            "type": "object", "required": ["name", "image"], "properties": {
                "name": {"title": "Name", "type": "string"},
                "image": {"title": "Image", "type": "string", "format": "binary"}}}),
    ],
)  # fmt: skip
def test_bodies(documented, annotations, required, media_types, schema):
    async def post(self, request, **kwargs): ...

    post.__signature__ = inspect.Signature(
        [
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=annotation)
            for name, annotation in [("self", Any), ("request", Any), *annotations.items()]
        ]
    )
    view = type("View", (AsyncView,), {"post": post})
    body = operation(documented, view, "post")["requestBody"]
    assert body.get("required") is required
    assert list(body["content"]) == media_types
    for content in body["content"].values():
        assert content["schema"] == schema


def test_a_body_with_a_default_is_optional(documented):
    class View(AsyncView):
        async def post(
            self, request: HttpRequest, meat: Body[Meat | None] = None
        ) -> HttpResponse: ...

        async def put(self, request: HttpRequest, name: Body[str] = "ribs") -> HttpResponse: ...

    (item,) = documented(path("", View.as_view()))["paths"].values()
    assert item["post"]["requestBody"]["required"] is False
    assert item["put"]["requestBody"]["required"] is False
    schema = item["put"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["name"]["default"] == "ribs"


def test_the_method_query_is_an_extension(documented):
    class View(AsyncView):
        async def query(self, request: HttpRequest, meat: Body[Meat]) -> HttpResponse: ...

    assert operation(documented, View, "x-query")["requestBody"]["required"] is True
