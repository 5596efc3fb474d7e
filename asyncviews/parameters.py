"""A handler's signature is the schema of its request: what to read, and how to validate it.

`Query[T]`, `Body[T]` and their like are plain ``T`` to a type checker. ``T`` is a pydantic model, a
dataclass or a `TypedDict`, which takes the whole source, or any other type, which takes the value of
the parameter's name. A parameter with neither is a path parameter. The signature is read once, when
the class is created.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, NotRequired, Required, get_args, get_origin

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic.warnings import UnsupportedFieldAttributeWarning
from typing_extensions import TypedDict

from asyncviews import habits, internals
from asyncviews.annotations import (
    evaluate,
    field_info,
    fields_of,
    is_list,
    is_structure,
    names_of,
    signature_of,
)
from asyncviews.errors import Error, error, errors_of
from asyncviews.problems import InvalidParameters
from asyncviews.sources import MISSING, BodyStreamSource, FileSource, PathSource, Schema, Source
from asyncviews.validators import require_sync

LARGE = 64 * 1024
"""Bytes of a body that take longer to validate than the way to a thread does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What is read from one source in one go: the whole of it, or fields that are parameters."""

    source: Source
    schema: Schema
    name: str | None
    """The parameter that takes the whole; without one, each field is a parameter."""
    required: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Those of parameters that are fields, by the name that requests carry; for documentation."""

    def arguments(self, request: HttpRequest, url_kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of the parameters; those that are missing have defaults.

        Raises:
            ValidationError: what the request carries does not fit.
            InvalidParameters: it carries nothing, and has to.
        """
        found = self.source.validate(self.schema, request, url_kwargs)
        if self.name is None:
            return found  # type: ignore[no-any-return]
        if found is not MISSING:
            return {self.name: found}
        if self.required:
            raise InvalidParameters([error(self.source, "missing", "Field required")])
        return {}

    def errors(
        self, exc: ValidationError, request: HttpRequest, url_kwargs: Mapping[str, Any]
    ) -> Iterator[Error]:
        read = partial(self.source.read, request, url_kwargs, self.schema.fields)
        return errors_of(exc, self.source, read)


@dataclass(frozen=True, slots=True, kw_only=True)
class Implicit:
    """A parameter without a source, and so of the path: perhaps by mistake."""

    name: str
    names: frozenset[str]
    """Those by which a URL pattern may capture it."""
    required: bool
    corrected: str
    """How it is written to be read from the query string."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A handler's parameters after ``self`` and the request."""

    groups: tuple[Group, ...]
    implicit: tuple[Implicit, ...]
    loading: tuple[Source, ...]
    """The sources that have to be loaded before they are read."""
    takes_args: bool
    takes_kwargs: bool

    @property
    def body(self) -> Source | None:
        """What reads the body, None if nothing does."""
        return next((group.source for group in self.groups if group.source.body), None)

    async def read(self, request: HttpRequest, url_kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Load the body, and return `arguments()`: of a large body from a thread.

        It is not the thread of the request's synchronous code, which others may be waiting for.

        Raises:
            Problem: the body cannot be read, is not what is asked for, or does not fit.
        """
        for source in self.loading:
            await source.load(request)
        if self._takes_long(request):
            arguments = sync_to_async(self.arguments, thread_sensitive=False)
            return await arguments(request, url_kwargs)
        return self.arguments(request, url_kwargs)

    def _takes_long(self, request: HttpRequest) -> bool:
        validated = self.body is not None and self.body.body != "raw"
        return validated and internals.body_size(request) > LARGE

    def arguments(self, request: HttpRequest, url_kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the handler's keyword arguments, read from `request` and validated.

        Raises:
            InvalidParameters: with an entry for each thing that is wrong.
            MalformedRequest: the body is not JSON.
        """
        arguments: dict[str, Any] = dict(url_kwargs) if self.takes_kwargs else {}
        errors: list[Error] = []
        for group in self.groups:
            try:
                arguments |= group.arguments(request, url_kwargs)
            except ValidationError as exc:
                errors += group.errors(exc, request, url_kwargs)
            except InvalidParameters as exc:
                errors += exc.extensions["errors"]
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
    declared = list(signature_of(function).parameters.values())[1:]
    if not declared or declared[0].kind not in (
        kinds.POSITIONAL_ONLY,
        kinds.POSITIONAL_OR_KEYWORD,
        kinds.VAR_POSITIONAL,
    ):
        raise ImproperlyConfigured(f"{where}: the first parameter after self must be the request.")
    named = [p for p in declared[1:] if p.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)]
    parameters = [_read_parameter(where, function, parameter) for parameter in named]
    groups = tuple(_group(parameters))
    _require_one_body(where, groups)
    return Signature(
        groups=groups,
        implicit=tuple(parameter.implicit for parameter in parameters if parameter.implicit),
        loading=tuple(_loading(groups)),
        takes_args=any(p.kind is kinds.VAR_POSITIONAL for p in declared),
        takes_kwargs=any(p.kind is kinds.VAR_KEYWORD for p in declared),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parameter:
    name: str
    type: Any
    source: Source
    default: Any
    whole: bool
    implicit: Implicit | None

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty


def _read_parameter(
    where: str, function: Callable[..., Any], declared: inspect.Parameter
) -> _Parameter:
    where = f"{where}, parameter '{declared.name}'"
    if declared.kind is inspect.Parameter.POSITIONAL_ONLY:
        raise ImproperlyConfigured(f"{where}: it is positional-only, handlers get keywords.")
    hint: Any = Any
    if declared.annotation is not inspect.Parameter.empty:
        hint = evaluate(where, function, declared.name, declared.annotation)
    habits.refuse(where, declared, hint)
    type_, declared_source = _split(where, hint)
    source = declared_source or PathSource()
    if not isinstance(source, BodyStreamSource):
        _require_validator(where, type_, source)
    return _Parameter(
        name=declared.name,
        type=type_,
        source=source,
        default=declared.default,
        whole=source.body == "raw" or is_structure(type_),
        implicit=None if declared_source else _implicit(declared, type_),
    )


def _implicit(declared: inspect.Parameter, type_: Any) -> Implicit:
    return Implicit(
        name=declared.name,
        names=frozenset(names_of(declared.name, field_info(type_))),
        required=declared.default is declared.empty,
        corrected=habits.corrected(declared, type_, "Query"),
    )


def _split(where: str, hint: Any) -> tuple[Any, Source | None]:
    """Return the type without its source, and the source, if there is one."""
    if get_origin(hint) is not Annotated:
        nested = [arg for arg in get_args(hint) if get_origin(arg) is Annotated]
        if any(isinstance(item, Source) for arg in nested for item in get_args(arg)[1:]):
            raise ImproperlyConfigured(
                f"{where}: the source goes outside, as in Query[str | None], not Query[str] | None."
            )
        return hint, None
    type_, *metadata = get_args(hint)
    sources = [item for item in metadata if isinstance(item, Source)]
    if len(sources) > 1:
        names = " and ".join(source.location for source in sources)
        raise ImproperlyConfigured(f"{where}: one source, not several ({names}).")
    others = [item for item in metadata if not isinstance(item, Source)]
    type_ = Annotated[(type_, *others)] if others else type_
    return type_, sources[0].for_type(type_) if sources else None


def _require_validator(where: str, type_: Any, source: Source) -> None:
    try:
        adapter = _adapter(type_, source)
    except PydanticUserError as exc:
        raise ImproperlyConfigured(
            f"{where}: pydantic cannot validate {type_!r}: {exc.message}"
        ) from exc
    require_sync(where, adapter)


def _adapter(type_: Any, source: Source) -> TypeAdapter[Any]:
    # Models and their like have a configuration of their own.
    config = None if is_structure(type_) else _config(source)
    with warnings.catch_warnings():
        # An alias in Annotated[..., Field(alias=...)] is ours to read, and no mistake.
        warnings.simplefilter("ignore", UnsupportedFieldAttributeWarning)
        return TypeAdapter(type_, config=config)


def _config(source: Source) -> ConfigDict:
    """Return how the types of a source are validated; Django's files are none of pydantic's."""
    return ConfigDict(arbitrary_types_allowed=isinstance(source, FileSource))


# From parameters to what is read in one go


def _group(parameters: Iterable[_Parameter]) -> Iterator[Group]:
    fields: dict[type[Source], list[_Parameter]] = {}
    for parameter in parameters:
        if parameter.whole:
            yield _whole(parameter)
        else:
            fields.setdefault(type(parameter.source), []).append(parameter)
    for of_source in fields.values():
        yield _fields(of_source)


def _whole(parameter: _Parameter) -> Group:
    stream = isinstance(parameter.source, BodyStreamSource)
    return Group(
        source=parameter.source,
        schema=Schema(
            adapter=_adapter(Any if stream else parameter.type, parameter.source),
            fields=dict(fields_of(parameter.type)),
            whole=True,
        ),
        name=parameter.name,
        required=parameter.required,
    )


def _fields(parameters: list[_Parameter]) -> Group:
    """Return the group of parameters that are fields of one source, a dictionary to pydantic."""
    source = parameters[0].source
    items = {
        parameter.name: (Required if parameter.required else NotRequired)[parameter.type]
        for parameter in parameters
    }
    make_dictionary: Any = TypedDict
    dictionary = make_dictionary("Parameters", items)
    dictionary.__pydantic_config__ = _config(source)
    names = {
        name: is_list(parameter.type)
        for parameter in parameters
        for name in names_of(parameter.name, field_info(parameter.type))
    }
    schema = Schema(adapter=TypeAdapter(dictionary), fields=names, whole=False)
    defaults = {
        next(names_of(parameter.name, field_info(parameter.type))): parameter.default
        for parameter in parameters
        if not parameter.required
    }
    return Group(source=source, schema=schema, name=None, defaults=defaults)


def _loading(groups: Iterable[Group]) -> Iterable[Source]:
    """Return what has to be loaded; of those that read the body in the same way, one."""
    sources = {group.source.body or type(group.source): group.source for group in groups}
    return [source for source in sources.values() if type(source).load is not Source.load]


def _require_one_body(where: str, groups: Iterable[Group]) -> None:
    """Raise `ImproperlyConfigured` if the body would have to be two things at once."""
    reading = [group for group in groups if group.source.body]
    kinds = {group.source.body for group in reading}
    if len(kinds) > 1 or (len(reading) > 1 and kinds != {"form"}):
        names = ", ".join(group.name or " and ".join(group.schema.fields) for group in reading)
        raise ImproperlyConfigured(
            f"{where}: there is one body, but several parameters want to read it in ways that "
            f"exclude each other: {names}. One model, in Body[...], may have them all as fields; "
            "Form[...] and File[...] go together."
        )
