"""Errors that a client can read: problem documents as RFC 9457 defines them.

Whatever is raised in an `AsyncView` and is no bug is answered as one. The functions at the end do
the same for the rest of a project, as its ``handler404`` and the like.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial
from http.client import responses
from pathlib import Path
from typing import Any, ClassVar, TypeAlias, TypeVar

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import (
    BadRequest,
    ImproperlyConfigured,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.multipartparser import MultiPartParserError
from django.http.response import HttpResponseBase
from django.template import Context, Engine, TemplateDoesNotExist
from django.template.loader import get_template
from django.utils.cache import patch_vary_headers
from django.utils.module_loading import import_string
from django.views import csrf, defaults

from asyncviews.conf import SETTING, get_settings
from asyncviews.text import printable

T = TypeVar("T")

PROBLEM_JSON = "application/problem+json"
PROBLEM_TEMPLATE = "asyncviews/problem.html"
DOCUMENTATION = "https://asyncviews.readthedocs.io/en/latest/reference/problems.html"
"""The page that describes the problems below, each under the name of its class."""

LONGEST_ACCEPT = 1000
"""Characters of an Accept header that is read. Django takes microseconds for each of its items."""

_JSON = [PROBLEM_JSON, "application/json"]
_TEMPLATES = Path(__file__).parent / "templates"


class Problem(Exception):
    """An error that is the client's to read: raise it, and `AsyncView` answers with it.

    Subclasses set `status`, `title` and `type`. See RFC 9457 for what the members mean.

    Args:
        detail: what happened this time, for the reader.
        status: that of this occurrence, if it is not the one of the class.
        headers: header fields of the response.
        extensions: further members of the document, and ``instance``, a URI of this occurrence.

    Raises:
        ImproperlyConfigured: when a subclass is created with a status that is not one of an error.
        TypeError: a `title` or `type`, which belong to the class, is given as an extension.
        ValueError: `status` is not one of an error.
    """

    status: int = 500
    title: ClassVar[str] = ""
    """What this kind of problem is called; by default the phrase of the status."""
    type: ClassVar[str] = "about:blank"
    """A URI that identifies this kind of problem, and at best is a page about it."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not _is_error_status(cls.status):
            raise ImproperlyConfigured(
                f"{cls.__qualname__}.status must be a number from 400 to 599, not {cls.status!r}."
            )

    def __init__(
        self,
        detail: str = "",
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        **extensions: Any,
    ) -> None:
        super().__init__(detail)
        if status is not None:
            if not _is_error_status(status):
                raise ValueError(
                    f"The status of a problem must be a number from 400 to 599, not {status!r}."
                )
            self.status = status
        if of_class := extensions.keys() & {"title", "type"}:
            name = min(of_class)
            raise TypeError(
                f"{name} is the same for all problems of a kind, and no argument. Set it in a "
                f"subclass: class MyProblem({self.__class__.__qualname__}): "
                f"{name} = {extensions[name]!r}"
            )
        self.detail = detail
        self.headers = dict(headers or {})
        self.extensions = extensions

    def document(self) -> dict[str, Any]:
        """Return the members of the problem document, JSON-serializable."""
        document: dict[str, Any] = {
            "type": self.type,
            # What Django has for the status line.
            "title": self.title or responses.get(self.status, "Unknown Status Code"),
            "status": self.status,
        }
        if self.detail:
            document["detail"] = self.detail
        return document | self.extensions


def _is_error_status(status: object) -> bool:
    return isinstance(status, int) and 400 <= status <= 599


class _Documented(Problem):
    """A problem that this package's documentation has a section about."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__.partition(".")[0] == __name__.partition(".")[0]:
            cls.type = f"{DOCUMENTATION}#{cls.__name__.lower()}"


class MalformedRequest(_Documented):
    """What the client sent cannot be parsed: JSON that is none, a broken form."""

    status = 400
    title = "Malformed request"


class Unauthorized(_Documented):
    """The client has to say who it is.

    Args:
        challenge: the ``WWW-Authenticate`` header, which RFC 9110 (section 11.6.1) wants with 401.
    """

    status = 401
    title = "Authentication required"

    def __init__(
        self,
        detail: str = "",
        *,
        challenge: str = "Cookie",
        headers: Mapping[str, str] | None = None,
        **extensions: Any,
    ) -> None:
        headers = {"WWW-Authenticate": challenge, **(headers or {})}
        super().__init__(detail, headers=headers, **extensions)


class Forbidden(_Documented):
    """The client has said who it is, and that is not enough."""

    status = 403
    title = "Permission denied"


class NotFound(_Documented):
    """There is no such thing."""

    status = 404


class MethodNotAllowed(_Documented):
    """The view has no handler for the request's method; ``Allow`` lists those that it has."""

    status = 405

    def __init__(self, allowed: Iterable[str]) -> None:
        super().__init__(headers={"Allow": ", ".join(allowed)})


