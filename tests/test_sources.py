"""Each source, with each kind of type: what is read, what is refused, and how."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import ImproperlyConfigured
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import AsyncClient, AsyncRequestFactory
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.urls import path
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Discriminator, Field, RootModel
from typing_extensions import TypedDict

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

UNSET: Any = object()


async def ask(annotation: Any, request: HttpRequest, default: Any = UNSET, **url_kwargs: Any):
    """Send a request to a handler with one parameter; return its value, or the problem document."""
    seen: list[Any] = []

    async def handler(self, request, value) -> HttpResponse:
        seen.append(value)
        return HttpResponse("")

    handler.__annotations__["value"] = annotation
    if default is not UNSET:
        handler.__defaults__ = (default,)
    view = type("View", (AsyncView,), {(request.method or "").lower(): handler})
    response = await view.as_view()(request, **url_kwargs)
    if response.status_code == 200:
        return seen[0]
    assert response["Content-Type"] == "application/problem+json"
    document = json.loads(response.content)
    assert document["status"] == response.status_code
    return document


factory = AsyncRequestFactory()


def post(content: bytes | str, content_type: str = "application/json", method: str = "POST"):
    return factory.generic(method, "/", content, content_type=content_type)


def carrying(source: Any, values: list[str]) -> tuple[HttpRequest, dict[str, str]]:
    """Return a request, and its URL's arguments, that carries ``value`` in a source."""
    fields = {"value": values}
    if source is Path:
        return factory.get("/"), {"value": values[-1]}
    if source is Query:
        return factory.get("/?" + urlencode(fields, doseq=True)), {}
    if source is Header:
        return factory.get("/", headers={"value": ",".join(values)}), {}
    if source is Cookie:
        request = factory.get("/")
        request.COOKIES["value"] = values[-1]
        return request, {}
    if source is Form:
        return post(urlencode(fields, doseq=True), "application/x-www-form-urlencoded"), {}
    return post(json.dumps({"value": values if len(values) > 1 else values[0]})), {}


SOURCES = {"path": Path, "query": Query, "header": Header, "cookie": Cookie, "form": Form,
           "body": Body}  # fmt: skip


class Wood(Enum):
    OAK = "oak"
    HICKORY = "hickory"


TYPES: dict[str, tuple[Any, str, Any, str, str]] = {
    "str": (Annotated[str, Field(max_length=4)], "ribs", "ribs", "brisket", "string_too_long"),
    "int": (int, "7", 7, "x", "int_parsing"),
    "constrained int": (Annotated[int, Field(ge=1)], "1", 1, "0", "greater_than_equal"),
    "float": (float, "1.5", 1.5, "x", "float_parsing"),
    "bool": (bool, "true", True, "perhaps", "bool_parsing"),
    "decimal": (Decimal, "1.10", Decimal("1.10"), "x", "decimal_parsing"),
    "date": (dt.date, "2026-11-24", dt.date(2026, 11, 24), "x", "date_from_datetime_parsing"),
    "uuid": (uuid.UUID, str(uuid.UUID(int=7)), uuid.UUID(int=7), "x", "uuid_parsing"),
    "literal": (Literal["up", "down"], "up", "up", "left", "literal_error"),
    "enum": (Wood, "oak", Wood.OAK, "pine", "enum"),
    "optional": (int | None, "7", 7, "x", "int_parsing"),
    "comma-separated": (CommaSeparated[int], "1, 2", [1, 2], "1,x", "int_parsing"),
}  # fmt: skip


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("source", SOURCES)
async def test_a_value_of_each_type_comes_from_each_source(source, kind):
    type_, good, expected, bad, error = TYPES[kind]
    request, url_kwargs = carrying(SOURCES[source], [good])
    assert await ask(SOURCES[source][type_], request, **url_kwargs) == expected

    request, url_kwargs = carrying(SOURCES[source], [bad])
    problem = await ask(SOURCES[source][type_], request, **url_kwargs)
    assert problem["status"] == 422
    found = problem["errors"][0]
    pointer = "/value/1" if kind == "comma-separated" else "/value"
    assert (found["location"], found["name"], found["pointer"]) == (source, "value", pointer)
    assert found["type"] == error


