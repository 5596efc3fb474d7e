"""What is answered, in terms of OpenAPI: what a handler declares, and which problems it may meet."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import reduce
from http import HTTPStatus
from typing import Any, TypeAlias

from django.conf import settings
from django.utils.module_loading import import_string

from asyncviews.background import BackgroundQueueFull, BackgroundTaskMixin
from asyncviews.openapi.endpoints import Endpoint, is_ours
from asyncviews.openapi.schemas import INVALID_PARAMETERS, PROBLEM, JSONSchema, Schemas, either
from asyncviews.problems import (
    PROBLEM_JSON,
    ContentTooLarge,
    Forbidden,
    InvalidParameters,
    MalformedRequest,
    NotAcceptable,
    NotFound,
    Problem,
    TooManyRequests,
    Unauthorized,
    UnsupportedMediaType,
    csrf_failure,
)
from asyncviews.responses import Answer
from asyncviews.sources import JSON, BodyStreamSource
from asyncviews.streaming import EVENT_STREAM
from asyncviews.views import AsyncView

REFERENCE = "#/components/responses/"
SAFE_METHODS = frozenset({"get", "head", "options", "trace"})
"""Those that Django's CSRF protection leaves alone."""

Part: TypeAlias = "type[Problem] | dict[str, Any]"
"""A reason to answer with some status: a problem, or a response as it is described."""


def responses(endpoint: Endpoint, schemas: Schemas, names: dict[type, str]) -> dict[str, Any]:
    """Return the responses by status; `names` are those of the problems among the components."""
    by_status: dict[str, list[Part]] = {}
    for status, part in _parts(endpoint, schemas):
        by_status.setdefault(str(status), []).append(part)
    found = {
        status: _response(parts, schemas, names) for status, parts in sorted(by_status.items())
    }
    if endpoint.handler.returns.is_open:
        found["default"] = {"description": "A response that the handler makes itself."}
    return found


def _parts(endpoint: Endpoint, schemas: Schemas) -> Iterator[tuple[int, Part]]:
    for answer in endpoint.handler.returns.answers:
        yield answer.status.code, _answer(answer, schemas)
    for problem in problem_types(endpoint):
        yield problem.status, problem
    if _csrf_page(endpoint):
        description = "The CSRF token is missing or wrong."
        yield 403, {"description": description, "content": {"text/html": {}}}


def _response(parts: list[Part], schemas: Schemas, names: dict[type, str]) -> dict[str, Any]:
    if len(parts) == 1 and isinstance(parts[0], type):
        return {"$ref": REFERENCE + names[parts[0]]}
    inline = (problem_response(part, schemas) if isinstance(part, type) else part for part in parts)
    return reduce(_merge, inline)


def _answer(answer: Answer, schemas: Schemas) -> dict[str, Any]:
    status = answer.status
    response: dict[str, Any] = {"description": status.description or phrase(status.code)}
    if status.headers:
        response["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in status.headers.items()
        }
    if answer.media_type is not None:
        response["content"] = {answer.media_type: _content(answer, schemas)}
    return response


def _content(answer: Answer, schemas: Schemas) -> dict[str, Any]:
    schema = schemas.of(answer.adapter, "serialization")
    # OpenAPI 3.2 has itemSchema for streams; in 3.1 tools read the schema as that of an item.
    return {"schema": _event(schema) if answer.media_type == EVENT_STREAM else schema}


def _event(data: JSONSchema) -> JSONSchema:
    """Return the schema of an event, whose data are JSON unless they are text."""
    of_data: JSONSchema = {"type": "string"}
    if data.get("type") != "string":
        of_data |= {"contentMediaType": JSON, "contentSchema": data}
    text = {"type": "string"}
    of_event = {"data": of_data, "event": text, "id": text, "retry": {"type": "integer"}}
    return {"type": "object", "properties": of_event}


def phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"


