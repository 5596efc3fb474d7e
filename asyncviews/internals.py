"""What is private to Django, asgiref, asyncio and pydantic, and the versions in which it was read.

In a version of Django or asgiref that is not among them, everything here answers so that Django's own
way is taken.
"""

# ruff: noqa: SLF001 - this is the place for it
from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from contextvars import Context, ContextVar, Token, copy_context
from functools import cache
from io import SEEK_END, BytesIO
from threading import get_ident
from types import FrameType
from typing import Any, TypeVar, cast

import asgiref
import django
from asgiref import sync
from asgiref.sync import AsyncToSync, SyncToAsync, ThreadSensitiveContext, sync_to_async
from django.conf import settings
from django.contrib import auth
from django.core import asgi as django_asgi
from django.core.cache import BaseCache, close_caches
from django.core.checks.registry import registry
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.base import reset_urlconf
from django.core.signals import setting_changed
from django.db import close_old_connections, reset_queries
from django.dispatch import Signal, receiver
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import set_urlconf
from django.utils.functional import SimpleLazyObject, empty
from django.utils.module_loading import import_string
from pydantic_core import CoreSchema, SchemaValidator

from asyncviews.overrides import overridden

R = TypeVar("R")

CHECKED = frozenset({(5, 2), (6, 0), (6, 1)})
"""The versions of Django in which all this was read."""

ASGIREF_CHECKED = frozenset({"3.13"})
"""The same of asgiref."""

LARGE_TO_PARSE = 16 * 1024
"""Bytes of a form whose parsing takes about as long as the way to a thread."""

READ_ONCE = (
    ("django/template/loaders/cached.py", "get_template"),
    ("django/template/utils.py", "__getitem__"),  # of `engines`: looks for libraries of tags
    ("django/utils/translation/trans_real.py", "translation"),
)
"""Files and functions of Django's that read from disk, and keep what they have read."""

IS_CHECKED = django.VERSION[:2] in CHECKED


def _is_known(version: str, names: Mapping[Any, tuple[str, ...]]) -> bool:
    """Whether a version of asgiref was read, and has all the names of its modules and classes."""
    if ".".join(version.split(".")[:2]) not in ASGIREF_CHECKED:
        return False
    return all(hasattr(owner, name) for owner, used in names.items() for name in used)


ASGIREF_IS_CHECKED = _is_known(
    asgiref.__version__,
    {
        AsyncToSync: ("executors",),
        SyncToAsync: (
            "context_to_thread_executor",
            "deadlock_context",
            "thread_sensitive_context",
            "threadlocal",
        ),
        sync: ("_restore_context",),
    },
)
"""Whether asgiref can be told where thread-sensitive code runs; else that is as Django has it."""

_HOUSEKEEPING = frozenset(
    (id(function), id(None))
    for function in (reset_queries, close_old_connections, close_caches, reset_urlconf)
)


class ThreadSensitive:
    """Has thread-sensitive code run on an executor that serves many requests or tasks.

    Unlike ``ThreadSensitiveContext(executor=...)`` this leaves the executor to tasks that outlive
    the request, as Django's handler does. asgiref keeps the executor as long as this object, so it
    must be one executor for all of them: one that belonged to a request, and so to what the request
    has called, would keep its own key alive, and both would stay in memory for ever.
    """

    def __init__(self, executor: Executor) -> None:
        self._context = ThreadSensitiveContext()
        if ASGIREF_IS_CHECKED:
            SyncToAsync.context_to_thread_executor[self._context] = executor

    @property
    def is_decided(self) -> bool:
        """Whether somebody else has chosen where thread-sensitive code runs here.

        That is so under `async_to_sync()`, as in tests, and in a ``ThreadSensitiveContext``; and
        with an asgiref that nobody has read.
        """
        if not ASGIREF_IS_CHECKED:
            return True
        if getattr(AsyncToSync.executors, "current", None) is not None:
            return True
        return SyncToAsync.thread_sensitive_context.get(None) not in (None, self._context)

    @property
    def applies(self) -> bool:
        """Whether thread-sensitive code runs on its executor here."""
        if getattr(AsyncToSync.executors, "current", None) is not None:
            return False
        return SyncToAsync.thread_sensitive_context.get(None) is self._context

    def enter(self) -> Token[Any] | None:
        if not ASGIREF_IS_CHECKED:
            return None
        return SyncToAsync.thread_sensitive_context.set(self._context)

    def leave(self, token: Token[Any] | None) -> None:
        if token is not None:
            SyncToAsync.thread_sensitive_context.reset(token)

    def activate(self) -> None:
        """Enter for the rest of the asyncio task, whatever it has inherited."""
        if not ASGIREF_IS_CHECKED:
            return
        SyncToAsync.thread_sensitive_context.set(self._context)
        if getattr(AsyncToSync.executors, "current", None) is not None:
            AsyncToSync.executors.current = None


