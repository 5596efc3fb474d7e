"""What annotations say, of parameters and of results."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from types import SimpleNamespace, UnionType
from typing import (
    Annotated,
    Any,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from django.core.exceptions import ImproperlyConfigured
from pydantic import AliasChoices, AliasPath, BaseModel
from pydantic.fields import FieldInfo
from typing_extensions import is_typeddict


def signature_of(function: Callable[..., Any], *, follow_wrapped: bool = True) -> inspect.Signature:
    if sys.version_info >= (3, 14):  # names under TYPE_CHECKING must not raise (PEP 649)
        from annotationlib import Format

        return inspect.signature(
            function, follow_wrapped=follow_wrapped, annotation_format=Format.FORWARDREF
        )
    return inspect.signature(function, follow_wrapped=follow_wrapped)


def evaluate(where: str, function: Callable[..., Any], name: str, annotation: Any) -> Any:
    """Return what an annotation means, which may be a string, in the module of `function`.

    Raises:
        ImproperlyConfigured: it names something that is not there.
    """
    # One at a time: the others may name what only checkers import.
    holder = SimpleNamespace(__annotations__={name: annotation})
    namespace = getattr(function, "__globals__", {})
    try:
        return get_type_hints(holder, globalns=namespace, include_extras=True)[name]
    except NameError as exc:
        known = [alike for alike in namespace if alike.lower() == str(exc.name).lower()]
        hint = f" Did you mean {known[0]}?" if known else ""
        raise ImproperlyConfigured(
            f"{where}: {exc}.{hint} Its annotation {annotation!r} is evaluated when the class "
            "is created: what it names must be imported by then, at module level and not only "
            "for type checkers."
        ) from exc
    except (AttributeError, TypeError) as exc:
        raise ImproperlyConfigured(
            f"{where}: its annotation {annotation!r} cannot be evaluated: {exc}."
        ) from exc


def members(hint: Any) -> Iterator[Any]:
    """Yield the members of a union, or what is none; those of an alias, too."""
    if hasattr(hint, "__value__"):  # a ``type X = ...`` statement
        yield from members(hint.__value__)
    elif get_origin(hint) in (Union, UnionType):
        for member in get_args(hint):
            yield from members(member)
    else:
        yield hint


def _arms(hint: Any) -> Iterator[Any]:
    """Yield the plain types that `hint` allows, but for None."""
    for member in members(hint):
        if get_origin(member) in (Annotated, Required, NotRequired):
            yield from _arms(get_args(member)[0])
        elif member is not type(None):
            yield member


def is_structure(hint: Any) -> bool:
    """Whether a type has fields of its own: models, dataclasses, ``TypedDict``, unions of them."""
    arms = list(_arms(hint))
    return bool(arms) and all(_has_fields(get_origin(arm) or arm) for arm in arms)


def _has_fields(arm: Any) -> bool:
    if is_typeddict(arm):
        return True
    return isinstance(arm, type) and (issubclass(arm, BaseModel) or dataclasses.is_dataclass(arm))


def fields_of(hint: Any) -> Iterator[tuple[str, bool]]:
    """Yield the names by which a request may carry a structure's fields, and which are lists."""
    for arm in _arms(hint):
        structure = get_origin(arm) or arm
        if not _has_fields(structure):
            return
        if issubclass(structure, BaseModel):
            fields = {name: (f.annotation, f) for name, f in structure.model_fields.items()}
        else:
            hints = get_type_hints(structure, include_extras=True)
            fields = {name: (hint, field_info(hint)) for name, hint in hints.items()}
        for field_name, (annotation, info) in fields.items():
            for name in dict.fromkeys((field_name, *names_of(field_name, info))):
                yield name, is_list(annotation)


def field_info(hint: Any) -> FieldInfo | None:
    if get_origin(hint) in (Required, NotRequired):
        return field_info(get_args(hint)[0])
    metadata = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((item for item in metadata if isinstance(item, FieldInfo)), None)


def names_of(field_name: str, info: FieldInfo | None) -> Iterator[str]:
    """Yield the names by which a request may carry a field."""
    alias = info.validation_alias if info else None
    if alias is None:
        yield field_name
    for choice in alias.choices if isinstance(alias, AliasChoices) else [alias]:
        if isinstance(choice, str):
            yield choice
        elif isinstance(choice, AliasPath) and isinstance(choice.path[0], str):
            yield choice.path[0]


def is_list(hint: Any) -> bool:
    """Whether a type takes several values."""
    return any(_is_collection(get_origin(arm) or arm) for arm in _arms(hint))


def _is_collection(plain: Any) -> bool:
    if plain is Iterable:
        return True
    is_collection = isinstance(plain, type) and issubclass(plain, Collection)
    return is_collection and not issubclass(plain, (str, bytes, Mapping))
