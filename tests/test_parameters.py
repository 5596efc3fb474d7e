"""The signature is the schema: what is read, how it is validated, what is refused when."""

from __future__ import annotations

import io
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from django.core.exceptions import ImproperlyConfigured, TooManyFieldsSent
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, QueryDict
from django.test import AsyncRequestFactory, RequestFactory
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, model_validator

from asyncviews import AsyncView, CommaSeparated, InvalidParameters, Path, Query
from asyncviews.parameters import read_signature
from asyncviews.sources import QuerySource, _query
from tests.conftest import http_scope

if TYPE_CHECKING:
    from tests.nowhere import OnlyForCheckers


class Meats(BaseModel):
    to_smoke: CommaSeparated[str] = Field(default=["ribs"], max_length=3)
    flavor: str = Field("Sweet Baby Ray's", max_length=20)
    hours: int | None = None
    tags: list[int] | None = None
    wood: Sequence[str] = Field(default=(), validation_alias=AliasChoices("wood", "w"))


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    page: int = 1


class Place(BaseModel):
    year: int
    slug: str


class Login(BaseModel):
    password: SecretStr = Field(max_length=3)
    name: int


class Range(BaseModel):
    low: int = 0
    high: int = 9

    @model_validator(mode="after")
    def ordered(self) -> Range:
        if self.low > self.high:
            raise ValueError("low must not be above high")
        return self


def arguments(handler: Any, query: str = "", **url_kwargs: Any) -> dict[str, Any]:
    request = RequestFactory().get("/", query_params=None, QUERY_STRING=query)
    return read_signature(object, handler).arguments(request, url_kwargs)


def errors(handler: Any, query: str = "", **url_kwargs: Any) -> list[dict[str, str]]:
    with pytest.raises(InvalidParameters) as caught:
        arguments(handler, query, **url_kwargs)
    return caught.value.document()["errors"]


async def by_model(self, request: HttpRequest, query: Query[Meats]) -> HttpResponse: ...


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", Meats()),
        ("to_smoke=", Meats(to_smoke=[])),
        ("to_smoke=ribs", Meats(to_smoke=["ribs"])),
        ("to_smoke=a,b%20,%20c", Meats(to_smoke=["a", "b", "c"])),
        ("to_smoke=a,,b,", Meats(to_smoke=["a", "b"])),
        ("to_smoke=a,b&to_smoke=c", Meats(to_smoke=["a", "b", "c"])),
        ("flavor=x&flavor=y", Meats(flavor="y")),
        ("flavor=%C3%A9", Meats(flavor="é")),
        ("hours=7", Meats(hours=7)),
        ("tags=1&tags=2", Meats(tags=[1, 2])),
        ("w=oak&w=hickory", Meats(wood=["oak", "hickory"])),
        ("wood=oak", Meats(wood=["oak"])),
        ("unknown=1", Meats()),
    ],
)
def test_a_model_takes_the_whole_query(query, expected):
    assert arguments(by_model, query) == {"query": expected}


def test_every_error_is_listed_at_once_with_place_and_reason():
    async def handler(
        self, request, query: Query[Meats], page: Query[int], pk: Path[uuid.UUID]
    ): ...

    assert errors(handler, "to_smoke=a,b,c,d&hours=x&tags=1&tags=z", pk="no") == [
        {
            "location": "query",
            "name": "to_smoke",
            "pointer": "/to_smoke",
            "type": "too_long",
            "detail": "List should have at most 3 items after validation, not 4",
        },
        {
            "location": "query",
            "name": "hours",
            "pointer": "/hours",
            "type": "int_parsing",
            "detail": "Input should be a valid integer, unable to parse string as an integer",
        },
        {
            "location": "query",
            "name": "tags",
            "pointer": "/tags/1",
            "type": "int_parsing",
            "detail": "Input should be a valid integer, unable to parse string as an integer",
        },
        {
            "location": "query",
            "name": "page",
            "pointer": "/page",
            "type": "missing",
            "detail": "Field required",
        },
        {
            "location": "path",
            "name": "pk",
            "pointer": "/pk",
            "type": "uuid_parsing",
            "detail": errors(handler, "page=1", pk="no")[0]["detail"],
        },
    ]


def test_single_parameters_have_defaults_aliases_and_constraints():
    async def handler(
        self,
        request: HttpRequest,
        page: Query[Annotated[int, Field(ge=1)]] = 1,
        order: Query[Literal["up", "down"]] = "up",
        ids: Query[list[int]] = [],  # noqa: B006 - as a user may write it
        words: Query[CommaSeparated[str] | None] = None,
        q: Query[Annotated[str, Field(alias="search")]] = "",
    ): ...

    assert arguments(handler) == {}
    assert arguments(handler, "page=2&order=down&ids=1&ids=2&words=a,b&search=x") == {
        "page": 2,
        "order": "down",
        "ids": [1, 2],
        "words": ["a", "b"],
        "q": "x",
    }
    assert [error["name"] for error in errors(handler, "page=0&order=left")] == ["page", "order"]


def test_path_parameters_are_typed_bare_or_marked():
    async def handler(self, request, pk: int, slug, at: Path[str] = "here"): ...

    assert arguments(handler, pk="7", slug="x") == {"pk": 7, "slug": "x"}
    assert errors(handler, pk="seven", slug="x")[0]["location"] == "path"


def test_a_model_takes_the_whole_path():
    async def handler(self, request, place: Path[Place]): ...

    assert arguments(handler, year="2020", slug="a") == {"place": Place(year=2020, slug="a")}


