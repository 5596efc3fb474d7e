"""What clients are told of their errors is short, and quotes nothing that they sent."""

from __future__ import annotations

import dataclasses
import enum
import json
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Network
from pathlib import Path
from re import Pattern
from typing import Annotated, Any, Literal, NamedTuple, get_args
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.test import AsyncRequestFactory
from pydantic import (
    UUID4,
    AfterValidator,
    AnyUrl,
    AwareDatetime,
    Base64Bytes,
    BaseModel,
    ByteSize,
    ConfigDict,
    Discriminator,
    Field,
    FileUrl,
    FutureDate,
    FutureDatetime,
    HttpUrl,
    ImportString,
    IPvAnyAddress,
    Json,
    NaiveDatetime,
    NewPath,
    PastDate,
    PastDatetime,
    SecretStr,
    Tag,
)
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ErrorType

from asyncviews import Body, CommaSeparated, InvalidParameters, Query, Upload, UploadedFile
from asyncviews.annotations import is_structure
from asyncviews.errors import LONGEST_NAME, LONGEST_TEXT, MOST_BUILT
from asyncviews.parameters import read_signature

MARK = "hünterz"
OTHER = "jägerxy"


class Meat(enum.Enum):
    RIBS = "ribs"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Hidden(BaseModel):
    model_config = ConfigDict(val_json_bytes="base64")

    content: bytes