@pytest.mark.parametrize("source", SOURCES)
async def test_what_is_missing_has_a_default_or_is_an_error(source):
    request = factory.get("/") if source not in {"form", "body"} else post("")
    assert await ask(SOURCES[source][int], request, default=5) == 5
    request = factory.get("/") if source not in {"form", "body"} else post("")
    problem = await ask(SOURCES[source][int], request)
    assert problem["errors"] == [
        {
            "location": source,
            "type": "missing",
            "detail": "Field required",
            "name": "value",
            "pointer": "/value",
        }
    ]


@pytest.mark.parametrize("source", ["query", "header", "form", "body"])
async def test_values_that_repeat_are_a_list(source):
    request, _ = carrying(SOURCES[source], ["1", "2"])
    assert await ask(SOURCES[source][list[int]], request) == [1, 2]


@pytest.mark.parametrize("source", ["query", "header", "cookie", "form"])
async def test_one_value_is_a_list_where_a_list_is_asked_for(source):
    request, _ = carrying(SOURCES[source], ["1"])
    assert await ask(SOURCES[source][list[int]], request) == [1]


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    value: int
    note: str = Field("", alias="Note")


@dataclass
class Parcel:
    value: int
    note: str = ""


class Ticket(TypedDict):
    value: int


@pytest.mark.parametrize("structure", [Order, Parcel, Ticket])
@pytest.mark.parametrize("source", SOURCES)
async def test_a_structure_takes_the_whole_source(source, structure):
    request, url_kwargs = carrying(SOURCES[source], ["7"])
    found = await ask(SOURCES[source][structure], request, **url_kwargs)
    assert (found["value"] if isinstance(found, Mapping) else found.value) == 7

    request, url_kwargs = carrying(SOURCES[source], ["x"])
    problem = await ask(SOURCES[source][structure], request, **url_kwargs)
    assert [(e["location"], e["pointer"]) for e in problem["errors"]] == [(source, "/value")]


# Headers and cookies


class Client(BaseModel):
    model_config = ConfigDict(extra="forbid")

    user_agent: str
    request_id: Annotated[int, Field(alias="X-Request-ID")] = 0
    accept: list[str] = []


async def test_headers_have_the_names_that_http_gives_them():
    headers = {"user-agent": "smoker", "x-request-id": "7", "accept": "text/html, */*", "x": "y"}
    found = await ask(Header[Client], factory.get("/", headers=headers))
    assert found == Client(**{
        "user_agent": "smoker", "X-Request-ID": 7, "accept": ["text/html", "*/*"]
    })  # fmt: skip
    headers = {"x-request-id": "x", "accept": "*/*"}
    problem = await ask(Header[Client], factory.get("/", headers=headers))
    assert [e["name"] for e in problem["errors"]] == ["user-agent", "X-Request-ID"]


async def test_headers_without_a_prefix_are_read_too():
    class About(BaseModel):
        content_type: str
        content_length: int

    found = await ask(Header[About], post("{}"))
    assert found == About(content_type="application/json", content_length=2)


async def test_a_header_and_a_cookie_have_aliases():
    last = Annotated[str, Field(alias="Last-Event-ID")]
    assert await ask(Header[last], factory.get("/", headers={"last-event-id": "5"})) == "5"
    request = factory.get("/")
    request.COOKIES["__Host-theme"] = "dark"
    assert await ask(Cookie[Annotated[str, Field(alias="__Host-theme")]], request) == "dark"


# JSON


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[str]


Pet = Annotated[Cat | Dog, Discriminator("kind")]


class Owner(BaseModel):
    name: str
    pets: list[Pet] = []
    age: int | bool = 0