class NotAcceptable(_Documented):
    """The view answers in no media type that the client accepts."""

    status = 406

    def __init__(self, media_types: Iterable[str]) -> None:
        super().__init__(f"This is answered as {' or '.join(media_types)}.")


class ContentTooLarge(_Documented):
    """The body, or the number of its fields or files, is over a limit of the project's settings."""

    status = 413
    title = "Content Too Large"


class UnsupportedMediaType(_Documented):
    """The body is in none of the media types that the handler reads; ``Accept`` lists those."""

    status = 415

    def __init__(self, media_types: Iterable[str]) -> None:
        accepted = ", ".join(media_types)
        super().__init__(f"The body must be {accepted}.", headers={"Accept": accepted})


class InvalidParameters(_Documented):
    """What the client sent does not fit the handler's signature: 422 with every error at once."""

    status = 422
    title = "Unprocessable Content"

    MAX_ERRORS: ClassVar[int] = 100
    """How many errors the document lists; a short query can hold thousands of bad items."""
    MAX_SIZE: ClassVar[int] = 32 * 1024
    """Bytes of the list after which it ends; the names in it are the client's."""

    def __init__(self, errors: list[dict[str, str]]) -> None:
        listed = list(self._listed(errors))
        count = f"{len(errors)} parameters are" if len(errors) > 1 else "1 parameter is"
        rest = f" The first {len(listed)} are listed." if len(errors) > len(listed) else ""
        super().__init__(f"{count} invalid.{rest}", errors=listed)

    def _listed(self, errors: list[dict[str, str]]) -> Iterator[dict[str, str]]:
        size = 0
        for error in errors[: self.MAX_ERRORS]:
            if size < self.MAX_SIZE:
                yield error
            size += len(ascii(error))


class TooManyRequests(_Documented):
    """The client asks too often.

    Args:
        retry_after: seconds after which it may try again.
    """

    status = 429

    def __init__(
        self,
        detail: str = "",
        *,
        retry_after: int,
        headers: Mapping[str, str] | None = None,
        **extensions: Any,
    ) -> None:
        headers = {"Retry-After": str(retry_after), **(headers or {})}
        super().__init__(detail, headers=headers, **extensions)


class ServiceUnavailable(_Documented):
    """The server cannot do it now, and may be able to later.

    Args:
        retry_after: seconds after which the client may try again.
    """

    status = 503

    def __init__(
        self,
        detail: str = "",
        *,
        retry_after: int = 5,
        headers: Mapping[str, str] | None = None,
        **extensions: Any,
    ) -> None:
        headers = {"Retry-After": str(retry_after), **(headers or {})}
        super().__init__(detail, headers=headers, **extensions)


# Exceptions that are problems

MakeProblem: TypeAlias = Callable[[Exception], Problem]
Problems: TypeAlias = Mapping[type[Exception], "type[Problem] | MakeProblem"]

DJANGOS: Mapping[type[Exception], type[Problem]] = {
    Http404: NotFound,
    PermissionDenied: Forbidden,
    RequestDataTooBig: ContentTooLarge,
    TooManyFieldsSent: ContentTooLarge,
    TooManyFilesSent: ContentTooLarge,
    SuspiciousOperation: MalformedRequest,
    BadRequest: MalformedRequest,
    MultiPartParserError: MalformedRequest,
}
"""What Django answers itself, with a page."""


def problem_of(exc: Exception, problems: Problems) -> Problem | None:
    """Return the problem that an exception is, None if it is none.

    `problems` goes before the project's ``PROBLEMS``, and of the classes of the exception the most
    special one counts.

    Raises:
        TypeError: a function that should make one has returned something else.
    """
    if isinstance(exc, Problem):
        return exc
    make = _look_up(exc, {**_projects_problems(), **problems})
    if make is None:
        return None
    problem = make() if isinstance(make, type) else make(exc)
    if not isinstance(problem, Problem):
        raise TypeError(
            f"For a {type(exc).__qualname__}, {make!r} returned {problem!r}, which is no Problem."
        ) from exc
    return problem


def _look_up(exc: Exception, table: Mapping[type[Exception], T]) -> T | None:
    return next((table[cls] for cls in type(exc).__mro__ if cls in table), None)


def check_problems(where: str, problems: Mapping[Any, Any]) -> None:
    """Refuse a table that would fail when one of its exceptions is raised.

    Raises:
        ImproperlyConfigured: a key is no class of exceptions, or its value can make no problem.
    """
    for exception, make in problems.items():
        if not (isinstance(exception, type) and issubclass(exception, Exception)):
            raise ImproperlyConfigured(f"{where}: {exception!r} is not a subclass of Exception.")
        if fault := _fault(make):
            raise ImproperlyConfigured(f"{where}[{exception.__qualname__}] {fault}")


