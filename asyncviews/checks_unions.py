"""A system check of what bodies are validated against: unions whose work grows with the nesting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Warning  # noqa: A004 - that is its name

from asyncviews.urlconf import walk
from asyncviews.validators import schemas_of
from asyncviews.views import AsyncView


def check_unions(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W008: a union without a discriminator, of which several members nest by the same field."""
    try:
        routes = list(walk()) if getattr(settings, "ROOT_URLCONF", None) else []
    except Exception:  # noqa: BLE001 - what is wrong with the URLconf is said by Django's checks
        return []
    views = dict.fromkeys(route.view_class for route in routes if route.view_class is not None)
    return [
        _warning(view, method)
        for view in views
        if issubclass(view, AsyncView)
        for method, handler in view.handlers.items()
        if not (method == "head" and handler.function is getattr(view, "get", None))
        if any(is_explosive(group.schema.adapter.core_schema) for group in handler.signature.groups)
    ]


def _warning(view: type[AsyncView], method: str) -> CheckMessage:
    return Warning(
        f"{view.__qualname__}.{method}() has a parameter with a union without a discriminator, of "
        "which two members nest by the same field. pydantic tries both at each level: a few "
        "hundred bytes of such input can hold the process for minutes.",
        hint="Give the union a discriminator: Annotated[A | B, Field(discriminator='kind')].",
        obj=view,
        id="asyncviews.W008",
    )


def is_explosive(core_schema: Any) -> bool:
    """Whether the work of validating a value multiplies with each level of its nesting."""
    all_schemas = list(schemas_of(core_schema))
    definitions = {schema["ref"]: schema for schema in all_schemas if "ref" in schema}
    graph = _Graph(definitions)
    unions = [schema for schema in all_schemas if schema["type"] == "union"]
    return any(graph.multiplies(union) for union in unions)


@dataclass(frozen=True, slots=True)
class _Graph:
    definitions: dict[str, Any]

    def multiplies(self, union: dict[str, Any]) -> bool:
        """Whether one value leads two members of a union, by the same step, to that union again."""
        members = [
            choice[0] if isinstance(choice, tuple) else choice for choice in union["choices"]
        ]
        steps = [dict(self._steps(member)) for member in members]
        return any(
            self._leads_to(union, one[name]) and self._leads_to(union, other[name])
            for one, other in combinations(steps, 2)
            for name in one.keys() & other.keys()
        )

    def _steps(self, schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """Yield the names by which a value of this schema holds others, each with its schema."""
        schema = self._unwrapped(schema)
        fields = schema.get("fields", ())
        for name, field in (
            fields.items()
            if isinstance(fields, dict)
            else ((each["name"], each) for each in fields)
        ):
            yield field.get("validation_alias") or name, field
        if "items_schema" in schema:
            yield "", schema["items_schema"]  # of an array; no field has that name

    def _unwrapped(self, schema: dict[str, Any]) -> dict[str, Any]:
        while True:
            if schema["type"] == "definition-ref":
                schema = self.definitions[schema["schema_ref"]]
            elif "schema" in schema:
                schema = schema["schema"]
            else:
                return schema

    def _leads_to(self, union: dict[str, Any], schema: Any) -> bool:
        waiting, seen = [schema], set()
        while waiting:
            for found in schemas_of(waiting.pop()):
                if found is union:
                    return True
                ref = found.get("schema_ref")
                if ref is not None and ref not in seen:
                    seen.add(ref)
                    waiting.append(self.definitions[ref])
        return False
