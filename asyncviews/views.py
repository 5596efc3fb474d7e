"""`AsyncView`: Django's class-based view, finished for async handlers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, ClassVar, Literal

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.decorators import classonlymethod
from django.utils.log import log_response
from django.views import View

from asyncviews import internals
from asyncviews.hooks import check_hooks, runs_own_code
from asyncviews.notes import note_what_to_await
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


_TAKEN = {
    "handlers": "AsyncView keeps there what it knows of the handlers, by method.",
    "headers": "each request has its own, for the handler to set, as in self.headers[name] = value.",
}
"""Attributes of an `AsyncView` that are not for subclasses to set."""


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
        ImproperlyConfigured: when a subclass is created with a handler or hook that is not async,
            with a parameter that no request can provide, or a result that no response can carry.
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
        check_problems(f"{cls.__qualname__}.problems", cls.problems)
        check_hooks(cls)
        cls._require_free_names()
        functions = {
            method: function
            for method in cls.http_method_names
            if callable(function := getattr(cls, method, None)) and function is not View.options
        }
        if "get" in functions:
            functions.setdefault("head", functions["get"])
        cls.handlers = {
            method: cls._read_handler(method, function) for method, function in functions.items()
        }

    @classmethod
    def _require_free_names(cls) -> None:
        """Refuse attributes that would be replaced without a word."""
        others = [base for base in cls.__mro__ if not issubclass(base, AsyncView)]
        for name, use in _TAKEN.items():
            if any(name in vars(base) for base in (cls, *others)):
                raise ImproperlyConfigured(
                    f"{cls.__qualname__}.{name} would be overwritten: {use} Give yours another name."
                )

    @classmethod
    def _read_handler(cls, method: str, function: Callable[..., Any]) -> Handler:
        if not (iscoroutinefunction(function) or inspect.isasyncgenfunction(function)):
            raise ImproperlyConfigured(
                f"{cls.__qualname__}.{method}() is not a coroutine function. Make it "
                "`async def` and run what blocks in it with `await sync_to_async(...)()`; or, "
                "if all of it is synchronous, subclass django.views.View. (A decorator that "
                "does not support async handlers has the same effect.) If it is not for requests "
                f"with the method {method.upper()}, give it another name."
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

    @classonlymethod
    def as_view(cls: Any, **initkwargs: Any) -> Any:  # noqa: N805 - as in Django
        """Return the view function, as Django does.

        It also answers a `Problem` that is raised around `dispatch()`: by ``setup()``, an override
        of a mixin's, a decorator.
        """
        view: Any = super().as_view(**initkwargs)

        def make(*args: Any, **kwargs: Any) -> Any:
            self = cls(**initkwargs)
            self.setup(*args, **kwargs)
            if not hasattr(self, "request"):
                name = cls.__name__  # Django says the same
                raise AttributeError(f"{name}.setup() must call super().setup(), for self.request.")
            return self

        async def make_in_thread(*args: Any, **kwargs: Any) -> Any:
            self = await sync_to_async(make)(*args, **kwargs)
            return await self.dispatch(*args, **kwargs)

        # A `setup()` that is not Django's may query.
        call = make_in_thread if runs_own_code(cls, "setup", "__init__") else view

        @wraps(view)
        async def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            try:
                return await call(request, *args, **kwargs)
            except Problem as exc:
                return problem_response(request, exc, undecided=cls.is_page)

        return answer

    async def dispatch(  # type: ignore[override]
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        if not hasattr(self, "request"):  # Django allows View().dispatch(request), too
            self.setup(request, *args, **kwargs)
        try:
            return await self.handle(request, *args, **kwargs)
        except Exception as exc:  # noqa: BLE001 - what handle_exception() has no answer to it raises
            note_what_to_await(exc)
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
            return await self._without_handler(method, request, *args, **kwargs)
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

    async def _without_handler(
        self, method: str, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        if method != "options" or method not in self.http_method_names:
            return await self.http_method_not_allowed(request, *args, **kwargs)
        options: Any = self.options
        response: HttpResponseBase = await options(request, *args, **kwargs)
        return response

    def _allowed_methods(self) -> list[str]:
        # Private, read in Django 5.2 to 6.1, which ask for attributes: there may be no `head`.
        methods = self.handlers.keys() | {"options"}
        return [name.upper() for name in self.http_method_names if name in methods]

    # For subclasses to extend

    async def http_method_not_allowed(  # type: ignore[override]
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Answer a method that has no handler: with a problem, or if a page is wanted as Django."""
        allowed = self._allowed_methods()
        response: Any
        if self.is_page and prefers_html(request, undecided=True):
            response = HttpResponseNotAllowed(allowed)
            patch_vary_headers(response, ["Accept"])
        else:
            response = await self.handle_exception(MethodNotAllowed(allowed))
        log_response(
            "Method Not Allowed (%s): %s",
            request.method,
            request.path,
            response=response,
            request=request,
        )
        return response  # type: ignore[no-any-return]

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
