"""The ASGI handler: Django's, which hops to a thread only where code really blocks.

A request's way, top to bottom: `__call__()` has a lease ready, which takes a thread when sync code
first needs one, and calls Django's, which other packages patch; `handle()` reads the body, makes the
request, gets the response from the middleware chain, sends and closes it.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import closing, contextmanager, nullcontext
from contextvars import Context, ContextVar
from functools import partial, wraps
from io import BytesIO
from typing import Any, ParamSpec, TypeVar, cast

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers import asgi
from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch, get_resolver, set_script_prefix

from asyncviews import inline, internals
from asyncviews.conf import get_settings
from asyncviews.connections import Connections
from asyncviews.resolving import resolve
from asyncviews.streaming import stream_file
from asyncviews.threads import Lease, NoThreadAvailable, ThreadPool

P = ParamSpec("P")
R = TypeVar("R")

Message = Mapping[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

request_threads = ThreadPool(
    "asyncviews-request",
    limit=lambda: get_settings().request_threads,
    max_waiting=lambda: get_settings().request_threads_queue,
    wait_timeout=lambda: get_settings().request_threads_timeout,
    resources=Connections(),
)
"""The threads of this process on which the sync code of requests runs."""

_lease: ContextVar[Lease | None] = ContextVar("asyncviews_lease", default=None)
_answering: ContextVar[_Answering | None] = ContextVar("asyncviews_answering", default=None)


class _RequestThread(Executor):
    """Runs the thread-sensitive calls of each request on the request's own lease."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        call = partial(fn, *args, **kwargs)
        # ``loop.run_in_executor()``, where this is called, passes a future of the loop on as it is.
        future = cast("Lease", _lease.get()).call(call, asyncio.get_running_loop())
        return cast("Future[R]", future)


_thread_sensitive = internals.ThreadSensitive(_RequestThread())


@contextmanager
def leased_thread() -> Iterator[None]:
    """Run the thread-sensitive code of a block on one of the `request_threads`."""
    lease = request_threads.lease(keeps_thread=True)
    leased, entered = _lease.set(lease), _thread_sensitive.enter()
    try:
        yield
    finally:
        lease.release()
        _thread_sensitive.leave(entered)
        _lease.reset(leased)


