"""Unions that make pydantic try everything twice at each level are told of before they are met."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path
from pydantic import BaseModel, Field, JsonValue, RootModel, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from asyncviews import AsyncView, Body, Query
from asyncviews.checks_unions import check_unions, is_explosive
from tests.test_urlconf import root_urlconf


class And(BaseModel):
    op: Literal["and"]
    left: And | Or | None = None


class Or(BaseModel):
    op: Literal["or"]
    left: Or | And | None = None


class RootedAnd(BaseModel):
    op: Literal["and"]
    parts: list[Rooted] = []


class RootedOr(BaseModel):
    op: Literal["or"]
    parts: list[Rooted] = []


class Rooted(RootModel[RootedAnd | RootedOr]): ...


class Renamed(BaseModel):
    below: And | Renamed | None = Field(None, alias="left")


class Typed(TypedDict, total=False):
    left: Typed | Data


@dataclass
class Data:
    left: Typed | Data | None = None


class Tuples(BaseModel):
    items: list[Tuples] | tuple[Tuples, ...] = []


Tuples.model_rebuild()


class TaggedAnd(BaseModel):
    op: Literal["and"]
    left: Annotated[TaggedAnd | TaggedOr, Field(discriminator="op")] | None = None


class TaggedOr(BaseModel):
    op: Literal["or"]
    left: Annotated[TaggedAnd | TaggedOr, Field(discriminator="op")] | None = None


class Named(BaseModel):
    """As MongoDB's operators: each has a key of its own."""

    all_of: list[Named | OtherName] = []


class OtherName(BaseModel):
    any_of: list[Named | OtherName] = []


class Node(BaseModel):
    value: int
    next: Node | int | None = None


class Folder(BaseModel):
    inside: list[Folder] | dict[str, Folder] = []


EXPLOSIVE = [And, Rooted, And | Or, list[And], Renamed, Typed, Data]
HARMLESS = [TaggedAnd, Named, Node, Folder, JsonValue, int, dict[str, int | str], list[int | None]]


@pytest.mark.parametrize("type_", [*EXPLOSIVE, Tuples])
def test_what_multiplies_is_found(type_):
    assert is_explosive(TypeAdapter(type_).core_schema)


@pytest.mark.parametrize("type_", HARMLESS)
def test_what_does_not_is_left_alone(type_):
    assert not is_explosive(TypeAdapter(type_).core_schema)


def work(type_: Any, name: str, depth: int) -> float:
    """Return how long it takes to refuse input of so many levels."""
    text = '{"op": "x"}'
    for _ in range(depth):
        text = f'{{"op": "and", "{name}": {text}}}'
    started = time.perf_counter()
    with pytest.raises(ValidationError):
        TypeAdapter(type_).validate_json(text)
    return time.perf_counter() - started


def test_it_is_the_work_that_multiplies():
    """Five levels more are 32 times the work; with a discriminator they are next to nothing."""
    assert work(And, "left", 14) > 8 * work(And, "left", 9)
    assert work(TaggedAnd, "left", 100) < work(And, "left", 14)


class Asks(AsyncView):
    async def get(self, request: HttpRequest, q: Body[And]) -> HttpResponse: ...

    async def post(self, request: HttpRequest, q: Query[str] = "") -> HttpResponse: ...


def test_the_check_names_view_and_method():
    with root_urlconf(path("a/", Asks.as_view()), path("b/", Asks.as_view())):
        (found,) = check_unions(None)
    assert found.id == "asyncviews.W008"
    assert found.obj is Asks
    assert found.msg.startswith("Asks.get() has a parameter with a union without a discriminator")


@override_settings(ROOT_URLCONF="tests.nowhere")
def test_what_is_wrong_with_the_urlconf_is_for_others_to_say():
    assert check_unions(None) == []
