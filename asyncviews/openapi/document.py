"""The document (OpenAPI 3.1), put together from the handlers that the URLconf leads to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.urls import get_resolver, get_script_prefix, get_urlconf

from asyncviews.openapi.endpoints import (
    METHODS,
    Endpoint,
    description,
    endpoints,
    operation_ids,
    tags,
)
from asyncviews.openapi.requests import parameters, request_body
from asyncviews.openapi.responses import (
    REFERENCE,
    credentials_of,
    names_of,
    problem_response,
    problem_types,
    responses,
)
from asyncviews.openapi.schemas import Input, Schemas, references
from asyncviews.urlconf import walk

VERSION = "3.1.1"


def build(
    *, info: Mapping[str, Any], prefix: str, security_schemes: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the document of the handlers below `prefix`, in the URLconf that is active.

    Raises:
        ImproperlyConfigured: a type has no JSON schema, or a security scheme no description; the
            message names the handler.
    """
    found = list(endpoints(walk(get_resolver(get_urlconf())), prefix))
    schemas = Schemas(inputs(found))
    every_problem = [problem for endpoint in found for problem in problem_types(endpoint)]
    names = names_of(every_problem)
    document: dict[str, Any] = {
        "openapi": VERSION,
        "info": dict(info),
        "servers": [{"url": get_script_prefix().rstrip("/") or "/"}],
        "paths": _paths(found, schemas, names),
        "tags": [{"name": tag} for tag in dict.fromkeys(t for e in found for t in tags(e))],
    }
    used = set(references(document, REFERENCE))
    components = {
        "responses": {
            name: problem_response(problem, schemas)
            for problem, name in sorted(names.items(), key=lambda item: item[1])
            if name in used
        },
        "securitySchemes": _security_schemes(found, security_schemes),
    }
    components = {"schemas": schemas.components([document, components]), **components}
    document["components"] = {kind: those for kind, those in components.items() if those}
    return document


def inputs(found: Iterable[Endpoint]) -> Iterator[Input]:
    """Yield the types of which the document needs schemas."""
    for endpoint in found:
        where = f"{endpoint.view_class.__qualname__}.{endpoint.function.__name__}()"
        for group in endpoint.handler.signature.groups:
            yield Input(adapter=group.schema.adapter, mode="validation", where=where)
        for answer in endpoint.handler.returns.answers:
            yield Input(adapter=answer.adapter, mode="serialization", where=where)


def _paths(
    found: Iterable[Endpoint], schemas: Schemas, names: dict[type, str]
) -> dict[str, dict[str, Any]]:
    paths: dict[str, dict[str, Any]] = {}
    for endpoint, operation_id in operation_ids(found):
        # A method that OpenAPI 3.1 has no place for, like QUERY, is an extension.
        key = endpoint.method if endpoint.method in METHODS else f"x-{endpoint.method}"
        operation = {"operationId": operation_id, "tags": tags(endpoint), **description(endpoint)}
        if of_request := parameters(endpoint, schemas):
            operation["parameters"] = of_request
        if body := request_body(endpoint, schemas):
            operation["requestBody"] = body
        operation["responses"] = responses(endpoint, schemas, names)
        if credentials := credentials_of(endpoint):
            operation["security"] = [{name: []} for name in credentials]
        paths.setdefault(endpoint.path, {})[key] = operation
    return paths


def _security_schemes(
    found: Iterable[Endpoint], declared: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the schemes that are used; that of Django's sessions needs no description."""
    cookie = {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}
    known = {"session": cookie, **declared}
    used: dict[str, Any] = {}
    for endpoint in found:
        for name in credentials_of(endpoint):
            if name not in known:
                raise ImproperlyConfigured(
                    f"{endpoint.view_class.__qualname__}.credentials: nothing says what {name!r} "
                    f"is. Describe it: OpenAPI(security_schemes={{{name!r}: {{'type': 'http', "
                    "'scheme': 'bearer'}}), as the Security Scheme Object of OpenAPI."
                )
            used[name] = known[name]
    return used