async def run_in_thread(
    submit: Callable[[Callable[[], R]], asyncio.Future[R]], function: Callable[[], R]
) -> R:
    """Do what ``sync_to_async(function)()`` does, in half the time; `submit` takes it to a thread.

    As there the function sees the context variables of here, and they see what it sets;
    `async_to_sync()` in it runs on this event loop; and a cancellation is one of what that awaits.
    """
    loop, context = asyncio.get_running_loop(), copy_context()
    awaited: list[asyncio.Task[Any]] = []

    def on_thread() -> R:
        local = SyncToAsync.threadlocal
        local.main_event_loop, local.main_event_loop_pid = loop, os.getpid()
        local.task_context = awaited
        return context.run(in_context)

    def in_context() -> R:
        sync._restore_context(context)
        return function()

    future = submit(on_thread)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        goes_on = bool(awaited) and await _outlives_cancellation(awaited[0])
        if future.done():
            raise
        if not goes_on:
            future.cancel()
        return await future
    finally:
        sync._restore_context(context)


async def _outlives_cancellation(task: asyncio.Task[Any]) -> bool:
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return False
    return True


def use_thread_of_loop() -> None:
    """Have this asyncio task's thread-sensitive code run where the running loop has its own.

    Whatever its context has inherited, that is the thread that waits for the loop, or asgiref's.
    """
    if not ASGIREF_IS_CHECKED:
        return
    cast("ContextVar[Any]", SyncToAsync.thread_sensitive_context).set(None)
    SyncToAsync.deadlock_context.set(False)
    if getattr(AsyncToSync.executors, "current", None) is not None:
        AsyncToSync.executors.current = None


def move_locals_here(context: Context) -> None:
    """Let this thread see what a ``Local`` holds in `context`, which comes from another thread.

    asgiref does so whenever it moves code between threads, and hides it otherwise.
    """
    if ASGIREF_IS_CHECKED:
        sync._restore_context(context)


def unregister_check(check: Callable[..., Any]) -> None:
    """Have a system check not run; there is no public way to replace one of Django's."""
    if IS_CHECKED:
        registry.registered_checks.discard(check)


def only_housekeeping(signal: Signal) -> bool:
    """Whether Django's own receivers, which tidy the thread of a request, are all there are."""
    if IS_CHECKED:
        for entry in signal.receivers:
            if entry[0] not in _HOUSEKEEPING:
                return False
    return IS_CHECKED


async def send_to_others(signal: Signal, sender: Any, **named: Any) -> None:
    """Send a signal as `Signal.asend()` does, but not to Django's receivers that tidy a thread.

    The synchronous ones are called together on a thread; asynchronous ones are awaited here, in turn:
    what they close belongs to this asyncio task, and its context.
    """
    if only_housekeeping(signal):
        return  # as nearly always
    if not IS_CHECKED:
        await signal.asend(sender, **named)
        return
    synchronous, asynchronous = signal._live_receivers(sender)
    others = [receive for receive in synchronous if (id(receive), id(None)) not in _HOUSEKEEPING]

    def send() -> None:
        for receive in others:
            receive(signal=signal, sender=sender, **named)

    if others:
        await sync_to_async(send)()
    for receive in asynchronous:
        await receive(signal=signal, sender=sender, **named)


def hears_only(signal: Signal, receivers: tuple[Callable[..., Any], ...]) -> bool:
    """Whether no other receivers are connected to a signal than these, which hear every sender."""
    known = {(id(receiver), id(None)) for receiver in receivers}
    return IS_CHECKED and all(entry[0] in known for entry in signal.receivers)


def runs_callback(frame: FrameType) -> bool:
    """Whether in this frame asyncio's event loop, and no other, runs one callback."""
    return frame.f_code is asyncio.Handle._run.__code__


def waits_for_callbacks(frame: FrameType) -> bool:
    """Whether in this frame asyncio's event loop waits for callbacks, or chooses the next one."""
    return frame.f_code is asyncio.BaseEventLoop._run_once.__code__  # type: ignore[attr-defined]


