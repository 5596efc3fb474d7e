"""The return annotation is the schema of the response: what is sent, and what is refused."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Annotated, Any, Literal

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.test import AsyncClient, AsyncRequestFactory
from django.urls import path
from pydantic import BaseModel, Discriminator, Field, SecretStr, computed_field
from typing_extensions import TypedDict

from asyncviews import AsyncView, ServerSentEvent, Status
from asyncviews.responses import Returns, UnexpectedResult


class Order(BaseModel):
    meat: str
    grams: int = Field(500, alias="weight")
    due: dt.date = dt.date(2026, 11, 24)

    @computed_field
    def heavy(self) -> bool:
        return self.grams > 1000


ORDER = {"meat": "ribs", "weight": 500, "due": "2026-11-24", "heavy": False}


@dataclasses.dataclass
class Parcel:
    meat: str
    grams: int = 500


class Ticket(TypedDict):
    number: int


class Refused(BaseModel):
    reason: str


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"


def view(annotation: Any, result: Any) -> type[AsyncView]:
    async def get(self, request: HttpRequest):
        self.headers["X-Smoker"] = "hot"
        return result

    if annotation is not None:
        get.__annotations__["return"] = annotation
    get.__qualname__ = "Smoker.get"
    return type("Smoker", (AsyncView,), {"get": get})


async def answer(annotation: Any, result: Any, **headers: str) -> HttpResponse:
    request = AsyncRequestFactory().get("/", headers=headers)
    return await view(annotation, result).as_view()(request)


@pytest.mark.parametrize(
    ("annotation", "result", "expected"),
    [
        (Order, Order(meat="ribs"), ORDER),
        (Order, {"meat": "ribs"}, ORDER),
        (list[Order], [Order(meat="ribs")], [ORDER]),
        (list[Order], [], []),
        (dict[str, Order], {"a": Order(meat="ribs")}, {"a": ORDER}),
        (Order | Refused, Refused(reason="no"), {"reason": "no"}),
        (Annotated[Cat | Dog, Discriminator("kind")], Dog(), {"kind": "dog"}),
        (Parcel, Parcel("ribs"), {"meat": "ribs", "grams": 500}),
        (list[Parcel], [Parcel("ribs", 1)], [{"meat": "ribs", "grams": 1}]),
        (Ticket, {"number": 7}, {"number": 7}),
        (dict[str, Any], {"when": dt.date(2026, 1, 2)}, {"when": "2026-01-02"}),
        (Mapping[str, int], {"a": 1}, {"a": 1}),
        (Any, {"a": [1, None]}, {"a": [1, None]}),
        (str, "ribs", "ribs"),
        (bool, False, False),
        (tuple[int, str], (1, "a"), [1, "a"]),
        (Annotated[int, Field(ge=0)], 5, 5),
        ("Order", Order(meat="ribs"), ORDER),
    ],
)
async def test_what_is_declared_is_sent_as_json(annotation, result, expected):
    response = await answer(annotation, result)
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")
    assert json.loads(response.content) == expected
    assert response["X-Smoker"] == "hot"


@pytest.mark.parametrize("annotation", [type(None), "None", Order | None])
async def test_none_is_no_content(annotation):
    response = await answer(annotation, None)
    assert (response.status_code, response.content) == (204, b"")
    assert "Content-Type" not in response.headers


CREATED = Annotated[Order, Status(201, description="It is new.")]
REFUSED = Annotated[Refused, Status(409)]


async def test_a_status_is_declared_with_the_type():
    assert (await answer(CREATED, Order(meat="ribs"))).status_code == 201
    assert (await answer(Annotated[None, Status(202)], None)).status_code == 202


@pytest.mark.parametrize("code", [204, HTTPStatus.RESET_CONTENT, 304])
@pytest.mark.parametrize(
    "type_", [dict[str, int], Order | None, AsyncIterator[int], AsyncIterator[ServerSentEvent[int]]]
)
async def test_a_status_without_content_is_one_of_none(code, type_):
    with pytest.raises(ImproperlyConfigured, match=rf"Annotated\[None, Status\({code:d}\)\]"):
        view(Annotated[type_, Status(code)], None)
    response = await answer(Annotated[None, Status(code)], None)
    assert (response.status_code, response.content) == (code, b"")


@pytest.mark.parametrize("code", [0, 100, 103, 199, 600, "201"])
@pytest.mark.parametrize("type_", [Order, None])
def test_a_status_must_be_one_of_a_response(code, type_):
    with pytest.raises(ImproperlyConfigured, match=r"^Smoker\.get\(\): .* 200 to 599, not "):
        view(Annotated[type_, Status(code)], None)


async def test_of_several_statuses_the_types_decide():
    either = CREATED | REFUSED | None
    assert (await answer(either, Order(meat="ribs"))).status_code == 201
    refused = await answer(either, Refused(reason="cold"))
    assert (refused.status_code, json.loads(refused.content)) == (409, {"reason": "cold"})
    assert (await answer(either, None)).status_code == 204


async def test_a_response_is_sent_as_it_is():
    for annotation in (HttpResponse, HttpResponseBase, Order, None, Order | HttpResponseRedirect):
        response = await answer(annotation, HttpResponseRedirect("/elsewhere/"))
        assert (response.status_code, response["Location"]) == (302, "/elsewhere/")
        assert response["X-Smoker"] == "hot"


class Login(BaseModel):
    name: int
    password: SecretStr


@pytest.mark.parametrize(
    ("annotation", "result", "reason"),
    [
        (Order, {"weight": 1}, r"declares: meat: Field required"),
        (Order, [1], r"returned a list that is not what it declares: .*Order"),
        (Order, None, r"returned a NoneType that is not what it declares"),
        (int, "many", r"declares: Input should be a valid integer"),
        (list[Order], [Refused(reason="x")], r"declares: 0: Input should be a valid dict"),
        (Order, Order.model_construct(meat=7, grams=1), r"declares: it cannot be serialized"),
        (Ticket, {"number": "many"}, r"declares: number: Input should be a valid integer"),
        (CREATED | REFUSED, {"neither": 1}, r"declares: reason: Field required"),
        (None, {"a": 1}, r"must return an HttpResponse, not dict: its return annotation does not"),
        (HttpResponse, "text", r"must return an HttpResponse, not str\."),
        (type(None), {"a": 1}, r"must not return a dict\."),
        (Login, {"name": "hunter2", "password": "hunter2"}, r"declares: name: Input should be"),
    ],
)
async def test_what_is_not_declared_is_an_error_of_the_server(annotation, result, reason):
    with pytest.raises(UnexpectedResult, match=r"^Smoker\.get\(\) .*" + reason) as caught:
        await answer(annotation, result)
    assert "hunter2" not in str(caught.value)


async def test_an_async_iterator_must_be_declared():
    async def items() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(UnexpectedResult, match="must not return an async iterator; for a list"):
        await answer(list[int], items())


async def test_an_annotation_for_checkers_only_means_a_response():
    response = await answer("OnlyForCheckers", HttpResponse("x"))
    assert response.content == b"x"
    with pytest.raises(UnexpectedResult, match=r"not dict: .*'OnlyForCheckers' is not defined"):
        await answer("OnlyForCheckers", {})


def test_what_pydantic_cannot_serialize_is_refused_when_the_class_is_created():
    class Opaque: ...

    with pytest.raises(ImproperlyConfigured, match=r"Smoker\.get\(\) returns what .*Opaque"):
        view(Opaque, None)


# What the client accepts


@pytest.mark.parametrize(
    ("annotation", "accept", "status"),
    [
        (Order, "application/json", 200),
        (Order, "application/*", 200),
        (Order, "text/html, */*;q=0.1", 200),
        (Order, "text/plain", 406),
        (Order, "text/html", 406),
        (Order | HttpResponse, "text/plain", 200),
        (AsyncIterator[ServerSentEvent[int]], "application/json", 406),
        (AsyncIterator[int], "text/event-stream", 406),
    ],
)
async def test_what_the_client_would_not_accept_is_not_done(annotation, accept, status):
    response = await answer(annotation, Order(meat="ribs"), accept=accept)
    assert response.status_code == status


async def test_nothing_is_acceptable_to_everybody():
    assert (await answer(type(None), None, accept="image/png")).status_code == 204


# Hooks


class Enveloped(AsyncView):
    async def get(self, request: HttpRequest) -> Order:
        return Order(meat="ribs")

    async def render(self, result: Any, returns: Returns) -> HttpResponseBase:
        response = await super().render(result, returns)
        assert isinstance(response, HttpResponse)
        response.content = b'{"data": ' + response.content + b"}"
        return response


async def test_render_may_be_extended():
    response = await Enveloped.as_view()(AsyncRequestFactory().get("/"))
    assert json.loads(response.content) == {"data": ORDER}


class Broken(AsyncView):
    async def get(self, request: HttpRequest) -> Order:
        return {"meat": "secret-meat", "weight": "secret-weight"}  # type: ignore[return-value]


urlpatterns = [path("broken/", Broken.as_view())]


@pytest.mark.urls(__name__)
async def test_a_wrong_result_is_logged_and_not_shown(caplog):
    response = await AsyncClient(raise_request_exception=False).get("/broken/")
    assert response.status_code == 500
    assert b"secret" not in response.content
    assert "Broken.get() returned a dict that is not what it declares: weight: " in caplog.text
