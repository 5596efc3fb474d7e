"""The parts of a request that carry parameters: where values are, and how they are read.

A new source is a subclass of `Source` and an alias like those at the end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Literal,
    NoReturn,
    TypeVar,
    get_args,
    get_origin,
)

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import BadRequest, ImproperlyConfigured, SuspiciousOperation
from django.core.files import uploadedfile
from django.http import HttpRequest
from django.http.multipartparser import MultiPartParserError
from pydantic import BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic_core import CoreSchema, PydanticCustomError, ValidationError, core_schema, from_json

from asyncviews import internals
from asyncviews.problems import MalformedRequest, UnsupportedMediaType, djangos_problem
from asyncviews.validators import hasty

if TYPE_CHECKING:
    UploadedFile = uploadedfile.UploadedFile[bytes]
else:
    UploadedFile = uploadedfile.UploadedFile

T = TypeVar("T")

JSON = "application/json"
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
CHUNK_SIZE = 64 * 1024  # bytes

MISSING: Any = object()
"""Stands for what a request does not carry."""


LARGE = 16 * 1024
"""Bytes in which there is room for more errors than can be listed, and than should be looked for."""


@dataclass(frozen=True, kw_only=True)
class Schema:
    """What is asked of a source, and how it is validated."""

    adapter: TypeAdapter[Any]
    fields: Mapping[str, bool]
    """The names that are asked for, and of each whether all its values are wanted, as a list."""
    whole: bool
    """Whether it is one value, not a dictionary of fields."""

    def validator(self, size: int) -> Any:
        """Return what validates `size` bytes: all errors of few, of many the first of each list."""
        return self.adapter if size <= LARGE else self._hasty

    @cached_property
    def _hasty(self) -> Any:
        return hasty(self.adapter)


class Source(ABC):
    """One part of a request."""

    location: ClassVar[str]
    """What the client's errors call it."""
    body: ClassVar[Literal["json", "raw", "form"] | None] = None
    """How it reads the body, if it does; what reads it in another way cannot stand beside it."""

    def for_type(self, type_: Any) -> Source:
        """Return what reads values of this type."""
        return self

    def public_name(self, name: str) -> str:
        """Return what the client calls a field."""
        return name

    async def load(self, request: HttpRequest) -> None:  # noqa: B027 - most have nothing to do
        """Have ready what would block, or refuse the request, if it were read later.

        Raises:
            Problem: the body cannot be what is asked for.
        """

    def size(self, request: HttpRequest) -> int:
        """Return how many bytes the values are made of, as far as they come from the client."""
        return 0

    @abstractmethod
    def read(
        self, request: HttpRequest, url_kwargs: Mapping[str, Any], fields: Mapping[str, bool]
    ) -> Any:
        """Return the values by name; those of which all are wanted, as lists."""

    def validate(self, schema: Schema, request: HttpRequest, url_kwargs: Mapping[str, Any]) -> Any:
        """Return what the schema makes of the values, or `MISSING`.

        Raises:
            ValidationError: they do not fit.
        """
        validator = schema.validator(self.size(request))
        return validator.validate_python(self.read(request, url_kwargs, schema.fields))


class PathSource(Source):
    """The keyword arguments of the URL pattern."""

    location = "path"

    def size(self, request: HttpRequest) -> int:
        return len(request.path_info)

    def read(
        self, request: HttpRequest, url_kwargs: Mapping[str, Any], fields: Mapping[str, bool]
    ) -> Any:
        return url_kwargs


class QuerySource(Source):
    location = "query"

    def size(self, request: HttpRequest) -> int:
        return len(request.META.get("QUERY_STRING", ""))

    def read(
        self, request: HttpRequest, url_kwargs: Mapping[str, Any], fields: Mapping[str, bool]
    ) -> Any:
        return _by_name(_query(request), fields)


def _by_name(lists: Iterable[tuple[str, list[Any]]], fields: Mapping[str, bool]) -> dict[str, Any]:
    return {name: values if fields.get(name) else values[-1] for name, values in lists if values}


def _query(request: HttpRequest) -> Iterable[tuple[str, list[str]]]:
    """Return the query's values by name, without a `QueryDict` where none is there or needed."""
    query = request.META.get("QUERY_STRING", "")
    limit: int | None = settings.DATA_UPLOAD_MAX_NUMBER_FIELDS
    if (
        "GET" in vars(request)
        or not query.isascii()
        or "%" in query
        or "+" in query
        or (limit is not None and query.count("&") >= limit)
    ):
        return request.GET.lists()
    values: dict[str, list[str]] = {}
    for pair in query.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            values.setdefault(name, []).append(value)
    return values.items()