def callback_context(loop: asyncio.AbstractEventLoop, handle: FrameType | None) -> Context | None:
    """Return the context of what an event loop runs now, asked from another thread.

    `handle` is the frame that `runs_callback()`; ``Handle._context`` was read in CPython 3.11 to
    3.14. Other loops run a task whose context is known from Python 3.12 on.
    """
    if handle is not None:
        return getattr(handle.f_locals.get("self"), "_context", None)
    get_context = getattr(asyncio.current_task(loop), "get_context", None)
    return get_context() if get_context else None


def is_in_memory(stream: Any) -> bool:
    """Whether a request's body is a `BytesIO`, or a `SpooledTemporaryFile` that is still one."""
    return type(stream) is BytesIO or not getattr(stream, "_rolled", True)


def body_is_at_hand(request: HttpRequest) -> bool:
    """Whether ``request.body`` is read from memory."""
    return "_body" in vars(request) or is_in_memory(request._stream)


def body_size(request: HttpRequest) -> int:
    """Return how many bytes the body has, as far as that is known without reading it."""
    if "_body" in vars(request):
        return len(request.body)
    stream: Any = request._stream
    if hasattr(stream, "seekable") and stream.seekable():
        return _size(stream)
    return int(request.META.get("CONTENT_LENGTH") or 0)


def form_is_at_hand(request: HttpRequest) -> bool:
    """Whether ``request.POST`` is quickly made, from memory."""
    return request.method != "POST" or "_post" in vars(request) or form_parses_quickly(request)


def form_parses_quickly(request: HttpRequest) -> bool:
    """Whether the body is no form, or a small one in memory that nobody's upload handlers get."""
    if request.content_type != "application/x-www-form-urlencoded":
        return bool(request.content_type != "multipart/form-data")
    return body_is_at_hand(request) and body_size(request) <= LARGE_TO_PARSE


def parse_form(request: HttpRequest) -> None:
    """Have ``request.POST`` and ``request.FILES`` parsed, which Django does for POST only."""
    method = request.method
    if method == "POST":
        request.POST  # noqa: B018 - a property
        return
    request.method = "POST"
    try:
        request._load_post_and_files()
    finally:
        request.method = method


def schema_validator(schema: CoreSchema) -> SchemaValidator | None:
    """Return a validator of just this schema; None where pydantic cannot be told so.

    Left alone, pydantic-core takes the validators that models have in place of their schemas. Its
    keyword was read in 2.46 to 2.50, which belong to pydantic 2.13 and 2.14.
    """
    try:
        return SchemaValidator(schema, _use_prebuilt=False)
    except TypeError:
        return None


def _size(stream: Any) -> int:
    position = stream.tell()
    size: int = stream.seek(0, SEEK_END)
    stream.seek(position)
    return size


def close_at_once(request: ASGIRequest, response: HttpResponseBase | None) -> bool:
    """Close a request and its response if nothing of it might block; tell whether it is done.

    ``request_finished`` is left to be sent.
    """
    if not (
        IS_CHECKED
        and type(request).close is ASGIRequest.close
        and not vars(request).get("_files")
        and is_in_memory(request._stream)
        and _no_cache_closes()
        and (response is None or _closes_only(response, request))
    ):
        return False
    with suppress(Exception):  # as Django does
        request.close()
    if response is not None:
        response._resource_closers.clear()  # type: ignore[attr-defined]
        response.closed = True
    set_urlconf(None)
    return True


def _closes_only(response: HttpResponseBase, request: ASGIRequest) -> bool:
    closers = getattr(response, "_resource_closers", None)
    return type(response).close is HttpResponseBase.close and closers == [request.close]


def complete(response: HttpResponseBase, request: HttpRequest, handler: type) -> HttpResponseBase:
    """Return a response as Django's handler returns those of its middleware."""
    response._handler_class = handler  # type: ignore[attr-defined]
    response._resource_closers.append(request.close)  # type: ignore[attr-defined]
    return response


def get_asgi_application(handler: Callable[[], Any]) -> Any:
    """Return what Django's function of this name returns, with another handler than its own in it.

    Tools wrap that function: ddtrace puts an application of its own in front of the handler, without
    which nothing begins a trace.
    """
    made: list[Any] = []

    def make() -> Any:
        made.append(handler())
        return made[0]

    djangos: Any = django_asgi
    own = djangos.ASGIHandler
    djangos.ASGIHandler = make
    try:
        application = djangos.get_asgi_application()
    finally:
        djangos.ASGIHandler = own
    return application if made else handler()


def middleware_path(name: str | None) -> str:
    """Return for which entry of MIDDLEWARE Django adapts a handler, by the name it gives that."""
    prefix = "middleware "
    return name.removeprefix(prefix) if name and name.startswith(prefix) else ""


