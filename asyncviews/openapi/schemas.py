"""JSON schemas of the types in signatures, and the components that they refer to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NotRequired

from django.core.exceptions import ImproperlyConfigured
from django.core.files import File
from pydantic import ConfigDict, TypeAdapter, with_config
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema
from typing_extensions import TypedDict

JSONSchema = dict[str, Any]
Mode = Literal["validation", "serialization"]

REFERENCE = "#/components/schemas/"
BINARY: JSONSchema = {"type": "string", "format": "binary"}


@with_config(ConfigDict(extra="allow"))
class Problem(TypedDict):
    """A problem (RFC 9457); each kind of problem may have further members."""

    type: str
    title: str
    status: int
    detail: NotRequired[str]


class ParameterError(TypedDict):
    """What is wrong with a parameter."""

    location: str
    type: str
    detail: str
    name: NotRequired[str]
    pointer: NotRequired[str]


@with_config(ConfigDict(extra="allow"))
class InvalidParameters(Problem):
    """The request does not fit; what is wrong with it is listed."""

    errors: list[ParameterError]


PROBLEM: TypeAdapter[Any] = TypeAdapter(Problem)
INVALID_PARAMETERS: TypeAdapter[Any] = TypeAdapter(InvalidParameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A type that the document needs the schema of."""

    adapter: TypeAdapter[Any]
    mode: Mode
    where: str
    """What it belongs to, for messages."""


class _Generator(GenerateJsonSchema):
    """Knows Django's files, which have no schema of pydantic's."""

    def is_instance_schema(self, schema: core_schema.IsInstanceSchema) -> JSONSchema:
        if isinstance(schema["cls"], type) and issubclass(schema["cls"], File):
            return dict(BINARY)
        return super().is_instance_schema(schema)


class Schemas:
    """The schemas of all types of a document. Made in one go, so that no two share a name."""

    def __init__(self, inputs: Iterable[Input]) -> None:
        """Make them.

        Raises:
            ImproperlyConfigured: a type that JSON Schema cannot describe; the message names it.
        """
        needed = [
            Input(adapter=adapter, mode="serialization", where="a problem")
            for adapter in (PROBLEM, INVALID_PARAMETERS)
        ]
        needed += inputs
        try:
            self._schemas, definitions = _generate(needed)
        except PydanticInvalidForJsonSchema as exc:
            raise ImproperlyConfigured(_explain(needed)) from exc
        self._definitions: Mapping[str, JSONSchema] = definitions.get("$defs", {})

    def of(self, adapter: TypeAdapter[Any], mode: Mode) -> JSONSchema:
        """Return the schema of a type, which may refer to components."""
        return dict(self._schemas[id(adapter), mode])

    def resolve(self, schema: JSONSchema) -> JSONSchema:
        """Return what a schema refers to, if it does nothing else."""
        reference = schema.get("$ref")
        if reference is None:
            return schema
        return self.resolve(dict(self._definitions[reference.removeprefix(REFERENCE)]))

    def components(self, document: Any) -> dict[str, JSONSchema]:
        """Return the components that a document refers to, and those that they refer to."""
        found: set[str] = set()
        waiting = list(references(document, REFERENCE))
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += references(self._definitions[name], REFERENCE)
        return {name: self._definitions[name] for name in sorted(found)}

    def fields(self, schema: JSONSchema) -> tuple[dict[str, JSONSchema], set[str]]:
        """Return the properties of a structure, and which are required, in each arm of a union."""
        schema = self.resolve(schema)
        arms = schema.get("anyOf") or schema.get("oneOf")
        if arms is None:
            return schema.get("properties", {}), set(schema.get("required", ()))
        properties: dict[str, JSONSchema] = {}
        requireds = []
        for arm in arms:
            of_arm, required = self.fields(arm)
            for name, of_property in of_arm.items():
                properties[name] = either(properties.get(name, of_property), of_property)
            requireds.append(required)
        return properties, set.intersection(*requireds)


def either(one: JSONSchema, other: JSONSchema) -> JSONSchema:
    """Return the schema of what fits one of two."""
    arms = one.get("anyOf", [one])
    return one if other in arms else {"anyOf": [*arms, other]}


def _generate(inputs: Iterable[Input]) -> tuple[Mapping[tuple[int, Mode], JSONSchema], JSONSchema]:
    return TypeAdapter.json_schemas(
        [(id(each.adapter), each.mode, each.adapter) for each in inputs],
        ref_template=REFERENCE + "{model}",
        schema_generator=_Generator,
    )


def _explain(inputs: Iterable[Input]) -> str:
    for each in inputs:
        try:
            _generate([each])
        except PydanticInvalidForJsonSchema as exc:
            return (
                f"{each.where}: {exc.message} for the OpenAPI document. Give the type one: "
                "Annotated[..., pydantic.WithJsonSchema({'type': ...})]; or leave the view out of "
                "the document with openapi_hidden = True."
            )
    raise AssertionError("together they have failed")


def references(value: Any, prefix: str) -> Iterator[str]:
    """Yield what a part of a document refers to below `prefix`."""
    if isinstance(value, Mapping):
        reference = value.get("$ref")
        if isinstance(reference, str) and reference.startswith(prefix):
            yield reference.removeprefix(prefix)
        for inner in value.values():
            yield from references(inner, prefix)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from references(inner, prefix)