class HeaderSource(Source):
    """Header fields; ``user_agent`` is User-Agent. A list is split at its commas (RFC 9110, 5.6.1)."""

    location = "header"

    def size(self, request: HttpRequest) -> int:
        return sum(len(value) for key, value in request.META.items() if key.startswith("HTTP_"))

    def public_name(self, name: str) -> str:
        return name.replace("_", "-")

    def read(
        self, request: HttpRequest, url_kwargs: Mapping[str, Any], fields: Mapping[str, bool]
    ) -> Any:
        found = ((name, request.META.get(_meta_key(name))) for name in fields)
        return {
            name: _split_at_commas(value) if fields[name] else value
            for name, value in found
            if value is not None
        }


@cache
def _meta_key(name: str) -> str:
    key = name.upper().replace("-", "_")
    return key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"


class CookieSource(Source):
    location = "cookie"

    def size(self, request: HttpRequest) -> int:
        return len(request.META.get("HTTP_COOKIE", ""))

    def read(
        self, request: HttpRequest, url_kwargs: Mapping[str, Any], fields: Mapping[str, bool]
    ) -> Any:
        return _by_name(((name, [value]) for name, value in request.COOKIES.items()), fields)


class BodySource(Source):
    """A body of JSON, validated straight from its bytes."""

    location = "body"
    body = "json"

    def for_type(self, type_: Any) -> Source:
        plain = get_args(type_)[0] if get_origin(type_) is Annotated else type_
        if plain is bytes:
            return RawBodySource()
        if get_origin(plain) in (AsyncIterator, AsyncIterable) and get_args(plain) == (bytes,):
            return BodyStreamSource()
        return self

    async def load(self, request: HttpRequest) -> None:
        if not _is_json(request.content_type) and internals.body_size(request):
            raise UnsupportedMediaType([JSON])
        await _load_body(request)

    def read(
        self, request: HttpRequest, url_kwargs: Mapping[str, Any], fields: Mapping[str, bool]
    ) -> Any:
        return from_json(request.body) if request.body else {}

    def validate(self, schema: Schema, request: HttpRequest, url_kwargs: Mapping[str, Any]) -> Any:
        if not request.body:
            return MISSING if schema.whole else schema.adapter.validate_python({})
        try:
            return schema.validator(len(request.body)).validate_json(request.body)
        except ValidationError as exc:
            _require_json(exc)
            raise


def _require_json(exc: ValidationError) -> None:
    if exc.error_count() > 1:  # JSON is invalid at one place, others are not worth listing here
        return
    (error,) = exc.errors(include_url=False, include_context=False, include_input=False)
    if error["type"] == "json_invalid" and not error["loc"]:
        raise MalformedRequest(error["msg"]) from None


def _is_json(content_type: str | None) -> bool:
    return content_type == JSON or (content_type or "").endswith("+json")


async def _load_body(request: HttpRequest) -> None:
    with _refusing(request):
        if internals.body_is_at_hand(request):
            request.body  # noqa: B018 - a property
        else:
            await sync_to_async(lambda: request.body)()


@contextmanager
def _refusing(request: HttpRequest) -> Iterator[None]:
    """Raise as a problem what Django raises when it reads a body: it is the client's to read."""
    try:
        yield
    except (SuspiciousOperation, BadRequest, MultiPartParserError) as exc:
        raise djangos_problem(request, exc) or exc from exc


class RawBodySource(Source):
    """A body of whatever media type, as bytes."""

    location = "body"
    body = "raw"

    async def load(self, request: HttpRequest) -> None:
        await _load_body(request)

    def read(
        self, request: HttpRequest, url_kwargs: Mapping[str, Any], fields: Mapping[str, bool]
    ) -> Any:
        return request.body

    def validate(self, schema: Schema, request: HttpRequest, url_kwargs: Mapping[str, Any]) -> Any:
        return schema.adapter.validate_python(request.body) if request.body else MISSING


class BodyStreamSource(Source):
    """A body of whatever media type and size, in chunks; it never is in memory as a whole."""

    location = "body"
    body = "raw"

    def read(
        self, request: HttpRequest, url_kwargs: Mapping[str, Any], fields: Mapping[str, bool]
    ) -> Any:
        return _chunks(request)

    def validate(self, schema: Schema, request: HttpRequest, url_kwargs: Mapping[str, Any]) -> Any:
        return _chunks(request)


