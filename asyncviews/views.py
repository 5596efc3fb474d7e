"""`AsyncView`: Django's class-based view, finished for async handlers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views import View

from asyncviews import internals
from asyncviews.parameters import Signature, read_signature
from asyncviews.problems import (
    ContentTooLarge,
    InvalidParameters,
    MethodNotAllowed,
    Problem,
    Problems,
    check_problems,
    djangos_problem,
    prefers_html,
    problem_of,
    problem_response,
)
from asyncviews.responses import Returns, read_returns


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """What is known of a handler from its signature."""

    function: Callable[..., Any]
    signature: Signature
    returns: Returns


def _is_size(value: object) -> bool:
    return type(value) is int and value >= 0


async def _ask(hook: Callable[..., Any], request: HttpRequest) -> None:
    """Await a hook that refuses a request by raising; a result would decide nothing.

    Raises:
        TypeError: it returned something: whether the request may pass, or a coroutine that would.
    """
    result = await hook(request)
    if result is not None:
        name = getattr(hook, "__qualname__", repr(hook))
        raise TypeError(
            f"{name}() returned {result!r}. It must raise a Problem to refuse the request, and "
            "otherwise return None."
        )


class AsyncView(View):
    """A view whose handlers are coroutines and whose signatures say what request and response carry.

    Everything else is `django.views.View`: ``as_view()``, ``setup()``, ``dispatch()``, decorators.

    Raises:
        ImproperlyConfigured: when a subclass is created with a handler that is not async, with a
            parameter that no request can provide, or a result that no response can carry.
    """

    http_method_names = [*View.http_method_names, "query"]  # noqa: RUF012 - as in Django
    view_is_async = True
    on_disconnect: ClassVar[Literal["cancel", "finish"] | None] = None
    """What happens when the client leaves before it has its response. By default a safe method is
    cancelled, while others run to their end; a stream is then cancelled all the same."""
    max_body_size: ClassVar[int | None] = None
    """Bytes that a body may have here; None leaves it to Django's settings."""
    problems: ClassVar[Problems] = {}
    """Which exceptions of the handlers are which problems, before the project's ``PROBLEMS``."""
    raises: ClassVar[Sequence[type[Problem]]] = ()
    """Further problems that the handlers raise, for the OpenAPI document."""
    openapi_tags: ClassVar[Sequence[str]] = ()
    """Under which headings the OpenAPI document has them; by default the namespace or the app."""
    openapi_hidden: ClassVar[bool] = False
    """Whether they are left out of the OpenAPI document."""

    is_page: ClassVar[bool] = False
    """Whether it is for browsers: a client that says nothing of what it accepts then hears of errors
    as they do, by pages."""

    handlers: ClassVar[dict[str, Handler]] = {}
    """By method, in lower case."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.on_disconnect not in {None, "cancel", "finish"}:
            raise ImproperlyConfigured(
                f'{cls.__qualname__}.on_disconnect must be "cancel", "finish" or None, '
                f"not {cls.on_disconnect!r}."
            )
        if cls.max_body_size is not None and not _is_size(cls.max_body_size):
            raise ImproperlyConfigured(
                f"{cls.__qualname__}.max_body_size must be a number of bytes or None, "
                f"not {cls.max_body_size!r}."
            )
        cls._require_sync_decisions()
        functions = {
            method: function
            for method in cls.http_method_names
            if (function := getattr(cls, method, None)) not in (None, View.options)
        }
        if "get" in functions:
            functions.setdefault("head", functions["get"])
        cls.handlers = {
            method: cls._read_handler(method, function) for method, function in functions.items()
        }

    @classmethod
    def _require_sync_decisions(cls) -> None:
        """Refuse coroutine functions where a coroutine, which is true, would decide something."""
        check_problems(f"{cls.__qualname__}.problems", cls.problems)
        if iscoroutinefunction(cls.answers_json):
            raise ImproperlyConfigured(
                f"{cls.__qualname__}.answers_json is a coroutine function, and is not awaited. "
                "Make it a plain function."
            )

    @classmethod
    def _read_handler(cls, method: str, function: Callable[..., Any]) -> Handler:
        if not (iscoroutinefunction(function) or inspect.isasyncgenfunction(function)):
            raise ImproperlyConfigured(
                f"{cls.__qualname__}.{method}() is not a coroutine function. Make it "
                "`async def` and run what blocks in it with `await sync_to_async(...)()`; or, "
                "if all of it is synchronous, subclass django.views.View. (A decorator that "
                "does not support async handlers has the same effect.)"
            )
        return Handler(
            function=function,
            signature=read_signature(cls, function),
            returns=read_returns(cls, function),
        )

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """Keep the request and what its URL says.

        Django's also gives the view a ``head``, and so a reference to itself: it and its request
        would stay in memory until the garbage collector comes.
        """
        self.request = request
        self.args = args
        self.kwargs = kwargs
        self.headers: dict[str, str] = {}
        """Header fields of the response, for the handler to set."""

    async def dispatch(  # type: ignore[override]
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        try:
            return await self.handle(request, *args, **kwargs)
        except Exception as exc:  # noqa: BLE001 - what handle_exception() has no answer to it raises
            return await self.handle_exception(exc)

    async def handle(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Call the handler for the request's method with the arguments that its signature names.

        Raises:
            Problem: the request does not fit the signature, or may not be answered.
            UnexpectedResult: the handler returned something else than it declares.
        """
        method = (request.method or "").lower()
        handler = self.handlers.get(method) if method in self.http_method_names else None
        if handler is None:
            return await self._without_handler(method, request)
        await _ask(self.authorize, request)
        await _ask(self.throttle, request)
        handler.returns.require_acceptable(request)
        self._require_size(request)
        signature = handler.signature
        arguments = await signature.read(request, kwargs)
        function = getattr(self, method, None) or self.get  # type: ignore[attr-defined]
        result = function(request, *(args if signature.takes_args else ()), **arguments)
        return await self.render(
            await result if inspect.isawaitable(result) else result, handler.returns
        )

    def _require_size(self, request: HttpRequest) -> None:
        limit = self.max_body_size
        if limit is not None and internals.body_size(request) > limit:
            raise ContentTooLarge(f"The body must not have more than {limit} bytes.")

    async def _without_handler(self, method: str, request: HttpRequest) -> HttpResponseBase:
        answer: Any = self.options
        if method != "options":
            if not (self.is_page and prefers_html(request, undecided=True)):
                raise MethodNotAllowed(self._allowed_methods())
            answer = self.http_method_not_allowed
        allowed: HttpResponseBase = await answer(request)
        return allowed

    def _allowed_methods(self) -> list[str]:
        # Private, read in Django 5.2 to 6.1, which ask for attributes: there may be no `head`.
        methods = self.handlers.keys() | {"options"}
        return [name.upper() for name in self.http_method_names if name in methods]

    # For subclasses to extend

    async def authorize(self, request: HttpRequest) -> None:
        """Refuse the request, before anything else of it is read, by raising a `Problem`."""

    async def throttle(self, request: HttpRequest) -> None:
        """Refuse the request if there are too many of its kind, by raising `TooManyRequests`."""

    async def render(self, result: Any, returns: Returns) -> HttpResponseBase:
        """Make a response of what the handler has returned, as it declares.

        Raises:
            UnexpectedResult: it is something else.
        """
        response = returns.response(result, self.request)
        for name, value in self.headers.items():
            response.headers[name] = value
        return response

    async def handle_invalid(self, problem: InvalidParameters) -> HttpResponseBase:
        """Answer a request that does not fit the handler's signature."""
        return problem_response(self.request, problem, undecided=self.is_page)

    async def handle_exception(self, exc: Exception) -> HttpResponseBase:
        """Answer an exception of `handle()`: as a problem, if it is one, or else as Django does.

        Raises:
            Exception: `exc`, where there is no answer to it.
        """
        if isinstance(exc, InvalidParameters):
            return await self.handle_invalid(exc)
        problem = problem_of(exc, self.problems)
        if problem is None and not prefers_html(self.request, undecided=not self.answers_json()):
            problem = djangos_problem(self.request, exc)
        if problem is None:
            raise exc
        return problem_response(self.request, problem, undecided=self.is_page)

    def answers_json(self) -> bool:
        """Whether the handler declares values, and not only responses of which nothing is known."""
        handler = self.handlers.get((self.request.method or "").lower())
        return handler is not None and bool(handler.returns.answers)
