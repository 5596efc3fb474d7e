"""Large input is validated as small input is, but stops early; validators are never async."""

from __future__ import annotations

import dataclasses
import gc
import json
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    TypeAdapter,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)
from typing_extensions import TypedDict

from asyncviews import AsyncView, Body, internals
from asyncviews.validators import hasty


class Log(BaseModel):
    kind: Literal["log"] = "log"
    weight: int
    woods: list[str] = []


class Chip(BaseModel):
    kind: Literal["chip"]
    weight: float
    default: dict[str, int] = {"type": 1}  # looks like a core schema, and is none


class Dust(TypedDict, total=False):
    weight: str
    type: int


@dataclasses.dataclass
class Pellet:
    weight: int
    items: list[int] = dataclasses.field(default_factory=list)


class Pile(BaseModel):
    below: list[Pile] = []
    by_name: Mapping[str, Log | Chip] = {}
    either: list[Log] | list[Chip] = []
    tagged: Sequence[Annotated[Log | Chip, Field(discriminator="kind")]] = ()
    pair: tuple[int, Log] | None = None
    tuples: tuple[Dust, ...] = ()
    unique: set[int] = set()
    frozen: frozenset[str] = frozenset()
    pellets: list[Pellet] = []
    fields: dict[str, dict[str, int]] = Field(default={}, alias="schema")


class Forbidding(BaseModel):
    model_config = ConfigDict(extra="forbid")


ADAPTER = TypeAdapter(Pile)
HASTY = hasty(ADAPTER)

leaves = st.none() | st.integers(-2, 2) | st.sampled_from(["x", "1", "log", "chip", 1.5, True])
names = st.sampled_from([*Pile.model_fields, "schema", "weight", "kind", "woods", "type", "items"])
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=30,
)


def outcome(validator: Any, value: Any) -> Any:
    """Return what comes of it, or where the errors are, without labels like ``list[Log]``."""
    try:
        return validator.validate_json(json.dumps(value))
    except ValidationError as exc:
        places = [error["loc"] for error in exc.errors()]
        return [tuple(step for step in place if "[" not in str(step)) for place in places]


@given(values)
def test_what_is_valid_is_the_same_and_each_wrong_field_is_told(value):
    full, few = outcome(ADAPTER, value), outcome(HASTY, value)
    if isinstance(full, list):
        assert 0 < len(few) <= len(full)
        assert {place[:1] for place in few} == {place[:1] for place in full}
    else:
        assert few == full


PILES = [
    {
        "tagged": [{"kind": "chip", "weight": 1}],
        "pair": [1, {"weight": 2}],
        "tuples": [{"type": 1}],
    },
    {
        "either": [{"weight": 1}],
        "by_name": {"a": {"weight": 1}, "b": {"weight": 1, "kind": "chip"}},
    },
    {"either": [{"weight": 1.5, "kind": "chip"}], "unique": [1, 1], "frozen": ["a"]},
    {"below": [{"below": [{"pellets": [{"weight": 1, "items": [2]}]}]}], "schema": {"a": {"b": 1}}},
]


@pytest.mark.parametrize("pile", PILES)
def test_of_every_kind_of_container_there_is_a_valid_one(pile):
    assert isinstance(outcome(HASTY, pile), Pile)
    assert outcome(HASTY, pile) == outcome(ADAPTER, pile)


class IntLog(BaseModel):
    weight: int


class StrLog(BaseModel):
    weight: str


@pytest.mark.parametrize("union", [list[IntLog] | list[StrLog], list[StrLog] | list[IntLog]])
@pytest.mark.parametrize("weight", [1, "1", 1.0])
def test_of_a_union_it_takes_the_same_member(union, weight):
    adapter = TypeAdapter(union)
    assert outcome(hasty(adapter), [{"weight": weight}]) == outcome(adapter, [{"weight": weight}])