async def _chunks(request: HttpRequest) -> AsyncIterator[bytes]:
    in_memory = internals.body_is_at_hand(request)
    while chunk := (
        request.read(CHUNK_SIZE) if in_memory else await sync_to_async(request.read)(CHUNK_SIZE)
    ):
        yield chunk


class FormSource(Source):
    """The fields of a form, in either media type of HTML, of whichever method."""

    location = "form"
    body = "form"

    def size(self, request: HttpRequest) -> int:
        return internals.body_size(request)

    async def load(self, request: HttpRequest) -> None:
        if request.content_type not in FORMS and internals.body_size(request):
            raise UnsupportedMediaType(FORMS)
        with _refusing(request):
            if internals.form_parses_quickly(request):
                internals.parse_form(request)
            else:
                await sync_to_async(internals.parse_form)(request)

    def read(
        self, request: HttpRequest, url_kwargs: Mapping[str, Any], fields: Mapping[str, bool]
    ) -> Any:
        return _by_name(request.POST.lists(), fields)


class FileSource(FormSource):
    """The files of a form, each a `django.core.files.uploadedfile.UploadedFile`."""

    location = "file"

    def read(
        self, request: HttpRequest, url_kwargs: Mapping[str, Any], fields: Mapping[str, bool]
    ) -> Any:
        return _by_name(request.FILES.lists(), fields)


Query = Annotated[T, QuerySource()]
"""The query string, or one parameter of it; ``?a=1&a=2`` is a list where a list is asked for."""

Path = Annotated[T, PathSource()]
"""The keyword arguments of the URL pattern, or one of them."""

Header = Annotated[T, HeaderSource()]
"""Header fields, or one of them: ``last_event_id: Header[str]`` is Last-Event-ID."""

Cookie = Annotated[T, CookieSource()]
"""The cookies, or one of them."""

Form = Annotated[T, FormSource()]
"""The fields of a form, or one of them."""

File = Annotated[T, FileSource()]
"""The files of a form, or one of them, or a list of all with one name."""

Body = Annotated[T, BodySource()]
"""A body of JSON, or one member of it; as ``bytes``, or ``AsyncIterator[bytes]``, any body."""


class Alias:
    """What `Query` and its like are at run time, so that a call of them says what to write."""

    def __init__(self, name: str, generic: Any) -> None:
        self.name = name
        self._generic = generic

    def __getitem__(self, type_: Any) -> Any:
        return self._generic[type_]

    def __call__(self, default: Any = ..., **options: Any) -> NoReturn:
        """Refuse to be called.

        Raises:
            ImproperlyConfigured: always; the message has the line to write.
        """
        field = ", ".join(f"{key}={value!r}" for key, value in options.items())
        type_ = f"Annotated[T, Field({field})]" if field else "T"
        value = "" if default is ... else f" = {default!r}"
        raise ImproperlyConfigured(
            f"{self.name} is not called: it belongs into the annotation, and the default is a plain "
            f"value. Write `name: {self.name}[{type_}]{value}`."
        )

    def __repr__(self) -> str:
        return f"{__name__}.{self.name}"


if not TYPE_CHECKING:
    Query, Path, Header = Alias("Query", Query), Alias("Path", Path), Alias("Header", Header)
    Cookie, Form = Alias("Cookie", Cookie), Alias("Form", Form)
    File, Body = Alias("File", File), Alias("Body", Body)


# What may annotate a value


def _split_at_commas(value: Any) -> Any:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list):
        return value
    items: list[Any] = []
    for part in values:
        items += (
            [item for raw in part.split(",") if (item := raw.strip())]
            if isinstance(part, str)
            else [part]
        )
    return items


CommaSeparated = Annotated[list[T], BeforeValidator(_split_at_commas)]
"""A list written ``a,b , c``: items are stripped, empty ones dropped; the key may also repeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """Limits an uploaded file: ``File[Annotated[UploadedFile, Upload(max_size=1_000_000)]]``."""

    max_size: int | None = None
    """Bytes."""
    content_types: tuple[str, ...] = ()
    """Media types, as the client states them: nobody has looked into the file."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            self._check, core_schema.is_instance_schema(uploadedfile.UploadedFile)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "format": "binary"}

    def _check(self, file: UploadedFile) -> UploadedFile:
        if self.max_size is not None and (file.size or 0) > self.max_size:
            raise PydanticCustomError(
                "file_too_large",
                "File should have at most {max_size} bytes",
                {"max_size": self.max_size},
            )
        if self.content_types and file.content_type not in self.content_types:
            raise PydanticCustomError(
                "file_type", "File should be {types}", {"types": " or ".join(self.content_types)}
            )
        return file
