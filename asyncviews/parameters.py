"""A handler's signature is the schema of its request: what to read, and how to validate it.

`Query[T]` and `Path[T]` are plain ``T`` to a type checker. ``T`` is a pydantic model, which takes
the whole source, or any other type, which takes the value of the parameter's name. A parameter
with neither is a path parameter. The signature is read once, when the class is created.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace, UnionType
from typing import Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin, get_type_hints

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    BeforeValidator,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
)
from pydantic.fields import FieldInfo
from pydantic.warnings import UnsupportedFieldAttributeWarning

from asyncviews.responses import Problem

T = TypeVar("T")

MISSING = object()
MAX_ERRORS = 100
"""How many errors a problem lists; a short query can hold thousands of bad items."""


class Source(ABC):
    """One part of a request that carries parameters. A new source is one subclass."""

    location: ClassVar[str]

    @abstractmethod
    def read(
        self, request: HttpRequest, url_kwargs: Mapping[str, Any], multiple: frozenset[str]
    ) -> Mapping[str, Any]:
        """Return the values by name; those named in `multiple` as lists."""


class QuerySource(Source):
    location = "query"

    def read(
        self, request: HttpRequest, url_kwargs: Mapping[str, Any], multiple: frozenset[str]
    ) -> Mapping[str, Any]:
        return {
            name: values if name in multiple else values[-1] for name, values in _query(request)
        }


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


class PathSource(Source):
    location = "path"

    def read(
        self, request: HttpRequest, url_kwargs: Mapping[str, Any], multiple: frozenset[str]
    ) -> Mapping[str, Any]:
        return url_kwargs


Query = Annotated[T, QuerySource()]
"""The query string, or one parameter of it; ``?a=1&a=2`` is a list where a list is asked for."""

Path = Annotated[T, PathSource()]
"""The keyword arguments of the URL pattern, or one of them."""


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


class InvalidParameters(Problem):
    """What the client sent does not fit the handler's signature: 422 with every error at once."""

    status = 422
    title = "Unprocessable Content"

    def __init__(self, errors: list[dict[str, str]]) -> None:
        count = f"{len(errors)} parameters are" if len(errors) > 1 else "1 parameter is"
        listed = f" The first {MAX_ERRORS} are listed." if len(errors) > MAX_ERRORS else ""
        super().__init__(f"{count} invalid.{listed}", errors=errors[:MAX_ERRORS])


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a handler: where its value comes from and what it must be."""

    name: str
    alias: str
    source: Source
    adapter: TypeAdapter[Any]
    whole: bool
    multiple: frozenset[str]
    required: bool

    def read(self, request: HttpRequest, url_kwargs: Mapping[str, Any]) -> Any:
        values = self.source.read(request, url_kwargs, self.multiple)
        return values if self.whole else values.get(self.alias, MISSING)

    def errors(self, exc: ValidationError) -> Iterator[dict[str, str]]:
        for error in exc.errors(include_url=False, include_context=False, include_input=False):
            path = error["loc"] if self.whole else (self.alias, *error["loc"])
            detail = error["msg"].removeprefix("Value error, ")  # pydantic's, not the author's
            yield self.error(path, type_=error["type"], detail=detail)

    def error(self, path: tuple[int | str, ...], *, type_: str, detail: str) -> dict[str, str]:
        error = {"location": self.source.location, "type": type_, "detail": detail}
        if path:
            error["name"] = str(path[0])
            error["pointer"] = "".join(f"/{_escape(step)}" for step in path)
        return error


def _escape(step: int | str) -> str:
    """Escape one step of a JSON pointer (RFC 6901, section 3)."""
    return str(step).replace("~", "~0").replace("/", "~1")


@dataclass(frozen=True, slots=True)
class Signature:
    """A handler's parameters after ``self`` and the request."""

    parameters: tuple[Parameter, ...]
    takes_args: bool
    takes_kwargs: bool

    def arguments(self, request: HttpRequest, url_kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the handler's keyword arguments, read from `request` and validated.

        Raises:
            InvalidParameters: with an entry for each thing that is wrong.
        """
        arguments: dict[str, Any] = dict(url_kwargs) if self.takes_kwargs else {}
        errors: list[dict[str, str]] = []
        for parameter in self.parameters:
            value = parameter.read(request, url_kwargs)
            if value is MISSING:
                if parameter.required:
                    path = (parameter.alias,)
                    errors.append(parameter.error(path, type_="missing", detail="Field required"))
                continue
            try:
                arguments[parameter.name] = parameter.adapter.validate_python(value)
            except ValidationError as exc:
                errors += parameter.errors(exc)
        if errors:
            raise InvalidParameters(errors)
        return arguments


def read_signature(owner: type, handler: Callable[..., Any]) -> Signature:
    """Return what `handler`, a method of `owner`, asks of a request.

    Raises:
        ImproperlyConfigured: something that no request can be turned into; the message names the
            class, the method and the parameter.
    """
    where = f"{owner.__qualname__}.{handler.__name__}()"
    kinds = inspect.Parameter
    function = inspect.unwrap(handler)
    declared = list(_inspect(function).parameters.values())[1:]
    if not declared or declared[0].kind not in (
        kinds.POSITIONAL_ONLY,
        kinds.POSITIONAL_OR_KEYWORD,
        kinds.VAR_POSITIONAL,
    ):
        raise ImproperlyConfigured(f"{where}: the first parameter after self must be the request.")
    named = [p for p in declared[1:] if p.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)]
    return Signature(
        parameters=tuple(_read_parameter(where, function, parameter) for parameter in named),
        takes_args=any(p.kind is kinds.VAR_POSITIONAL for p in declared),
        takes_kwargs=any(p.kind is kinds.VAR_KEYWORD for p in declared),
    )


def _inspect(function: Callable[..., Any]) -> inspect.Signature:
    if sys.version_info >= (3, 14):  # names under TYPE_CHECKING must not raise (PEP 649)
        from annotationlib import Format

        return inspect.signature(function, annotation_format=Format.FORWARDREF)
    return inspect.signature(function)


def _read_parameter(
    where: str, function: Callable[..., Any], declared: inspect.Parameter
) -> Parameter:
    where = f"{where}, parameter '{declared.name}'"
    if declared.kind is inspect.Parameter.POSITIONAL_ONLY:
        raise ImproperlyConfigured(f"{where}: it is positional-only, handlers get keywords.")
    if isinstance(declared.default, FieldInfo):
        raise ImproperlyConfigured(
            f"{where}: a Field() belongs into the annotation, as in "
            "Query[Annotated[str, Field(max_length=20)]]; the default is a plain value."
        )
    hint = _evaluate(where, function, declared)
    type_, source, metadata = _split(where, hint)
    try:
        adapter = _adapter(type_)
    except PydanticUserError as exc:
        raise ImproperlyConfigured(
            f"{where}: pydantic cannot validate {type_!r}: {exc.message}"
        ) from exc
    whole = bool(models := list(_models(type_)))
    alias = _alias(metadata) or declared.name
    return Parameter(
        name=declared.name,
        alias=alias,
        source=source,
        adapter=adapter,
        whole=whole,
        multiple=_multiple_names(models) if whole else _multiple_name(alias, type_),
        required=declared.default is inspect.Parameter.empty,
    )


def _adapter(type_: Any) -> TypeAdapter[Any]:
    with warnings.catch_warnings():
        # An alias in Annotated[..., Field(alias=...)] is ours to read, and no mistake.
        warnings.simplefilter("ignore", UnsupportedFieldAttributeWarning)
        return TypeAdapter(type_)


def _evaluate(where: str, function: Callable[..., Any], declared: inspect.Parameter) -> Any:
    if declared.annotation is inspect.Parameter.empty:
        return Any
    # One at a time: the request's or the result's annotation may name what only checkers import.
    holder = SimpleNamespace(__annotations__={declared.name: declared.annotation})
    namespace = getattr(function, "__globals__", {})
    try:
        return get_type_hints(holder, globalns=namespace, include_extras=True)[declared.name]
    except NameError as exc:
        raise ImproperlyConfigured(
            f"{where}: {exc}. Its annotation {declared.annotation!r} is evaluated when the class "
            "is created: what it names must be imported by then, at module level and not only "
            "for type checkers."
        ) from exc


def _split(where: str, hint: Any) -> tuple[Any, Source, list[Any]]:
    """Return the type without its source, the source, and what else the hint was annotated with."""
    if get_origin(hint) is not Annotated:
        nested = [arg for arg in get_args(hint) if get_origin(arg) is Annotated]
        if any(isinstance(item, Source) for arg in nested for item in get_args(arg)[1:]):
            raise ImproperlyConfigured(
                f"{where}: the source goes outside, as in Query[str | None], not Query[str] | None."
            )
        return hint, PathSource(), []
    type_, *metadata = get_args(hint)
    sources = [item for item in metadata if isinstance(item, Source)]
    if len(sources) > 1:
        names = " and ".join(source.location for source in sources)
        raise ImproperlyConfigured(f"{where}: one source, not several ({names}).")
    others = [item for item in metadata if not isinstance(item, Source)]
    source = sources[0] if sources else PathSource()
    return Annotated[(type_, *others)] if others else type_, source, others


def _alias(metadata: list[Any]) -> str | None:
    for item in metadata:
        if isinstance(item, FieldInfo) and isinstance(item.validation_alias, str):
            return item.validation_alias
    return None


def _arms(hint: Any) -> Iterator[Any]:
    """Yield the plain types that `hint` allows, through aliases, Annotated and unions."""
    if hasattr(hint, "__value__"):  # a ``type X = ...`` statement
        yield from _arms(hint.__value__)
    elif get_origin(hint) is Annotated:
        yield from _arms(get_args(hint)[0])
    elif get_origin(hint) in (Union, UnionType):
        for arm in get_args(hint):
            yield from _arms(arm)
    elif hint is not type(None):
        yield hint


def _models(hint: Any) -> Iterator[type[BaseModel]]:
    arms = list(_arms(hint))
    if all(isinstance(arm, type) and issubclass(arm, BaseModel) for arm in arms):
        yield from arms


def _is_list(hint: Any) -> bool:
    for arm in _arms(hint):
        plain = get_origin(arm) or arm
        if (
            isinstance(plain, type)
            and issubclass(plain, Iterable)
            and not issubclass(plain, (str, bytes, Mapping, BaseModel))
        ):
            return True
    return False


def _multiple_name(alias: str, type_: Any) -> frozenset[str]:
    return frozenset({alias} if _is_list(type_) else ())


def _multiple_names(models: Iterable[type[BaseModel]]) -> frozenset[str]:
    return frozenset(
        name
        for model in models
        for field_name, field in model.model_fields.items()
        if _is_list(field.annotation)
        for name in (field_name, *_aliases(field))
    )


def _aliases(field: FieldInfo) -> Iterator[str]:
    alias = field.validation_alias
    for choice in alias.choices if isinstance(alias, AliasChoices) else [alias]:
        if isinstance(choice, str):
            yield choice
        elif isinstance(choice, AliasPath) and isinstance(choice.path[0], str):
            yield choice.path[0]