async def test_a_nested_body_of_tagged_unions():
    body = {"name": "Jo", "pets": [{"kind": "cat", "lives": 9}, {"kind": "dog", "tricks": []}]}
    found = await ask(Body[Owner], post(json.dumps(body)))
    assert [type(pet) for pet in found.pets] == [Cat, Dog]
    assert await ask(Body[Pet], post('{"kind": "cat", "lives": 1}')) == Cat(kind="cat", lives=1)


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"pets": [{"kind": "cat", "lives": "x"}]}, ["/name", "/pets/0/lives"]),
        ({"name": "Jo", "pets": [{"kind": "dog"}]}, ["/pets/0/tricks"]),
        ({"name": "Jo", "pets": [{"kind": "cow"}]}, ["/pets/0"]),
        ({"name": "Jo", "pets": ["cat"]}, ["/pets/0"]),
        ({"name": "Jo", "age": "x"}, ["/age", "/age"]),  # for either member of the union
    ],
)
async def test_pointers_lead_into_the_body_and_not_into_the_types(body, pointers):
    problem = await ask(Body[Owner], post(json.dumps(body)))
    assert [error["pointer"] for error in problem["errors"]] == pointers


async def test_a_body_that_is_no_object_is_an_error_without_a_pointer():
    problem = await ask(Body[Owner], post("[]"))
    assert "pointer" not in problem["errors"][0]
    assert await ask(Body[RootModel[list[int]]], post("[1, 2]")) == RootModel[list[int]]([1, 2])


async def test_single_members_of_a_body_are_parsed_together():
    class View(AsyncView):
        async def put(
            self,
            request: HttpRequest,
            meat: Body[str],
            kilograms: Body[Annotated[float, Field(gt=0)]] = 1.0,
            tags: Body[list[str]] = [],  # noqa: B006
        ) -> HttpResponse:
            return JsonResponse({"meat": meat, "kilograms": kilograms, "tags": tags})

    async def put(body: Any):
        request = post(json.dumps(body), method="PUT")
        return json.loads((await View.as_view()(request)).content)

    assert await put({"meat": "ribs", "tags": ["a"]}) == {
        "meat": "ribs",
        "kilograms": 1.0,
        "tags": ["a"],
    }
    assert [e["name"] for e in (await put({"kilograms": 0}))["errors"]] == ["meat", "kilograms"]


@pytest.mark.parametrize(
    "body", ["{", " ", "nul", '{"value": 1,}', b"\xff\xfe", '{"a": "\\ud800"}', "[" * 9999]
)
async def test_what_is_not_json_is_malformed(body):
    problem = await ask(Body[Order], post(body))
    assert problem["status"] == 400
    assert problem["detail"].startswith("Invalid JSON: ")


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8",
                                          "application/vnd.smoke+json", "APPLICATION/JSON"])  # fmt: skip
async def test_json_has_several_media_types(content_type):
    assert await ask(Body[Order], post('{"value": 1}', content_type)) == Order(value=1)


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
async def test_what_does_not_say_that_it_is_json_is_refused(content_type):
    """A form of another site can send these without asking the browser for permission."""
    request = post('{"value": 1}', content_type)
    problem = await ask(Body[Order], request)
    assert problem["status"] == 415
    assert "application/json" in problem["detail"]


async def test_a_body_may_be_optional():
    assert await ask(Body[Order | None], post(""), default=None) is None
    problem = await ask(Body[Order], post(""))
    assert problem["errors"] == [
        {"location": "body", "type": "missing", "detail": "Field required"}
    ]


async def test_a_body_over_djangos_limit_is_too_large(settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    for annotation in (Body[Order], Body[bytes]):
        problem = await ask(annotation, post('{"value": 12345}'))
        assert (problem["status"], problem["title"]) == (413, "Content Too Large")


# Raw bodies


async def test_a_raw_body_is_bytes_of_any_media_type():
    assert await ask(Body[bytes], post(b"\xff\x00", "image/png")) == b"\xff\x00"
    assert await ask(Body[bytes], post(b"", "image/png"), default=b"none") == b"none"
    limited = Annotated[bytes, Field(max_length=1)]
    problem = await ask(Body[limited], post(b"ab", "image/png"))
    assert problem["errors"][0]["type"] == "bytes_too_long"


@pytest.mark.parametrize("size", [0, 10, 300_000])
async def test_a_large_body_is_read_in_chunks(size, settings):
    """Whatever the limit of what is read into memory."""
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    sizes: list[int] = []

    class View(AsyncView):
        async def put(self, request: HttpRequest, body: Body[AsyncIterator[bytes]]) -> HttpResponse:
            sizes.extend([len(chunk) async for chunk in body])
            return HttpResponse("")

    request = post(b"x" * size, "application/octet-stream", "PUT")
    assert (await View.as_view()(request)).status_code == 200
    assert sum(sizes) == size
    assert all(size <= 65536 for size in sizes)


# Forms and files


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "QUERY"])
@pytest.mark.parametrize("multipart", [False, True])
async def test_a_form_is_read_with_every_method(method, multipart):
    content: Any = "value=7&Note=ribs"
    content_type = "application/x-www-form-urlencoded"
    if multipart:
        content = encode_multipart(BOUNDARY, {"value": 7, "Note": "ribs"})
        content_type = MULTIPART_CONTENT
    request = post(content, content_type, method)
    assert await ask(Form[Order], request) == Order(value=7, Note="ribs")


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/json"])
async def test_what_is_no_form_is_refused(content_type):
    problem = await ask(Form[Order], post('{"value": 1}', content_type))
    assert problem["status"] == 415
    assert "multipart/form-data" in problem["detail"]