def test_a_union_of_models_takes_the_whole_query():
    async def handler(self, request, query: Query[Strict | Range]): ...

    assert arguments(handler, "low=1") == {"query": Range(low=1)}


def test_url_keywords_reach_a_handler_that_takes_any():
    async def handler(self, request, page: Query[int] = 1, **kwargs): ...

    assert arguments(handler, "page=2", pk=3) == {"pk": 3, "page": 2}


def test_a_model_may_forbid_what_it_does_not_know():
    async def handler(self, request, query: Query[Strict]): ...

    assert errors(handler, "pgae=1")[0]["name"] == "pgae"


def test_an_error_of_the_whole_model_has_no_name():
    async def handler(self, request, query: Query[Range]): ...

    assert errors(handler, "low=5&high=1") == [
        {
            "location": "query",
            "type": "value_error",
            "detail": "low must not be above high",
        }
    ]


def test_values_are_not_echoed():
    async def handler(self, request, query: Query[Login]): ...

    assert "hunter2" not in str(errors(handler, "password=hunter2&name=hunter2"))


def test_pointers_are_escaped():
    async def handler(self, request, query: Query[Strict]): ...

    assert errors(handler, "a%2Fb~c=1")[0]["pointer"] == "/a~1b~0c"


def test_a_flood_of_errors_is_cut():
    async def handler(self, request, ids: Query[CommaSeparated[int]]): ...

    with pytest.raises(InvalidParameters) as caught:
        arguments(handler, "ids=" + ",".join("x" * (InvalidParameters.MAX_ERRORS + 1)))
    assert len(caught.value.document()["errors"]) == InvalidParameters.MAX_ERRORS
    assert caught.value.detail == "101 parameters are invalid. The first 100 are listed."


@given(query=st.text(alphabet=st.characters(codec="utf-8")))
def test_any_query_is_a_result_or_an_error_to_read(query):
    async def handler(self, request, query: Query[Meats], n: Query[int] = 0): ...

    request = ASGIRequest(http_scope("/", query=query), io.BytesIO())
    try:
        read_signature(object, handler).arguments(request, {})
    except InvalidParameters as exc:
        assert exc.document()["errors"]  # noqa: PT017 - both outcomes are right


@pytest.mark.parametrize("items", [["a", 1, "b,c"], ("a",)])
def test_comma_separated_leaves_alone_what_no_request_carries(items):
    class Bag(BaseModel):
        items: CommaSeparated[Any]

    assert Bag(items=items).items == (["a", 1, "b", "c"] if len(items) > 1 else ["a"])


def refuse(handler, match):
    with pytest.raises(ImproperlyConfigured, match=match):
        type("View", (AsyncView,), {"get": handler})


def test_a_handler_without_a_request_is_refused():
    async def get(self): ...

    refuse(get, r"View\.get\(\): the first parameter after self must be the request")


def test_an_unknown_name_in_an_annotation_is_refused():
    async def get(self, request, query: OnlyForCheckers): ...

    refuse(get, r"View\.get\(\), parameter 'query': name 'OnlyForCheckers' is not defined")


def test_what_pydantic_cannot_validate_is_refused():
    class Opaque: ...

    async def get(self, request, query: Any): ...

    get.__annotations__["query"] = Query[Opaque]
    refuse(get, r"View\.get\(\), parameter 'query': pydantic cannot validate .*Opaque")


def test_a_source_inside_a_union_is_refused():
    async def get(self, request, query: Query[str] | None = None): ...

    refuse(get, r"parameter 'query': the source goes outside, as in Query\[str \| None\]")


def test_two_sources_are_refused():
    async def get(self, request, query: Annotated[Query[str], Path[str].__metadata__[0]]): ...

    refuse(get, r"parameter 'query': one source, not several \(query and path\)")


def test_a_field_as_default_is_refused():
    async def get(self, request, query: Query[str] = Field("x")): ...  # noqa: B008

    refuse(get, r"parameter 'query': a Field\(\) belongs into the annotation")


def test_a_positional_only_parameter_is_refused():
    async def get(self, request, query: Query[str], /): ...

    refuse(get, r"parameter 'query': it is positional-only")


def test_what_only_checkers_import_may_annotate_request_and_result():
    async def get(self, request: OnlyForCheckers, page: Query[int] = 1) -> OnlyForCheckers: ...

    assert arguments(get, "page=2") == {"page": 2}


def test_to_a_type_checker_and_to_pydantic_query_is_its_type():
    assert Query[int].__origin__ is int
    assert isinstance(Query[int].__metadata__[0], QuerySource)


@given(st.text("ab=&%+2é;", max_size=12))
def test_a_query_is_read_as_django_reads_it(query):
    for request in (RequestFactory().get("/?" + query), AsyncRequestFactory().get("/?" + query)):
        found = list(_query(request))
        assert found == list(request.GET.lists())


def test_a_query_with_too_many_fields_is_refused(settings):
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 2
    assert len(list(_query(RequestFactory().get("/?a=1&b=2")))) == 2
    with pytest.raises(TooManyFieldsSent):
        _query(RequestFactory().get("/?a=1&b=2&c=3"))


def test_a_query_that_middleware_has_changed_is_the_one_that_is_read():
    request = RequestFactory().get("/?a=1")
    request.GET = QueryDict("a=2")
    assert list(_query(request)) == [("a", ["2"])]