@pytest.mark.parametrize(
    ("name", "items"),
    [
        ("below", [1, 2, 3]),
        ("by_name", {"a": 1, "b": 2, "c": 3}),
        ("tagged", [1, 2, 3]),
        ("tuples", [1, 2, 3]),
        ("unique", ["a", "b", "c"]),
        ("frozen", [1, 2, 3]),
        ("pellets", [1, 2, 3]),
        ("schema", {"a": 1, "b": 2}),
        ("schema", {"a": {"b": "x", "c": "x"}}),
    ],
)
@pytest.mark.parametrize("depth", [0, 2])
def test_of_what_holds_many_the_first_wrong_one_is_told(name, items, depth):
    pile: dict[str, Any] = {name: items}
    for _ in range(depth):
        pile = {"below": [pile]}
    full, few = outcome(ADAPTER, pile), outcome(HASTY, pile)
    assert len({step[: depth * 2 + 2] for step in full}) > 1 or name == "schema"
    assert len({step[: depth * 2 + 2] for step in few}) == 1
    assert len(few) < len(full)


def test_models_in_models_stop_early_too():
    """pydantic-core takes what it has made of a model already, if one lets it."""

    class Inner(BaseModel):
        numbers: list[int]

    class Outer(BaseModel):
        inner: Inner

    assert len(outcome(hasty(TypeAdapter(Outer)), {"inner": {"numbers": ["a", "b"]}})) == 1


def test_without_pydantics_keyword_nothing_but_the_early_stop_is_lost(monkeypatch):
    def older(schema: Any) -> Any:
        return None

    monkeypatch.setattr(internals, "schema_validator", older)
    assert hasty(ADAPTER) is ADAPTER.validator


def test_this_pydantic_has_that_keyword():
    assert internals.schema_validator({"type": "int"}) is not None


def test_a_model_that_is_completed_later_stops_early():
    later = create_model("Later", items=(list["NotYet"], ...))  # noqa: F821 - that is the point
    adapter = TypeAdapter(later)
    later.model_rebuild(_types_namespace={"NotYet": Log})
    assert len(outcome(hasty(adapter), {"items": [1, 2]})) == 1


def test_other_threads_run_between_items():
    """It is by what is called after each item that the interpreter is let go."""
    validator = hasty(TypeAdapter(list[IntLog]))  # without defaults, which are copied in Python
    body = json.dumps([{"weight": 1}] * 50_000)
    ran: list[int] = []
    ended = threading.Event()

    def count() -> None:
        while not ended.wait(0.0001):
            ran.append(1)

    thread = threading.Thread(target=count)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.0001)
    gc.disable()  # it has callbacks, which let others run, too
    thread.start()
    try:
        before = len(ran)
        validator.validate_json(body)
        found = len(ran) - before
    finally:
        ended.set()
        thread.join()
        sys.setswitchinterval(interval)
        gc.enable()
    assert found > 10


class ByField(BaseModel):
    token: str

    @field_validator("token")
    @classmethod
    async def check(cls, value: str) -> str:
        raise ValueError("no")


class ByModel(BaseModel):
    token: str

    @model_validator(mode="after")
    async def check(self) -> Any:
        raise ValueError("no")


class Before(BaseModel):
    @model_validator(mode="before")
    @classmethod
    async def check(cls, value: Any) -> Any:
        raise ValueError("no")


class PostInit(BaseModel):
    async def model_post_init(self, context: Any) -> None:
        raise ValueError("no")


@dataclasses.dataclass
class OfDataclass:
    token: str

    async def __post_init__(self) -> None:
        raise ValueError("no")


ASYNC = [ByField, ByModel, Before, PostInit, OfDataclass]


@pytest.mark.parametrize("invalid", ASYNC, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("wrap", [lambda a: a, lambda a: create_model("M", items=(list[a], ...))])
def test_async_validators_which_would_let_everything_pass_are_refused(invalid, wrap):
    async def post(self, request, body: Any): ...

    post.__annotations__["body"] = Body[wrap(invalid)]
    with pytest.raises(
        ImproperlyConfigured, match=r"View\.post\(\), parameter 'body': the validator .* is async"
    ):
        type("View", (AsyncView,), {"post": post})


def test_async_validators_of_what_is_returned_are_refused():
    class Answer(RootModel[int]):
        @model_validator(mode="after")
        async def check(self) -> Any:
            return self

    async def get(self, request): ...

    get.__annotations__["return"] = Answer
    with pytest.raises(ImproperlyConfigured, match=r"View\.get\(\): the validator .* is async"):
        type("View", (AsyncView,), {"get": get})