def _behind(method: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Have a coroutine function, for which a thread waits, use that thread through the lease."""

    @wraps(method)
    async def behind(*args: P.args, **kwargs: P.kwargs) -> R:
        lease = _lease.get()
        if lease is None or not lease.is_aside:
            return await method(*args, **kwargs)
        with lease.behind(internals.take_waiting_thread()):
            return await method(*args, **kwargs)

    return behind


def _aside(wait_for: Callable[P, R]) -> Callable[P, R]:
    """Have a function that only waits, as synchronous middleware does, leave its place to others."""

    @wraps(wait_for)
    def aside(*args: P.args, **kwargs: P.kwargs) -> R:
        lease = _lease.get()
        with lease.aside() if lease else nullcontext():
            return wait_for(*args, **kwargs)

    return aside


def _on_thread(lease: Lease, view: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """Have a synchronous view called on a thread."""
    submit = partial(lease.call, loop=asyncio.get_running_loop())

    async def answer(*args: P.args, **kwargs: P.kwargs) -> R:
        return await internals.run_in_thread(submit, partial(view, *args, **kwargs))

    return answer


class _Answering:
    """What a context knows of its request: nothing any more once that has been answered.

    Contexts are copied, by background tasks among others, and outlive the request that way.
    """

    __slots__ = ("disconnect",)

    def __init__(self, disconnect: _Disconnect) -> None:
        self.disconnect: _Disconnect | None = disconnect


def request_in(context: Context) -> HttpRequest | None:
    """Return the request that is being answered where `context` is the current one."""
    answering = context.get(_answering)
    return answering.disconnect.request if answering and answering.disconnect else None


class HTTPHandler(asgi.ASGIHandler):
    """Django's ASGI handler: same observable behaviour, fewer thread hops."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The context may be that of an earlier request: in it uvicorn starts one that came before
        # the end of the response to that, on the same connection.
        if scope["type"] != "http" or _thread_sensitive.is_decided:
            await super().__call__(scope, receive, send)
            return
        with leased_thread():
            # By Django's method: Sentry and others patch it to give each request a scope.
            try:
                await super().__call__(scope, receive, send)
            except NoThreadAvailable as exc:
                raise RuntimeError("The response is cut off: no thread is free to go on.") from exc

    def load_middleware(self, is_async: bool = False) -> None:
        self.middleware = inline.Loader(self._adapt_method_mode)
        super().load_middleware(is_async)
        self.middleware.finish()

    def adapt_method_mode(
        self, is_async: bool, method: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Callable[..., Any]:
        """Leave middleware that only computes on the event loop."""
        return self.middleware.adapt(is_async, method, *args, **kwargs)

    def _adapt_method_mode(
        self, is_async: bool, method: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Callable[..., Any]:
        """Leave no thread that waits with a place."""
        if is_async or not iscoroutinefunction(method):
            return super().adapt_method_mode(is_async, method, *args, **kwargs)
        wait_for = super().adapt_method_mode(is_async, _behind(method), *args, **kwargs)
        return _aside(wait_for)

    def make_view_atomic(self, view: Callable[..., Any]) -> Callable[..., Any]:
        atomic: Callable[..., Any] = super().make_view_atomic(view)
        if lease := _lease.get():
            lease.reach_view()
            if _thread_sensitive.applies and not iscoroutinefunction(atomic):
                return _on_thread(lease, atomic)
        return atomic

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body_file = await self.read_body(receive)
        except RequestAborted:
            return
        with closing(body_file):
            set_script_prefix(asgi.get_script_prefix(scope))
            try:
                await self._tell_started(scope)
            except NoThreadAvailable:
                busy = HttpResponse("The server is busy.", status=503, headers={"Retry-After": 5})
                await self.send_response(busy, send)
                return
            request, error_response = self.create_request(scope, body_file)
            if request is None:
                refusal = cast("HttpResponseBase", error_response)
                await self.send_response(refusal, send)
                await sync_to_async(refusal.close)()
                return
            await self._answer(request, receive, send)

    async def _tell_started(self, scope: Scope) -> None:
        signal = signals.request_started
        if not _lease.get():
            await signal.asend(sender=self.__class__, scope=scope)
        else:
            await internals.send_to_others(signal, self.__class__, scope=scope)

    async def _answer(self, request: asgi.ASGIRequest, receive: Receive, send: Send) -> None:
        response: HttpResponseBase | None = None
        lease = _lease.get()
        cancelled = False
        try:
            async with _Disconnect(self, request, receive) as disconnect:
                response = disconnect.response = await self.run_get_response(request)
                if lease:
                    lease.share()  # the client may take hours to receive it
                await self.send_response(response, send)
        except RequestAborted:
            await asyncio.sleep(0)  # for a call that waits for a thread to learn of it, too
        except asyncio.CancelledError:
            cancelled = True
            raise
        finally:
            if response is None and lease:
                lease.abandon()  # middleware and transactions may have been left half way
            await self._close(request, response, cancelled=cancelled)

    async def send_response(self, response: HttpResponseBase, send: Send) -> None:
        if isinstance(response, FileResponse) and not response.is_async:
            stream_file(response, self.chunk_size)
        await super().send_response(response, send)

    async def _close(
        self, request: asgi.ASGIRequest, response: HttpResponseBase | None, *, cancelled: bool
    ) -> None:
        """Close request and response, after whatever still runs on the request's thread."""
        lease = _lease.get()
        if lease and not lease.busy and internals.close_at_once(request, response):
            await self._tell_finished()
            return
        if lease and lease.busy and cancelled:
            return  # the server ends, and waits for nobody
        close = partial(self._close_now, request, response)
        try:
            # By name: asgiref's choice, after a cancellation, may be a thread that takes no more.
            await sync_to_async(
                close, thread_sensitive=lease is None, executor=cast("Any", lease)
            )()
        except NoThreadAvailable:
            await sync_to_async(close, thread_sensitive=False)()

    async def _tell_finished(self) -> None:
        signal = signals.request_finished
        try:
            await internals.send_to_others(signal, self.__class__)
        except NoThreadAvailable:
            await sync_to_async(signal.send, thread_sensitive=False)(sender=self.__class__)

    def _close_now(self, request: asgi.ASGIRequest, response: HttpResponseBase | None) -> None:
        if response is not None:
            response.close()
        else:
            request.close()
            signals.request_finished.send(sender=self.__class__)

    async def run_get_response(self, request: HttpRequest) -> HttpResponseBase:
        try:
            response: HttpResponseBase = await super().run_get_response(request)
        except NoThreadAvailable as exc:
            response = inline.busy_response(request, exc)
            return internals.complete(response, request, type(self))
        return response

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        if hasattr(request, "urlconf"):  # middleware has set it
            match = super().resolve_request(request)
        else:
            match = resolve(get_resolver(), request.path_info)
            request.resolver_match = match
        if (answering := _answering.get()) and answering.disconnect:
            answering.disconnect.end_by_policy()
        return match

    async def read_body(self, receive: Receive) -> Any:
        """Read the body into a file as Django does, if there is one."""
        message = await receive()
        if message["type"] == "http.request" and not (
            message.get("body") or message.get("more_body")
        ):
            return BytesIO()
        return await super().read_body(_again(message, receive))


def _again(message: Message, receive: Receive) -> Receive:
    """Return a `receive()` that gives a message back before it goes on."""
    first: list[Message] = [message]

    async def receive_again() -> Message:
        return first.pop() if first else await receive()

    return receive_again


class _Disconnect:
    """Ends a block with `RequestAborted` when the client leaves, if the view's policy is to end.

    Listening starts when the event loop first gets control: most responses are there before.
    """

    def __init__(
        self, handler: asgi.ASGIHandler, request: asgi.ASGIRequest, receive: Receive
    ) -> None:
        self._handler = handler
        self.request = request
        self._receive = receive
        self._listener: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self._over = False
        self.heard = False
        self.response: HttpResponseBase | None = None

    async def __aenter__(self) -> _Disconnect:
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._cancelling = self._task.cancelling()
        self._start = asyncio.get_running_loop().call_soon(self._listen)
        self._answering = _Answering(self)
        self._token = _answering.set(self._answering)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: object
    ) -> None:
        self._over = True
        self._answering.disconnect = None
        _answering.reset(self._token)
        self._start.cancel()
        if self._listener is not None:
            self._listener.cancel()
        if self._failure is not None:
            # As asyncio.timeout() does: if someone else cancelled this task too, let that through.
            ours = self._task.uncancel() <= self._cancelling
            if ours and exc_type in {None, asyncio.CancelledError}:
                raise self._failure from None

    def _listen(self) -> None:
        self._listener = asyncio.create_task(self._handler.listen_for_disconnect(self._receive))
        self._listener.add_done_callback(self._heard)

    def _heard(self, listener: asyncio.Task[None]) -> None:
        failure = None if listener.cancelled() else listener.exception()
        if isinstance(failure, RequestAborted):
            self.heard = True
            self.end_by_policy()
        elif failure is not None:
            self._end(failure)

    def end_by_policy(self) -> None:
        """End the request if its client has left, as soon as it is known whose policy counts."""
        if self.heard and _ends_with_client(self.request, self.response):
            self._end(RequestAborted())

    def _end(self, failure: BaseException) -> None:
        if not self._over:
            self._failure = failure
            self._task.cancel()


def _ends_with_client(request: asgi.ASGIRequest, response: HttpResponseBase | None) -> bool:
    """Whether a request is cancelled when its client leaves.

    One that may change something is not before its view is known, or the cancellation might reach
    a handler that has begun meanwhile.
    """
    reads = request.method in {"GET", "HEAD", "QUERY"}
    if request.resolver_match is None:
        return reads
    view = getattr(request.resolver_match.func, "view_class", None)
    policy = getattr(view, "on_disconnect", "cancel")
    if policy is None:
        return reads or (response is not None and response.streaming)
    return bool(policy == "cancel")


_all_in_flight: weakref.WeakSet[InFlight] = weakref.WeakSet()


def requests_in_flight() -> int:
    """Return how many requests this process is answering, streams included."""
    return sum(map(len, list(_all_in_flight)))


class InFlight:
    """The requests that are being answered; a shutdown waits for them."""

    def __init__(self) -> None:
        self._scopes: dict[object, Scope] = {}
        self._changed = asyncio.Event()
        _all_in_flight.add(self)

    def __len__(self) -> int:
        return len(self._scopes)

    def add(self, scope: Scope) -> object:
        key = object()
        self._scopes[key] = scope
        return key

    def remove(self, key: object) -> None:
        del self._scopes[key]
        self._changed.set()

    async def wait(self, timeout: float) -> list[str]:
        """Wait up to `timeout` seconds; return method and path of those still in flight."""
        try:
            async with asyncio.timeout(timeout):
                while self._scopes:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass
        return [f"{scope['method']} {scope['path']}" for scope in self._scopes.values()]
