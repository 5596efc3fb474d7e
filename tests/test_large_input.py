"""Input that is large, and what it may cost: a thread, not the event loop; a limit per view."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.local import Local
from asgiref.testing import ApplicationCommunicator
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, AsyncRequestFactory, Client
from django.urls import path
from django.utils import translation
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt
from pydantic import BaseModel, field_validator

from asyncviews import AsyncView, Body, ContentTooLarge, File, Form, Unauthorized, UploadedFile
from asyncviews.asgi import ASGIHandler
from asyncviews.parameters import LARGE
from asyncviews.problems import LONGEST_ACCEPT, prefers_html
from tests.conftest import http_scope

pytestmark = pytest.mark.urls(__name__)

seen: list[tuple[int, str]] = []
marks = Local()


class Item(BaseModel):
    weight: int

    @field_validator("weight")
    @classmethod
    def notice(cls, value: int) -> int:
        seen.append((threading.get_ident(), getattr(marks, "mark", "")))
        return value


class Order(BaseModel):
    items: list[Item]
    note: str = ""


class Orders(AsyncView):
    async def post(self, request: HttpRequest, order: Body[Order]) -> HttpResponse:
        return HttpResponse(str(len(order.items)))


class Letters(AsyncView):
    async def post(self, request: HttpRequest, text: Form[str]) -> HttpResponse:
        return HttpResponse(str(len(text)))


@method_decorator(csrf_exempt, name="dispatch")
class Limited(AsyncView):
    max_body_size = 1000

    async def authorize(self, request: HttpRequest) -> None:
        if "stranger" in request.headers:
            raise Unauthorized


class LimitedJSON(Limited):
    async def post(self, request: HttpRequest, order: Body[dict[str, Any]] = {}) -> HttpResponse:  # noqa: B006
        return HttpResponse("ok")


class LimitedRaw(Limited):
    async def post(self, request: HttpRequest, body: Body[AsyncIterator[bytes]]) -> HttpResponse:
        return HttpResponse(str(sum([len(chunk) async for chunk in body])))


class LimitedFile(Limited):
    async def post(self, request: HttpRequest, file: File[UploadedFile]) -> HttpResponse:
        return HttpResponse(str(file.size))


class LimitedAlone(Limited):
    async def post(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(len(request.body)))


urlpatterns = [
    path("orders/", Orders.as_view()),
    path("letters/", Letters.as_view()),
    path("json/", LimitedJSON.as_view()),
    path("raw/", LimitedRaw.as_view()),
    path("file/", LimitedFile.as_view()),
    path("alone/", LimitedAlone.as_view()),
]


@pytest.fixture(autouse=True)
def nothing_seen():
    seen.clear()


async def post(url: str, order: Any) -> Any:
    return await AsyncClient().post(url, json.dumps(order), content_type="application/json")


async def test_a_small_body_is_validated_at_once():
    response = await post("/orders/", {"items": [{"weight": 1}]})
    assert response.content == b"1"
    assert {thread for thread, _ in seen} == {threading.get_ident()}


async def test_a_large_body_is_validated_in_a_thread_with_the_requests_context():
    marks.mark = "mine"
    with translation.override("de"):
        response = await post("/orders/", {"items": [{"weight": 1}] * 2, "note": "x" * LARGE})
    assert response.content == b"2"
    assert {mark for _, mark in seen} == {"mine"}
    assert threading.get_ident() not in {thread for thread, _ in seen}


async def test_the_loop_runs_while_a_large_body_is_validated():
    order = {"items": [{"weight": 1}] * 30_000}
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += bool(0 < len(seen) < 30_000)

    turning = asyncio.create_task(turn())
    await post("/orders/", order)
    turning.cancel()
    assert turns > 0


async def test_errors_of_a_large_body_are_the_same_as_of_a_small_one_but_for_lists():
    few = (await post("/orders/", {"items": [{"weight": "x"}, {}]})).json()
    many = (await post("/orders/", {"items": [{"weight": "x"}, {}], "note": "x" * LARGE})).json()
    assert many["errors"] == few["errors"][:1]
    assert many["errors"][0]["pointer"] == "/items/0/weight"


async def test_a_large_body_that_is_not_json_is_malformed():
    response = await AsyncClient().post(
        "/orders/", "{" + " " * LARGE, content_type="application/json"
    )
    assert response.status_code == 400


async def test_a_large_form_is_read_as_a_small_one():
    response = await AsyncClient().post("/letters/", {"text": "x" * LARGE})
    assert response.content == b"%d" % LARGE


def body_of(url: str, size: int) -> dict[str, Any]:
    if url == "/file/":
        return {"data": {"file": SimpleUploadedFile("f", b"x" * size)}}
    data = json.dumps({"x": "x" * (size - len('{"x": ""}'))})
    return {"data": data, "content_type": "application/json"}


URLS = ["/json/", "/raw/", "/file/", "/alone/"]


@pytest.mark.parametrize("url", URLS)
async def test_a_view_may_limit_its_bodies(url):
    client = AsyncClient()
    assert (await client.post(url, **body_of(url, 600))).status_code == 200
    response = await client.post(url, **body_of(url, 1001))
    assert response.status_code == 413
    assert response.json()["detail"] == "The body must not have more than 1000 bytes."


@pytest.mark.parametrize("url", URLS)
def test_so_it_may_under_wsgi(url):
    assert Client().post(url, **body_of(url, 600)).status_code == 200
    assert Client().post(url, **body_of(url, 1001)).status_code == 413


@pytest.mark.parametrize("url", ["/json/", "/raw/", "/alone/"])
async def test_a_body_that_does_not_say_its_size_has_the_same_limit(url):
    scope = http_scope(url, method="POST")
    scope["headers"] += [(b"transfer-encoding", b"chunked"), (b"content-type", b"application/json")]
    communicator = ApplicationCommunicator(ASGIHandler(), scope)
    for number in range(11):
        message = {"type": "http.request", "body": b" " * 100, "more_body": number < 10}
        await communicator.send_input(message)
    assert (await communicator.receive_output(5))["status"] == 413
    await communicator.receive_output(5)
    await communicator.wait(5)


async def test_who_may_not_is_refused_first():
    response = await AsyncClient().post(
        "/json/", "x" * 2000, content_type="text/plain", headers={"stranger": "1"}
    )
    assert response.status_code == 401


async def test_the_limit_may_be_that_of_one_route():
    request = AsyncRequestFactory().post("/", b"x" * 20, content_type="text/plain")
    response = await LimitedAlone.as_view(max_body_size=10)(request)
    assert response.status_code == ContentTooLarge.status


@pytest.mark.parametrize("size", ["1000", -1, True, 1.5])
def test_a_limit_that_is_none_is_refused(size):
    with pytest.raises(Exception, match=r"View\.max_body_size must be a number of bytes or None"):
        type("View", (AsyncView,), {"max_body_size": size})


BROWSERS = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize("undecided", [True, False])
def test_an_accept_header_of_any_length_is_cheap(undecided, monkeypatch):
    """Django needs 0.2 s for one of 54 kB."""
    header = BROWSERS + ",a/b;q=0.1" * 5400
    request = AsyncRequestFactory().get("/", headers={"accept": header})
    monkeypatch.setattr(HttpRequest, "accepted_types", property(lambda self: 1 / 0))
    assert prefers_html(request, undecided=undecided) is undecided


def test_one_as_long_as_any_program_has_is_read():
    header = BROWSERS + ",a/b" * 100
    assert len(header) < LONGEST_ACCEPT
    assert prefers_html(AsyncRequestFactory().get("/", headers={"accept": header}))


class Answers(AsyncView):
    async def get(self, request: HttpRequest) -> dict[str, int]:
        return {}


async def test_a_long_accept_header_is_no_reason_to_refuse_the_request():
    request = AsyncRequestFactory().get("/", headers={"accept": "a/b," * LONGEST_ACCEPT})
    response = await Answers.as_view()(request)
    assert response.status_code == 200