def wrapped_by_sentry(middleware: Any) -> Any:
    """Return the middleware that sentry-sdk has wrapped, None if it has not; read in 2.75."""
    init = getattr(type(middleware), "__init__", None)
    module = getattr(init, "__globals__", {}).get("__name__")
    if module != "sentry_sdk.integrations.django.middleware":
        return None
    return vars(middleware).get("_inner")


def spanned_by_sentry(wrapper: Any, call: Callable[..., Any]) -> Any:
    """Return an async function that calls `call` in the span of what sentry-sdk has wrapped.

    None if this is not the way in which the wrapper, in 2.75, calls async middleware.
    """
    acall = getattr(wrapper, "__acall__", None)
    code = getattr(acall, "__code__", None)
    if code is None or "_acall_method" not in code.co_names:
        return None
    wrapper._acall_method = call
    return acall


def mark_logged(response: HttpResponseBase) -> None:
    """Keep Django from logging a response as an error of the project."""
    response._has_been_logged = True  # type: ignore[attr-defined]


@cache
def _no_cache_closes() -> bool:
    backends = (import_string(options["BACKEND"]) for options in settings.CACHES.values())
    return all(backend.close is BaseCache.close for backend in backends)


@receiver(setting_changed)
def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "CACHES":
        _no_cache_closes.cache_clear()


async def fetch_user(request: Any) -> Any:
    """Return who sends `request`: whom ``request.user`` is or stands for, which then knows it, too.

    Django's own is fetched without a thread, unless a backend overrides only the synchronous half
    of how a user is got.
    """
    user = request.user
    if not isinstance(user, SimpleLazyObject):
        return user
    share_user(request)
    if hasattr(request, "auser") and _is_djangos(user) and not _gets_users_in_thread():
        user = await request.auser()
    elif vars(user)["_wrapped"] is empty:
        user = await sync_to_async(_evaluated)(user)
    else:
        user = _evaluated(user)
    share_user(request)
    return user


def _is_djangos(user: Any) -> bool:
    """Whether `AuthenticationMiddleware` has made it; what else is lazy need not be ``auser()``."""
    function = vars(user)["_setupfunc"]
    return getattr(function, "__module__", None) == "django.contrib.auth.middleware"


def _gets_users_in_thread() -> bool:
    return any(overridden(backend, ("get_user",)).sync for backend in auth.get_backends())


def _evaluated(user: Any) -> Any:
    bool(user)
    return vars(user)["_wrapped"]


def share_user(request: Any) -> None:
    """Let ``request.user`` and ``request.auser()`` know the user that one of them has fetched.

    Each has a cache of its own, and would ask the database again.
    """
    known = vars(request)
    for name, other in (("_cached_user", "_acached_user"), ("_acached_user", "_cached_user")):
        if name in known:
            known.setdefault(other, known[name])


def open_transaction(connections: Iterable[Any]) -> str | None:
    """Return the alias of the first connection in an ``atomic`` block, None if none is.

    Those that Django's `TestCase` has opened around a test do not count: they are never committed.
    """
    if not IS_CHECKED:
        return None
    for connection in connections:
        blocks = connection.atomic_blocks if connection.in_atomic_block else ()
        if not all(getattr(block, "_from_testcase", False) for block in blocks):
            return str(connection.alias)
    return None


CONNECTION_STATE = frozenset({
    "alias", "atomic_blocks", "autocommit", "client", "close_at", "closed_in_transaction",
    "commit_on_exit", "connection", "creation", "data_types", "errors_occurred",
    "execute_wrappers", "features", "health_check_done", "health_check_enabled", "in_atomic_block",
    "init_commands", "introspection", "isolation_level", "needs_rollback", "operators", "ops",
    "pattern_ops", "queries_log", "rollback_exc", "run_commit_hooks_on_set_autocommit_on",
    "run_on_commit", "savepoint_ids", "savepoint_state", "transaction_mode", "validation",
    "_named_cursor_idx", "_thread_ident", "_thread_sharing_count", "_thread_sharing_lock",
})  # fmt: skip
"""The attributes of a database connection that Django sets as it is used."""


def move_connection_here(connection: Any) -> None:
    """Have a database connection, which no other thread uses any more, belong to this one."""
    connection._thread_ident = get_ident()


def take_waiting_thread() -> Executor:
    """Return what runs code on the thread that waits, in `async_to_sync()`, for this asyncio task.

    The task's own thread-sensitive code runs where its `ThreadSensitive` says from now on.
    """
    executor = AsyncToSync.executors.current
    AsyncToSync.executors.current = None
    return cast("Executor", executor)
