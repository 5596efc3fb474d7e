"""The validators that pydantic makes of types: what they must not be, and those for large input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import ImproperlyConfigured
from pydantic import TypeAdapter

from asyncviews import internals

_PARTS = (
    "schema",
    "items_schema",
    "keys_schema",
    "values_schema",
    "extras_schema",
    "extras_keys_schema",
    "fields",
    "choices",
    "steps",
    "definitions",
    "lax_schema",
    "strict_schema",
    "json_schema",
    "python_schema",
    "arguments_schema",
)
"""The keys under which a core schema holds others: one, a list, or a dictionary of them."""

_ITEMS = ("items_schema", "values_schema")
_SCALARS = frozenset({"any", "bool", "bytes", "enum", "float", "int", "literal", "none", "str"})


def require_sync(where: str, adapter: TypeAdapter[Any]) -> None:
    """Refuse validators that are coroutine functions: pydantic does not await them.

    Raises:
        ImproperlyConfigured: there is one, which would let everything pass.
    """
    for schema in schemas_of(adapter.core_schema):
        for function in _functions(schema):
            if iscoroutinefunction(function):
                name = getattr(function, "__qualname__", repr(function))
                raise ImproperlyConfigured(
                    f"{where}: the validator {name}() is async. pydantic does not "
                    "await it, so it would never refuse anything. Make it a plain function, and "
                    "check in the handler what has to be awaited."
                )


def _functions(schema: dict[str, Any]) -> Iterator[Any]:
    """Yield what a validator calls to validate."""
    if isinstance(function := schema.get("function"), dict):
        yield function["function"]
    if post_init := schema.get("post_init"):
        yield getattr(schema["cls"], post_init if isinstance(post_init, str) else "__post_init__")


def hasty(adapter: TypeAdapter[Any]) -> Any:
    """Return a validator for large input, with the methods of a `pydantic_core.SchemaValidator`.

    What is valid to the adapter is valid to it. But pydantic collects an error for each wrong item, a
    few microseconds and some hundred bytes each, before it says that there are any, and holds the
    interpreter's lock meanwhile. This validator tells of each list, set, tuple and dictionary the
    first wrong item only; and between items that take a while it lets other threads run.
    """
    adapter.rebuild()  # in case that it named what was not there when it was made
    return internals.schema_validator(_hasty(adapter.core_schema)) or adapter.validator


def schemas_of(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield a core schema and all those in it."""
    if isinstance(schema, (list, tuple)):
        for each in schema:
            yield from schemas_of(each)
    elif isinstance(schema, dict):
        if not _is_schema(schema):
            yield from schemas_of(list(schema.values()))
            return
        yield schema
        for part in _PARTS:
            yield from schemas_of(schema.get(part))


def _is_schema(node: dict[str, Any]) -> bool:
    """Whether it is a core schema, or a field of one, and no dictionary of these by name."""
    return isinstance(node.get("type"), str)


def _hasty(node: Any) -> Any:
    if isinstance(node, (list, tuple)):
        return type(node)(map(_hasty, node))
    if not isinstance(node, dict):
        return node  # the label of a choice
    if not _is_schema(node):
        return {name: _hasty(each) for name, each in node.items()}
    changed = {**node, **{part: _hasty(node[part]) for part in _PARTS if part in node}}
    for items in _ITEMS:
        if items in changed:
            changed |= {"fail_fast": True, items: _interruptible(changed[items])}
    return changed


def _interruptible(items: Any) -> Any:
    """Have a Python function called after each item: there the interpreter may switch threads."""
    if isinstance(items, list):
        return [_interruptible(each) for each in items]
    if items["type"] in _SCALARS:
        return items  # a call would cost more than the item
    function = {"type": "no-info", "function": _unchanged}
    return {"type": "function-after", "function": function, "schema": items}


def _unchanged(value: Any) -> Any:
    return value