def _fault(make: Any) -> str | None:
    """Return why a value of `Problems` can make no problem, None if it can."""
    is_class = isinstance(make, type)
    if not callable(make) or (is_class and not issubclass(make, Problem)):
        return f"must be a subclass of Problem or a function that makes one, not {make!r}."
    if iscoroutinefunction(make):
        return "is a coroutine function, and is not awaited. Make it a plain function."
    try:
        signature = inspect.signature(make)
    except ValueError:  # of some that are written in C
        return None
    try:
        signature.bind(*(() if is_class else (Exception(),)))
    except TypeError as exc:
        if is_class:
            return (
                f"cannot be created without arguments: {exc}. Write a function that does it, as "
                f"in lambda exc: {make.__qualname__}(...)."
            )
        return f"cannot be called with the exception: {exc}."
    return None


@cache
def _projects_problems() -> Problems:
    """Return the table of the setting ``PROBLEMS``.

    Raises:
        ImproperlyConfigured: it names what is not there, or what cannot be used.
    """
    where = f'{SETTING}["PROBLEMS"]'
    try:
        problems = {
            import_string(exception): import_string(problem)
            for exception, problem in get_settings().problems.items()
        }
    except ImportError as exc:
        raise ImproperlyConfigured(f"{where}: {exc}") from exc
    check_problems(where, problems)
    return problems


@receiver(setting_changed)
def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == SETTING:
        _projects_problems.cache_clear()


# Responses


def djangos_problem(request: HttpRequest, exc: Exception) -> Problem | None:
    """Return what an exception is that Django would answer with a page, None if it is a bug."""
    make = _look_up(exc, DJANGOS)
    if make is None:
        return None
    if isinstance(exc, SuspiciousOperation):  # as Django does, for who watches that logger
        logger = logging.getLogger(f"django.security.{type(exc).__name__}")
        logger.error(
            "%s", printable(str(exc)), extra={"status_code": make.status, "request": request}
        )
    return make()


def problem_response(
    request: HttpRequest, problem: Problem, *, undecided: bool = False
) -> HttpResponse:
    """Return `problem` as JSON, or as a small page for a client that prefers HTML.

    One that takes both alike, or neither, is `undecided`, and gets the page if that is true.

    A project replaces the page with a template of its own, ``asyncviews/problem.html``.
    """
    document = problem.document()
    if prefers_html(request, undecided=undecided):
        response = HttpResponse(_render_page(document), status=problem.status)
    else:
        response = JsonResponse(document, status=problem.status, content_type=PROBLEM_JSON)
    for name, value in problem.headers.items():
        response.headers[name] = value
    patch_vary_headers(response, ["Accept"])
    return response


def prefers_html(request: HttpRequest, *, undecided: bool = False) -> bool:
    """Whether a client prefers HTML to JSON; `undecided` if it takes both alike, or neither."""
    types = ["text/html", *_JSON] if undecided else [*_JSON, "text/html"]
    preferred = request.get_preferred_type(types) if says_what_it_accepts(request) else None
    return undecided if preferred is None else preferred == "text/html"


def says_what_it_accepts(request: HttpRequest) -> bool:
    """Whether there is an Accept header that is worth reading."""
    return len(request.META.get("HTTP_ACCEPT", "*/*")) <= LONGEST_ACCEPT


def _render_page(document: dict[str, Any]) -> str:
    context = {"problem": document}
    try:
        return get_template(PROBLEM_TEMPLATE).render(context)
    except TemplateDoesNotExist:
        # The project has no template engine that looks into applications.
        return (
            Engine(dirs=[str(_TEMPLATES)]).get_template(PROBLEM_TEMPLATE).render(Context(context))
        )


# What a project's urls.py may name, so that what no view answers is a problem, too. A browser gets
# Django's page.


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer a malformed request, as ``handler400``."""
    make = _look_up(exception, DJANGOS) or MalformedRequest
    return _negotiated(request, make(), partial(defaults.bad_request, request, exception))


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer `PermissionDenied`, as ``handler403``."""
    return _negotiated(
        request, Forbidden(), partial(defaults.permission_denied, request, exception)
    )


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer a path that no view serves, and `Http404`, as ``handler404``."""
    return _negotiated(request, NotFound(), partial(defaults.page_not_found, request, exception))


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Answer what failed, as ``handler500``."""
    return _negotiated(request, Problem(), partial(defaults.server_error, request))


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    """Answer a request without a CSRF token, as ``CSRF_FAILURE_VIEW``."""
    problem = Forbidden("The CSRF token is missing or wrong.")
    return _negotiated(request, problem, partial(csrf.csrf_failure, request, reason))


def _negotiated(
    request: HttpRequest, problem: Problem, make_page: Callable[[], HttpResponseBase]
) -> HttpResponseBase:
    if not prefers_html(request):
        return problem_response(request, problem)
    page = make_page()
    patch_vary_headers(page, ["Accept"])
    return page