def _merge(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return the response that is either of two."""
    descriptions = dict.fromkeys((one["description"], other["description"]))
    merged: dict[str, Any] = {"description": " Or: ".join(descriptions)}
    if headers := {**one.get("headers", {}), **other.get("headers", {})}:
        merged["headers"] = headers
    content = dict(one.get("content", {}))
    for media_type, described in other.get("content", {}).items():
        known = content.setdefault(media_type, described)
        if known != described:
            content[media_type] = {"schema": either(known["schema"], described["schema"])}
    return {**merged, "content": content} if content else merged


# Problems


def problem_types(endpoint: Endpoint) -> list[type[Problem]]:
    """Return the problems that a request may be answered with."""
    return list(dict.fromkeys([*_of_request(endpoint), *_of_view(endpoint)]))


def _of_request(endpoint: Endpoint) -> Iterator[type[Problem]]:
    signature = endpoint.handler.signature
    body = signature.body
    if any(not isinstance(group.source, BodyStreamSource) for group in signature.groups):
        yield InvalidParameters
    if endpoint.path_names:
        yield NotFound
    if body is not None and not isinstance(body, BodyStreamSource):
        yield ContentTooLarge
    if body is not None and body.body != "raw":
        yield MalformedRequest
        yield UnsupportedMediaType
    returns = endpoint.handler.returns
    if not returns.is_open and any(answer.media_type for answer in returns.answers):
        yield NotAcceptable


def _of_view(endpoint: Endpoint) -> Iterator[type[Problem]]:
    view_class = endpoint.view_class
    if credentials_of(endpoint):
        yield Unauthorized
        yield Forbidden
    elif _needs_csrf_token(endpoint) and not _csrf_page(endpoint):
        yield Forbidden
    if view_class.throttle is not AsyncView.throttle:
        yield TooManyRequests
    if issubclass(view_class, BackgroundTaskMixin):
        yield BackgroundQueueFull
    yield from view_class.raises
    yield from (made for made in view_class.problems.values() if isinstance(made, type))


def credentials_of(endpoint: Endpoint) -> tuple[str, ...]:
    """Return the security schemes of which a request has to satisfy one; the access mixins say."""
    return tuple(getattr(endpoint.view_class, "credentials", ()))


def _needs_csrf_token(endpoint: Endpoint) -> bool:
    return (
        endpoint.method not in SAFE_METHODS
        and "django.middleware.csrf.CsrfViewMiddleware" in settings.MIDDLEWARE
        and not getattr(endpoint.route.callback, "csrf_exempt", False)
    )


def _csrf_page(endpoint: Endpoint) -> bool:
    """Whether a request without a token is answered with a page, and not with a problem."""
    return _needs_csrf_token(endpoint) and (
        import_string(settings.CSRF_FAILURE_VIEW) is not csrf_failure
    )


def problem_response(problem: type[Problem], schemas: Schemas) -> dict[str, Any]:
    """Return the response that a problem is answered with."""
    description = _docstring(problem) or problem.title or phrase(problem.status)
    adapter = INVALID_PARAMETERS if issubclass(problem, InvalidParameters) else PROBLEM
    schema = schemas.of(adapter, "serialization")
    return {"description": description, "content": {PROBLEM_JSON: {"schema": schema}}}


def _docstring(problem: type[Problem]) -> str:
    """Return how a project describes a problem of its own; ours are described to programmers."""
    if is_ours(problem.__module__):
        return ""
    summary = inspect.cleandoc(vars(problem).get("__doc__") or "").partition("\n\n")[0]
    return " ".join(summary.split())


def names_of(problems: Iterable[type[Problem]]) -> dict[type, str]:
    """Return a name for each kind of problem: that of its class, or of its module as well."""
    every = list(dict.fromkeys(problems))
    shared = Counter(problem.__name__ for problem in every)
    return {
        problem: problem.__name__
        if shared[problem.__name__] == 1
        else f"{problem.__module__}.{problem.__qualname__}".replace("<locals>", "locals")
        for problem in every
    }
