"""Resources of the application: opened when the server starts, closed when it stops.

A resource is an async generator function with one ``yield``. Calling it, from any view or
background task, returns what it yielded::

    @resource
    async def smoker() -> AsyncIterator[Smoker]:
        async with Smoker.connect() as opened:
            yield opened

    smoker()  # a Smoker

``ASYNCVIEWS["RESOURCES"]`` names those that the lifespan opens, in order; it closes them in
reverse.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from inspect import isasyncgenfunction
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

_CLOSED = object()


class ResourceNotOpen(RuntimeError):
    """A resource was used outside the lifespan that opens it."""


class Resource(Generic[T]):
    """A declared resource. It is opened once per process, by the lifespan."""

    def __init__(self, function: Callable[[], AsyncIterator[T]]) -> None:
        if not isasyncgenfunction(function):
            raise ImproperlyConfigured(
                f"@resource of {getattr(function, '__qualname__', repr(function))}: that is not an "
                "async generator function. Make it `async def` with one `yield` of the open value, "
                "and leave out @asynccontextmanager. (Another decorator may have the same effect.)"
            )
        self.name = function.__qualname__
        self.path = f"{function.__module__}.{function.__qualname__}"
        self.__doc__ = function.__doc__
        self._function = function
        self._value: object = _CLOSED

    def __call__(self) -> T:
        """Return the open resource.

        Raises:
            ResourceNotOpen: no lifespan has opened it.
        """
        if self._value is _CLOSED:
            raise ResourceNotOpen(
                f"The resource {self.path} is not open. The server's lifespan opens what "
                'ASYNCVIEWS["RESOURCES"] lists, so list it there, and serve the project through '
                "asyncviews.asgi.get_asgi_application(). Without a server, in a test or a "
                f"command, use `async with {self.name}.open():`."
            )
        return cast("T", self._value)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[T]:
        """Open the resource for the length of an ``async with`` block.

        Raises:
            ImproperlyConfigured: its function yields never, or more than once.
        """
        async with asynccontextmanager(self._yielded_once)() as value:
            before, self._value = self._value, value
            try:
                yield value
            finally:
                self._value = before

    async def _yielded_once(self) -> AsyncGenerator[T, None]:
        """Do what the function does; `contextlib` would not name one that yields too often."""
        generator = cast("AsyncGenerator[T, None]", self._function())
        try:
            value = await anext(generator)
        except StopAsyncIteration:
            raise self._miscounted("ended without a `yield`") from None
        try:
            yield value
        except BaseException as exc:  # noqa: BLE001 - the function gets it, whatever it is
            try:
                await generator.athrow(exc)
            except StopAsyncIteration:
                return
            cause: BaseException | None = exc
        else:
            if await anext(generator, _CLOSED) is _CLOSED:
                return
            cause = None
        await generator.aclose()
        raise self._miscounted("came to a second `yield`") from cause

    def _miscounted(self, what: str) -> ImproperlyConfigured:
        return ImproperlyConfigured(
            f"{self.path}() {what}. A resource yields once: what is before the `yield` opens it, "
            "what comes after closes it."
        )

    def __repr__(self) -> str:
        return f"<Resource {self.path}>"


def resource(function: Callable[[], AsyncIterator[T]]) -> Resource[T]:
    """Declare a resource: decorate an async generator function that yields it once.

    Raises:
        ImproperlyConfigured: it is not an async generator function.
    """
    return Resource(function)


@resource
async def http_client() -> AsyncIterator[httpx.AsyncClient]:
    """One HTTP client, and so one pool of connections, for all views and background tasks.

    It keeps no cookies: what a server sets in answer to one user must not be sent for the next.
    """
    import httpx  # a fifth of the start of a process, and many never open a client

    keeps_none = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    async with httpx.AsyncClient(cookies=keeps_none) as client:
        yield client


def load(path: str) -> Resource[object]:
    """Return the resource at a dotted path.

    Raises:
        ImproperlyConfigured: there is none.
    """
    try:
        found = import_string(path)
    except ImportError as exc:
        raise ImproperlyConfigured(f'ASYNCVIEWS["RESOURCES"]: {exc}') from exc
    if not isinstance(found, Resource):
        raise ImproperlyConfigured(
            f'ASYNCVIEWS["RESOURCES"]: {path} is not a resource but {found!r}; decorate an async '
            "generator function with @asyncviews.resource."
        )
    return found
