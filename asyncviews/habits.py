"""What signatures say in other frameworks and would pass in silence here, and what to write instead."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, get_args, get_origin

from django.core.exceptions import ImproperlyConfigured
from django.core.files import uploadedfile
from pydantic.fields import FieldInfo

from asyncviews.annotations import is_structure
from asyncviews.sources import Alias, Source

_ELSEWHERE = ("fastapi", "litestar", "ninja", "starlette")


def refuse(where: str, parameter: inspect.Parameter, hint: Any) -> None:
    """Raise if a parameter, whose annotation means `hint`, is written as for another framework.

    Raises:
        ImproperlyConfigured: it is; the message has the line to write.
    """
    for mistake in _mistakes(parameter, hint):
        raise ImproperlyConfigured(f"{where}: {mistake}")


def corrected(parameter: inspect.Parameter, type_: Any, source: str) -> str:
    """Return the parameter as it is written to be read from a source: ``q: Query[str] = 'x'``."""
    default = parameter.default
    value = "" if default is parameter.empty or _is_foreign(default) else f" = {default!r}"
    return f"`{parameter.name}: {source}[{_written(type_)}]{value}`"


def _written(type_: Any) -> str:
    if isinstance(type_, type) and not get_args(type_):
        return type_.__qualname__
    return inspect.formatannotation(type_)


def _mistakes(parameter: inspect.Parameter, hint: Any) -> Iterator[str]:
    if isinstance(hint, Alias):
        yield f"{hint.name} needs a type: write `{parameter.name}: {hint.name}[T]`."
    type_, *metadata = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    yield from _beside(parameter, type_, metadata)
    yield from _as_default(parameter)
    if _is_foreign(type_) and not _is_file(type_):
        yield f"{_instead_of(type_)} Write `{parameter.name}: File[UploadedFile]`."
    if not any(isinstance(item, Source) for item in metadata):
        yield from _without_source(parameter, hint, type_)


def _beside(parameter: inspect.Parameter, type_: Any, metadata: Iterable[Any]) -> Iterator[str]:
    """Yield what is wrong with what ``Annotated`` adds to a type."""
    for item in metadata:
        if source := _unused_source(item):
            yield f"the source is around the type: write {corrected(parameter, type_, source)}."
        if _is_foreign(item):
            yield f"{_instead_of(item)} Write {corrected(parameter, type_, _source_like(item))}."


def _as_default(parameter: inspect.Parameter) -> Iterator[str]:
    name, default = parameter.name, parameter.default
    if source := _unused_source(default):
        yield (
            "the source belongs into the annotation, and the default is a plain value: write "
            f"`{name}: {source}[T]`."
        )
    if _is_foreign(default):
        yield f"{_instead_of(default)} Write `{name}: {_source_like(default)}[T]`."
    if isinstance(default, FieldInfo):
        yield (
            "a Field() belongs into the annotation, as in "
            "Query[Annotated[str, Field(max_length=20)]]; the default is a plain value."
        )


def _without_source(parameter: inspect.Parameter, hint: Any, type_: Any) -> Iterator[str]:
    if _is_file(type_):
        yield f"a file has a source: write {corrected(parameter, type_, 'File')}."
    if is_structure(hint):
        yield (
            f"{_written(type_)} has no source. Write {corrected(parameter, type_, 'Body')} for a "
            "body of JSON; or Query[...], Form[...] or another source; Path[...] for what the URL "
            "pattern captures."
        )


def _is_file(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, uploadedfile.UploadedFile)


def _unused_source(item: Any) -> str:
    """Return the name of a source that stands where it has no effect, empty if it is none."""
    if isinstance(item, Alias):
        return item.name
    if isinstance(item, type) and issubclass(item, Source):
        return item.location.title()
    nested = get_args(item)[1:] if get_origin(item) is Annotated else ()
    return next((each.location.title() for each in nested if isinstance(each, Source)), "")


def _is_foreign(item: Any) -> bool:
    """Whether something is another framework's: a parameter (most are fields), a dependency, a file."""
    cls = item if isinstance(item, type) else type(item)
    from_elsewhere = cls.__module__.partition(".")[0] in _ELSEWHERE
    if isinstance(item, type):
        return from_elsewhere and item.__name__ in {"UploadFile", "UploadedFile"}
    return from_elsewhere or (isinstance(item, FieldInfo) and cls is not FieldInfo)


def _instead_of(item: Any) -> str:
    cls = item if isinstance(item, type) else type(item)
    return f"{cls.__module__}.{cls.__qualname__} is nothing that asyncviews reads."


def _source_like(item: Any) -> str:
    name = type(item).__name__
    return name if name in {"Path", "Header", "Cookie", "Form", "File", "Body"} else "Query"