async def test_a_broken_form_is_malformed():
    problem = await ask(Form[Order], post(b"--x\r\nnothing", "multipart/form-data"))
    assert problem["status"] == 400


@pytest.mark.parametrize(
    "setting", ["DATA_UPLOAD_MAX_NUMBER_FIELDS", "DATA_UPLOAD_MAX_NUMBER_FILES"]
)
async def test_too_many_fields_or_files_are_too_large(setting, settings, caplog):
    setattr(settings, setting, 1)
    fields = {
        "a": "1",
        "b": "2",
        "c": SimpleUploadedFile("c", b"c"),
        "d": SimpleUploadedFile("d", b"d"),
    }
    request = post(encode_multipart(BOUNDARY, fields), MULTIPART_CONTENT)
    assert (await ask(Form[Ticket], request))["status"] == 413
    assert any(record.name.startswith("django.security.TooMany") for record in caplog.records)


def upload(method: str = "POST", **files: Any) -> HttpRequest:
    return post(encode_multipart(BOUNDARY, files), MULTIPART_CONTENT, method)


Photo = Annotated[UploadedFile, Upload(max_size=10, content_types=("image/png",))]


async def test_one_file_or_many():
    png = SimpleUploadedFile("a.png", b"png", "image/png")
    found = await ask(File[UploadedFile], upload(value=png))
    assert (found.name, found.read(), found.content_type) == ("a.png", b"png", "image/png")
    files = [SimpleUploadedFile(name, b"x", "image/png") for name in "ab"]
    found = await ask(File[list[Photo]], upload("PUT", value=files))
    assert [file.name for file in found] == ["a", "b"]
    assert await ask(File[UploadedFile | None], upload(other="x"), default=None) is None
    problem = await ask(File[UploadedFile], upload(value="no file"))
    assert (problem["errors"][0]["location"], problem["errors"][0]["type"]) == ("file", "missing")


@pytest.mark.parametrize(
    ("content", "content_type", "error", "detail"),
    [
        (b"x" * 11, "image/png", "file_too_large", "File should have at most 10 bytes"),
        (b"x", "image/gif", "file_type", "File should be image/png"),
    ],
)
async def test_files_have_limits(content, content_type, error, detail):
    file = SimpleUploadedFile("a", content, content_type)
    problem = await ask(File[Photo], upload(value=file))
    assert [(e["type"], e["detail"]) for e in problem["errors"]] == [(error, detail)]


class Album(BaseModel):
    cover: Photo
    pages: list[Photo] = Field(default=[], max_length=2)


async def test_a_model_takes_all_files_beside_a_form():
    class View(AsyncView):
        async def post(
            self, request: HttpRequest, title: Form[str], album: File[Album]
        ) -> HttpResponse:
            return HttpResponse(f"{title}: {album.cover.name}, {len(album.pages)} pages")

    def png(name: str) -> SimpleUploadedFile:
        return SimpleUploadedFile(name, b"x", "image/png")

    request = upload(title="Ribs", cover=png("c"), pages=[png("a"), png("b")])
    assert (await View.as_view()(request)).content == b"Ribs: c, 2 pages"
    request = upload(cover=png("c"), pages=[png("a"), png("b"), png("d")])
    errors = json.loads((await View.as_view()(request)).content)["errors"]
    assert [(e["location"], e["name"]) for e in errors] == [("file", "pages"), ("form", "title")]