class OfAttributes(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class Pair(NamedTuple):
    a: int
    b: int


@dataclasses.dataclass
class Point:
    x: int


class OrAbove(BaseModel):
    bottom: int = Field(lt=0)
    above: list[int] = Field(default_factory=lambda data: [data["bottom"]])


def kind(value: Any) -> str | None:
    return value.get("kind") if isinstance(value, dict) else None


ByFunction = Annotated[Annotated[Cat, Tag("cat")] | Annotated[Dog, Tag("dog")], Discriminator(kind)]
ByField = Annotated[Cat | Dog, Field(discriminator="kind")]

BAD: list[tuple[Any, Any]] = [
    (Cat, {}),
    (Strict, {"a": MARK}),
    (Strict, MARK),
    (Point, MARK),
    (OrAbove, {"bottom": 1}),
    (None, MARK),
    (Annotated[int, Field(gt=2)], 1),
    (Annotated[int, Field(ge=2)], 1),
    (Annotated[int, Field(lt=2)], 3),
    (Annotated[int, Field(le=2)], 3),
    (Annotated[int, Field(multiple_of=2)], 3),
    (Annotated[Decimal, Field(allow_inf_nan=False)], "NaN"),
    (Annotated[list[str], Field(min_length=2)], [MARK]),
    (Annotated[list[str], Field(max_length=1)], [MARK, MARK]),
    (str, [MARK]),
    (Annotated[str, Field(min_length=20)], MARK),
    (Annotated[str, Field(max_length=2)], MARK),
    (Annotated[str, Field(pattern="^x$")], MARK),
    (Meat, MARK),
    (dict[str, str], MARK),
    (list[str], MARK),
    (tuple[str, str], MARK),
    (set[str], MARK),
    (frozenset[str], MARK),
    (bool, [MARK]),
    (bool, MARK),
    (int, [MARK]),
    (int, MARK),
    (int, "1" * 5000),
    (int, 1.5),
    (float, [MARK]),
    (float, MARK),
    (list[bytes], [[MARK]]),
    (list[Annotated[bytes, Field(min_length=20)]], [MARK]),
    (list[Annotated[bytes, Field(max_length=2)]], [MARK]),
    (Hidden, {"content": f"*{MARK}"}),
    (Literal["ribs"], MARK),
    (date, [MARK]),
    (date, MARK),
    (date, f"2020-01-01T{MARK}"),
    (date, "2020-01-01T01:00"),
    (PastDate, "9000-01-01"),
    (FutureDate, "2000-01-01"),
    (time, [MARK]),
    (time, MARK),
    (datetime, [MARK]),
    (Annotated[datetime, Field(strict=True)], f"2020-01-01T{MARK}"),
    (datetime, MARK),
    (PastDatetime, "9000-01-01T00:00"),
    (FutureDatetime, "2000-01-01T00:00"),
    (NaiveDatetime, "2000-01-01T00:00Z"),
    (AwareDatetime, "2000-01-01T00:00"),
    (timedelta, [MARK]),
    (timedelta, MARK),
    (ByField, {"kind": MARK}),
    (ByFunction, {"kind": MARK}),
    (ByField, {"mind": MARK}),
    (AnyUrl, [MARK]),
    (AnyUrl, MARK),
    (AnyUrl, f"http://{MARK}:{MARK}"),
    (AnyUrl, f"http://{MARK}%00"),
    (HttpUrl, f"http://{MARK}.example/" + "x" * 3000),
    (FileUrl, f"http://{MARK}"),
    (UUID, [MARK]),
    (UUID, MARK),
    (UUID4, "6fa459ea-ee8a-11d2-90d4-00c04fd430c8"),
    (Decimal, [MARK]),
    (Decimal, MARK),
    (Annotated[Decimal, Field(max_digits=1)], "123"),
    (Annotated[Decimal, Field(decimal_places=1)], "1.123"),
    (Annotated[Decimal, Field(max_digits=4, decimal_places=2)], "123"),
    (complex, [MARK]),
    (complex, MARK),
    (Json[int], MARK),
    (Json[int], [MARK]),
    (Annotated[UploadedFile, Upload()], MARK),
    (Callable, MARK),
    (Iterable[int], 1),
    (deque[int], MARK),
    (Counter[str], MARK),
    (OrderedDict[str, int], MARK),
    (Pair, MARK),
    (Pair, {"a": 1}),
    (Pair, {"a": 1, "b": 1, MARK: 1}),
    (Pair, [1, 2, MARK]),
    (Fraction, MARK),
    (OfAttributes, MARK),
    (Annotated[AnyUrl, Field(strict=True)], f"http:/{MARK}"),
    (Annotated[date, Field(strict=True)], MARK),
    (set[Any], [[MARK]]),
    # and those of types that pydantic has in Python
    (list[Base64Bytes], ["aaaaa"]),
    (ByteSize, "1 hünter"),
    (ImportString, f"{MARK}.x"),
    (IPvAnyAddress, MARK),
    (IPv4Address, MARK),
    (IPv6Network, MARK),
    (NewPath, f"/{MARK}/x"),
    (Path, [MARK]),
    (Pattern, f"({MARK}"),
    (ZoneInfo, MARK),
    (Annotated[SecretStr, Field(max_length=2)], MARK),
]
"""A type, and what does not fit it, for each type of error that a request can cause."""

OUT_OF_REACH = {
    # of objects in Python
    "dataclass_exact_type",
    "datetime_object_invalid",
    "frozen_field",
    "frozen_instance",
    "get_attribute_error",
    "invalid_key",
    "is_instance_of",
    "is_subclass_of",
    "iteration_error",
    "mapping_type",
    "no_such_attribute",
    "recursion_loop",
    "string_sub_type",
    "string_unicode",
    # of types that are none of pydantic's API, no type of a parameter, or newer than 2.13
    "arguments_type",
    "ellipsis_error",
    "fraction_type",
    "frozen_dict_type",
    "missing_argument",
    "missing_keyword_only_argument",
    "missing_positional_only_argument",
    "missing_sentinel_error",
    "model_attributes_type",
    "multiple_argument_values",
    "string_not_ascii",
    "timezone_offset",
    "unexpected_keyword_argument",
    "unexpected_positional_argument",
    # a JSON that is as deep is refused by the parser
    "recursion_depth_exceeded",
    # what authors say is theirs
    "assertion_error",
    "value_error",
}


def errors(type_: Any, value: Any) -> list[dict[str, str]]:
    """Return what a client is told that sends `value` as member ``x`` of a body."""

    async def post(self, request, x: Any): ...

    post.__annotations__["x"] = Body[type_]
    of_member = not is_structure(type_)
    body = json.dumps({"x": value} if of_member else value)
    request = AsyncRequestFactory().post("/", body, content_type="application/json")
    with pytest.raises(InvalidParameters) as caught:
        read_signature(object, post).arguments(request, {})
    return caught.value.document()["errors"]


def of_somebody_else(value: Any) -> Any:
    return json.loads(json.dumps(value, ensure_ascii=False).replace(MARK, OTHER))


@pytest.mark.parametrize(("type_", "value"), BAD)
def test_no_error_quotes_what_was_sent(type_, value):
    """Not in part either: of another value of the same length the same is said."""
    if isinstance(value, dict) and MARK in value:  # the names of parameters are told
        value = {name.replace(MARK, "name"): each for name, each in value.items()}
    told = errors(type_, value)
    assert MARK not in str(told)
    assert told == errors(type_, of_somebody_else(value))


def test_every_type_of_error_has_been_looked_at():
    """If this fails with a new pydantic: does the message of the new type quote its input?"""
    told = {error["type"] for type_, value in BAD for error in errors(type_, value)}
    assert set(get_args(ErrorType)) - told - OUT_OF_REACH == set()


def test_an_email_address_is_not_quoted():
    """pydantic hands on the reasons of email-validator, which quote the characters they mean."""

    def as_pydantic(value: str) -> str:
        reason = f"The part after the @-sign contains invalid characters: {value!r}."
        message = "value is not a valid email address: {reason}"
        raise PydanticCustomError("value_error", message, {"reason": reason})

    (told,) = errors(Annotated[str, AfterValidator(as_pydantic)], MARK)
    assert told["detail"] == "Input should be a valid email address"


def test_what_an_author_says_is_told_as_it_is_but_not_at_any_length():
    def no_meat(value: str) -> str:
        raise ValueError(f"{value} is no meat")

    kind = Annotated[str, AfterValidator(no_meat)]
    assert errors(kind, "tofu")[0]["detail"] == "tofu is no meat"
    assert len(errors(kind, "tofu" * 1000)[0]["detail"]) == LONGEST_TEXT


def test_an_authors_error_may_have_the_type_of_one_of_pydantics():
    def mine(value: str) -> str:
        raise PydanticCustomError("union_tag_invalid", "mine")

    (told,) = errors(Annotated[str, AfterValidator(mine)], "x")
    assert told["type"] == "union_tag_invalid"


def test_long_names_are_cut():
    name = "n" * 1_000_000
    (told,) = errors(Strict, {name: 1})
    assert told["name"] == "n" * (LONGEST_NAME - 1) + "…"
    assert told["pointer"] == f"/{told['name']}"


class Deep(BaseModel):
    inside: dict[str, Deep] = {}
    number: int = 0


def test_long_pointers_are_cut():
    value: dict[str, Any] = {"number": "x"}
    for _ in range(50):
        value = {"inside": {"n" * 1000: value}}
    (told,) = errors(Deep, value)
    assert told["name"] == "inside"
    assert len(told["pointer"]) == LONGEST_TEXT
    assert told["pointer"].startswith(f"/inside/{'n' * 99}…/inside/")
    assert told["pointer"].endswith("…")


def test_short_ones_are_whole():
    (told,) = errors(Deep, {"inside": {"a/b": {"inside": {"c~d": {"number": "x"}}}}})
    assert told["pointer"] == "/inside/a~1b/inside/c~0d/number"


def test_all_that_is_told_is_bounded():
    """In bytes as they are sent: each character of these names becomes twelve."""
    names = {"😀" * 150 + str(number): 1 for number in range(MOST_BUILT)}
    told = errors(Strict, names)
    assert 4 < len(told) < 20
    assert len(json.dumps(told)) < 64_000


def test_too_many_to_be_listed_are_counted():
    names = {f"name{number}": 1 for number in range(MOST_BUILT + 1)}
    assert errors(Strict, names) == [
        {
            "location": "body",
            "type": "too_many_errors",
            "detail": "1,001 values are invalid, too many to list",
        }
    ]


@pytest.mark.parametrize("source", [Body, Query])
def test_a_flood_of_wrong_items_is_one_error(source):
    """The number of errors, and what it costs to build them, does not grow with the request."""
    items = "a," * 200_000

    async def post(self, request, ids: Any): ...

    post.__annotations__["ids"] = source[CommaSeparated[int]]
    request = AsyncRequestFactory().post(
        "/", json.dumps({"ids": items}), content_type="application/json"
    )
    request.META["QUERY_STRING"] = f"ids={items}"
    with pytest.raises(InvalidParameters) as caught:
        read_signature(object, post).arguments(request, {})
    (told,) = caught.value.extensions["errors"]
    assert told["pointer"] == "/ids/0"
