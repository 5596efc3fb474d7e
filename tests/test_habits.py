"""What is written as for another framework is refused, with the line to write instead."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Annotated, Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo
from typing_extensions import TypedDict

from asyncviews import AsyncView, Body, Cookie, File, Form, Header, Path, Query, UploadedFile
from asyncviews.sources import QuerySource


class Order(BaseModel):
    item: str = ""


@dataclass
class Place:
    year: int = 0


class Named(TypedDict):
    name: str


# As far as a signature shows them, those of FastAPI and django-ninja.
fastapi = ModuleType("fastapi")
for name, base in {"Query": FieldInfo, "Header": FieldInfo, "Depends": object}.items():
    setattr(fastapi, name, type(name, (base,), {"__module__": "fastapi.params"}))
fastapi.UploadFile = type("UploadFile", (), {"__module__": "fastapi.datastructures"})
NinjasFile = type("UploadedFile", (UploadedFile,), {"__module__": "ninja.files"})


def message(annotation: Any, default: Any = ...) -> str:
    async def post(self, request, q) -> HttpResponse: ...

    post.__annotations__["q"] = annotation
    post.__defaults__ = () if default is ... else (default,)
    with pytest.raises(ImproperlyConfigured) as caught:
        type("Search", (AsyncView,), {"post": post, "__module__": __name__})
    assert "Search.post(), parameter 'q': " in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("annotation", "default", "line"),
    [
        (Annotated[str, Query], ..., "q: Query[str]"),
        (Annotated[str, Query], "x", "q: Query[str] = 'x'"),
        (Annotated[Order, Body], ..., "q: Body[Order]"),
        (Annotated[str, QuerySource], ..., "q: Query[str]"),
        (Annotated[list[int], Header[int]], ..., "q: Header[list[int]]"),
        (Query, ..., "q: Query[T]"),
        (Form, "x", "q: Form[T]"),
        (str, Query, "q: Query[T]"),
        (str, Cookie[str], "q: Cookie[T]"),
        (str, Path, "q: Path[T]"),
        (Order, ..., "q: Body[Order]"),
        (Order | None, None, "q: Body[tests.test_habits.Order | None] = None"),
        (Annotated[Order, Field(description="An order")], ..., "q: Body[Order]"),
        (Place, ..., "q: Body[Place]"),
        (Named, ..., "q: Body[Named]"),
        (UploadedFile, ..., "q: File[UploadedFile]"),
        (NinjasFile, ..., "q: File[UploadedFile]"),
        (fastapi.UploadFile, ..., "q: File[UploadedFile]"),
        (File[fastapi.UploadFile], ..., "q: File[UploadedFile]"),
        (Annotated[str, fastapi.Query()], "x", "q: Query[str] = 'x'"),
        (Annotated[str, fastapi.Header()], ..., "q: Header[str]"),
        (str, fastapi.Query(default="x"), "q: Query[T]"),
        (str, fastapi.Depends(), "q: Query[T]"),
    ],
)
def test_a_habit_is_refused_when_the_class_is_created(annotation, default, line):
    assert f"`{line}`" in message(annotation, default)


@pytest.mark.parametrize("alias", [Query, Path, Header, Cookie, Form, File, Body])
def test_a_call_says_what_to_write(alias):
    def text(*args: Any, **kwargs: Any) -> str:
        with pytest.raises(ImproperlyConfigured) as caught:
            alias(*args, **kwargs)
        return str(caught.value)

    assert text().endswith(f"Write `name: {alias.name}[T]`.")
    assert text(...).endswith(f"Write `name: {alias.name}[T]`.")
    assert text("x").endswith(f"Write `name: {alias.name}[T] = 'x'`.")
    assert text(1, ge=1).endswith(f"`name: {alias.name}[Annotated[T, Field(ge=1)]] = 1`.")


def test_a_call_within_a_string_too():
    message = "Query is not called"
    with pytest.raises(ImproperlyConfigured, match=message):

        class Search(AsyncView):
            async def get(self, request, q: Annotated[str, Query()]) -> HttpResponse: ...


def test_a_name_in_lower_case():
    assert "Did you mean Query?" in message("query[str]")
    assert "Did you mean" not in message("nowhere[str]")


def test_what_cannot_be_evaluated_says_where():
    assert "cannot be evaluated: 'int' object is not subscriptable" in message("DIGITS[str]")


DIGITS = 10