# What cannot be


def refuse(match: str, **annotations: Any) -> None:
    async def post(self, request, one=None, two=None): ...

    post.__annotations__ = annotations
    with pytest.raises(ImproperlyConfigured, match=match):
        type("View", (AsyncView,), {"post": post})


def test_a_body_is_read_in_one_way_only():
    refuse("several parameters want to read it.*: one, two", one=Body[Order], two=Body[Owner])
    refuse("several parameters want to read it.*: one, two", one=Body[Order], two=Body[int])
    refuse("several parameters want to read it.*: one, two", one=Body[Order], two=Form[Ticket])
    refuse("several parameters want to read it.*: one, two", one=Body[bytes], two=File[Album])


def test_a_file_is_in_a_form_only():
    refuse("parameter 'one': pydantic cannot validate .*UploadedFile", one=Query[UploadedFile])


class SessionSource(Source):
    location = "session"

    async def load(self, request: HttpRequest) -> None:
        await request.session.aget("")

    def read(self, request, url_kwargs, fields):
        return {name: request.session[name] for name in fields if name in request.session}


@pytest.mark.django_db(transaction=True)
async def test_a_new_source_is_one_class():
    stored = SessionStore()
    stored["value"] = "7"
    await stored.asave()
    request = factory.get("/")
    request.session = SessionStore(stored.session_key)
    assert await ask(Annotated[int, SessionSource()], request) == 7
    await stored.aset("value", "x")
    request.session = stored
    problem = await ask(Annotated[int, SessionSource()], request)
    assert problem["errors"][0]["location"] == "session"


# Whatever is sent


class Everything(AsyncView):
    async def get(
        self,
        request: HttpRequest,
        query: Query[Owner],
        n: Query[int] = 0,
        who: Header[Client | None] = None,
        theme: Cookie[Wood] = Wood.OAK,
    ) -> HttpResponse:
        return HttpResponse("")  # fmt: skip

    async def post(self, request: HttpRequest, body: Body[Owner]) -> HttpResponse:
        return HttpResponse("")

    async def put(
        self, request: HttpRequest, form: Form[Order], photo: File[Photo]
    ) -> HttpResponse:
        return HttpResponse("")


urlpatterns = [path("everything/", Everything.as_view())]

anything = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150
)
no_500 = {200, 400, 406, 413, 415, 422}


@pytest.mark.urls(__name__)
@anything
@given(
    query=st.binary(max_size=60),
    headers=st.dictionaries(
        st.sampled_from(["user-agent", "x-request-id", "accept", "cookie", "content-type"]),
        st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=30),
    ),
)
async def test_any_query_and_any_headers_are_answered(query, headers):
    client = AsyncClient()
    response = await client.get(
        "/everything/", QUERY_STRING=query.decode("latin-1"), headers=headers
    )
    assert response.status_code in no_500


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "pets", "kind", "lives", "age"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@pytest.mark.urls(__name__)
@anything
@given(body=json_like.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60))
async def test_any_body_is_answered(body):
    response = await AsyncClient().post("/everything/", body, content_type="application/json")
    assert response.status_code in no_500


@pytest.mark.urls(__name__)
@anything
@given(
    body=st.binary(max_size=60)
    | st.lists(
        st.sampled_from(
            [b"--x\r\n", b"--x--", b"\r\n", b'Content-Disposition: form-data; name="value"', b"7",
             b'Content-Disposition: form-data; name="photo"; filename="a"', b"Content-Type: a/b",
             b"Content-Transfer-Encoding: base64"]
        ), max_size=9
    ).map(b"".join),
    content_type=st.sampled_from(
        ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
         "multipart/form-data", "text/plain", ""]
    ),
)  # fmt: skip
async def test_any_form_is_answered(body, content_type):
    response = await AsyncClient().put("/everything/", body, content_type=content_type)
    assert response.status_code in no_500
