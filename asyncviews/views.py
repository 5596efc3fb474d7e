"""`AsyncView`: Django's class-based view, finished for async handlers."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views import View

from asyncviews.parameters import Signature, read_signature
from asyncviews.responses import Problem, problem_response


class AsyncView(View):
    """A view whose handlers are coroutines and whose signatures say what a request carries.

    Everything else is `django.views.View`: ``as_view()``, ``setup()``, ``dispatch()``, decorators.

    Raises:
        ImproperlyConfigured: when a subclass is created with a handler that is not async, or with
            a parameter that no request can provide.
    """

    view_is_async = True
    on_disconnect: ClassVar[Literal["cancel", "finish"] | None] = None
    """What happens when the client leaves before it has its response. By default a GET or HEAD is
    cancelled, while other methods run to their end; a stream is then cancelled all the same."""

    _signatures: ClassVar[dict[str, Signature]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.on_disconnect not in {None, "cancel", "finish"}:
            raise ImproperlyConfigured(
                f'{cls.__qualname__}.on_disconnect must be "cancel", "finish" or None, '
                f"not {cls.on_disconnect!r}."
            )
        handlers = {
            method: handler
            for method in cls.http_method_names
            if (handler := getattr(cls, method, None)) not in (None, View.options)
        }
        for method, handler in handlers.items():
            if not iscoroutinefunction(handler):
                raise ImproperlyConfigured(
                    f"{cls.__qualname__}.{method}() is not a coroutine function. Make it "
                    "`async def` and run what blocks in it with `await sync_to_async(...)()`; or, "
                    "if all of it is synchronous, subclass django.views.View. (A decorator that "
                    "does not support async handlers has the same effect.)"
                )
        if "get" in handlers:
            handlers.setdefault("head", handlers["get"])
        cls._signatures = {name: read_signature(cls, method) for name, method in handlers.items()}

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """Keep the request and what its URL says.

        Django's also gives the view a ``head``, and so a reference to itself: it and its request
        would stay in memory until the garbage collector comes.
        """
        self.request = request
        self.args = args
        self.kwargs = kwargs

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
            InvalidParameters: the request does not fit the signature.
            TypeError: the handler returned something that is no response.
        """
        method = (request.method or "").lower()
        signature = self._signatures.get(method) if method in self.http_method_names else None
        if signature is None:
            answer: Any = self.options if method == "options" else self.http_method_not_allowed
            allowed: HttpResponseBase = await answer(request, *args, **kwargs)
            return allowed
        arguments = signature.arguments(request, kwargs)
        handler = getattr(self, method, None) or self.get  # type: ignore[attr-defined]
        response = await handler(request, *(args if signature.takes_args else ()), **arguments)
        if not isinstance(response, HttpResponseBase):
            raise TypeError(
                f"{type(self).__qualname__}.{method}() must return an HttpResponse, "
                f"not {type(response).__qualname__}."
            )
        return response

    def _allowed_methods(self) -> list[str]:
        # Private, read in Django 5.2 to 6.1, which ask for attributes: there may be no `head`.
        methods = self._signatures.keys() | {"options"}
        return [name.upper() for name in self.http_method_names if name in methods]

    async def handle_exception(self, exc: Exception) -> HttpResponseBase:
        """Answer an exception of `handle()`: a `Problem` says itself how, others are Django's.

        Raises:
            Exception: `exc`, where there is no answer to it.
        """
        if isinstance(exc, Problem):
            return problem_response(self.request, exc)
        raise exc
