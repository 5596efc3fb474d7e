"""What a request carries, in terms of OpenAPI: parameters and a body."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.urls import converters
from pydantic_core import PydanticSerializationError, to_jsonable_python

from asyncviews.openapi.endpoints import Endpoint
from asyncviews.openapi.schemas import BINARY, JSONSchema, Schemas
from asyncviews.parameters import Group
from asyncviews.sources import FORMS, JSON, BodyStreamSource, FileSource

LOCATIONS = ("path", "query", "header", "cookie")
NOT_PARAMETERS = frozenset({"accept", "content-type", "authorization"})
"""Headers that OpenAPI has other places for (section 4.8.12.2.1)."""

BYTES = "application/octet-stream"
NULL = {"type": "null"}
HINTS: list[tuple[type, JSONSchema]] = [
    (converters.IntConverter, {"type": "integer", "minimum": 0}),
    (converters.UUIDConverter, {"type": "string", "format": "uuid"}),
    (converters.SlugConverter, {"type": "string", "pattern": "^[-a-zA-Z0-9_]+$"}),
    (converters.PathConverter, {"type": "string", "minLength": 1}),
    (converters.StringConverter, {"type": "string", "minLength": 1, "pattern": "^[^/]+$"}),
]
"""What Django's converters let through; the more special ones first."""


def parameters(endpoint: Endpoint, schemas: Schemas) -> list[dict[str, Any]]:
    """Return the parameters of a request, those of the path first."""
    path: dict[str, dict[str, Any]] = {}
    others: dict[tuple[str, str], dict[str, Any]] = {}
    for group in endpoint.handler.signature.groups:
        if group.source.location in LOCATIONS:
            for parameter in _of_group(group, schemas):
                if parameter["in"] == "path":
                    path[parameter["name"]] = parameter
                elif not _has_another_place(parameter):
                    others.setdefault((parameter["in"], parameter["name"].lower()), parameter)
    in_path = [_in_path(endpoint, name, path.get(name, {})) for name in endpoint.path_names]
    return [*in_path, *others.values()]


def _has_another_place(parameter: dict[str, Any]) -> bool:
    return parameter["in"] == "header" and parameter["name"].lower() in NOT_PARAMETERS


def _of_group(group: Group, schemas: Schemas) -> Iterator[dict[str, Any]]:
    properties, required = schemas.fields(schemas.of(group.schema.adapter, "validation"))
    optional = group.name is not None and not group.required
    for name, schema in properties.items():
        yield _parameter(
            name=group.source.public_name(name),
            location=group.source.location,
            required=name in required and not optional,
            schema=_with_default(_without_null(schema), group, name),
        )


def _parameter(*, name: str, location: str, required: bool, schema: JSONSchema) -> dict[str, Any]:
    parameter: dict[str, Any] = {"name": name, "in": location}
    if required:
        parameter["required"] = True
    schema = dict(schema)
    for key in ("description", "deprecated"):
        if "$ref" not in schema and key in schema:
            parameter[key] = schema.pop(key)
    return parameter | {"schema": schema}


def _without_null(schema: JSONSchema) -> JSONSchema:
    """Return what is left of ``T | None``: a parameter can be absent, but not null."""
    arms = [arm for arm in schema.get("anyOf", ()) if arm != NULL]
    if not arms or len(arms) == len(schema["anyOf"]):
        return schema
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    if rest.get("default", 0) is None:
        del rest["default"]
    return {**arms[0], **rest} if len(arms) == 1 else {"anyOf": arms, **rest}


def _with_default(schema: JSONSchema, group: Group, name: str) -> JSONSchema:
    default = group.defaults.get(name)
    if default is None:
        return schema
    try:
        return {**schema, "default": to_jsonable_python(default)}
    except PydanticSerializationError:
        return schema


def _in_path(endpoint: Endpoint, name: str, declared: dict[str, Any]) -> dict[str, Any]:
    schema = _with_hint(declared.get("schema", {}), endpoint.route.converters.get(name))
    schema.pop("default", None)
    return {**declared, "name": name, "in": "path", "required": True, "schema": schema}


def _with_hint(schema: JSONSchema, converter: Any) -> JSONSchema:
    """Add what the converter knows, where the handler's own type says nothing else."""
    hint = _hint(converter)
    if schema.keys() <= {"title"} or schema.get("type") == hint["type"]:
        return {**hint, **schema}
    return dict(schema)


def _hint(converter: Any) -> JSONSchema:
    for known, hint in HINTS:
        if type(converter) is known:
            return hint
        if isinstance(converter, known):  # with a regular expression of its own
            return {"type": hint["type"]}
    return {"type": "string"}


def request_body(endpoint: Endpoint, schemas: Schemas) -> dict[str, Any] | None:
    """Return the body, None if the handler reads none."""
    groups = [group for group in endpoint.handler.signature.groups if group.source.body]
    if not groups:
        return None
    kind = groups[0].source.body
    if kind == "form":
        return _form(groups, schemas)
    if kind == "raw":
        return _raw(groups[0], schemas)
    schema = schemas.of(groups[0].schema.adapter, "validation")
    required = groups[0].required
    if groups[0].name is None:  # its members are parameters
        schema = _object(groups, schemas)
        required = "required" in schema
    return {"required": required, "content": {JSON: {"schema": schema}}}


def _raw(group: Group, schemas: Schemas) -> dict[str, Any]:
    if isinstance(group.source, BodyStreamSource):
        return {"content": {BYTES: {"schema": BINARY}}}  # an empty body has no chunks
    schema = schemas.of(group.schema.adapter, "validation")
    if group.required:
        schema = {"minLength": 1, **schema}
    return {"required": group.required, "content": {BYTES: {"schema": schema}}}


def _form(groups: list[Group], schemas: Schemas) -> dict[str, Any]:
    if len(groups) == 1 and groups[0].name is not None:
        schema = schemas.of(groups[0].schema.adapter, "validation")
        required = groups[0].required
    else:
        schema = _object(groups, schemas)
        required = "required" in schema
    files = any(isinstance(group.source, FileSource) for group in groups)
    media_types = FORMS[1:] if files else FORMS
    content = {media_type: {"schema": schema} for media_type in media_types}
    return {"required": required, "content": content}


def _object(groups: list[Group], schemas: Schemas) -> JSONSchema:
    """Return the schema of an object that has the fields of several groups."""
    properties: dict[str, JSONSchema] = {}
    required: list[str] = []
    for group in groups:
        found, needed = schemas.fields(schemas.of(group.schema.adapter, "validation"))
        optional = group.name is not None and not group.required
        for name, schema in found.items():
            properties[name] = _with_default(schema, group, name)
            if name in needed and not optional:
                required.append(name)
    schema = {"type": "object", "properties": properties}
    return {**schema, "required": required} if required else schema
