"""`BackgroundTaskMixin`: work that a view starts and that outlives the response."""

from __future__ import annotations

import warnings
import weakref
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from inspect import CO_ASYNC_GENERATOR, CO_GENERATOR
from typing import Any, ParamSpec, TypeVar, cast, overload

from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views import View

from asyncviews.background.policy import is_django_task
from asyncviews.background.runner import runner
from asyncviews.background.task import BackgroundTask, qualified_name
from asyncviews.internals import open_transaction
from asyncviews.text import printable

P = ParamSpec("P")
R = TypeVar("R")


class _AfterResponse:
    """Holds the tasks of a request's views, and starts them when the request is closed.

    Every handler of Django's closes the request when the response has been sent, whichever
    response that is in the end. One that a cancelled request never closes, or that a test passes
    to the view itself, counts as closed when it goes out of memory.

    It is the request's ``close()``, so that all views that a request reaches share it.
    """

    __slots__ = ("_held", "_watches", "is_over", "request")

    def __init__(self, request: HttpRequest) -> None:
        self.request = weakref.ref(request)
        self._held: deque[BackgroundTask[Any]] = deque()
        self._watches = False
        self.is_over = False

    @classmethod
    def of(cls, request: HttpRequest) -> _AfterResponse:
        close = vars(request).get("close")
        if isinstance(close, cls) and close.request() is request:  # not that of a copied request
            return close
        after = cls(request)
        request.close = after  # type: ignore[method-assign]
        return after

    def start(self, task: BackgroundTask[Any]) -> None:
        """Start an accepted task after the response, at once if that has been sent. Thread-safe."""
        request = self.request()
        self._held.append(task)
        if self.is_over or request is None:  # a task of the view that starts another, say
            self._release()
        elif not self._watches:
            self._watches = True
            weakref.finalize(request, self._release).atexit = False

    def __call__(self) -> None:
        try:
            if (request := self.request()) is not None:
                type(request).close(request)
        finally:
            self._release()

    def _release(self) -> None:
        self.is_over = True  # before the tasks are taken: start() looks in the opposite order
        tasks = []
        with suppress(IndexError):  # another thread may take the last one
            while self._held:
                tasks.append(self._held.popleft())
        if tasks:
            runner.start(tasks)


class _Batch:
    """The tasks that one call of a view adds."""

    __slots__ = ("_after", "_origin", "_tasks")

    def __init__(self, request: HttpRequest) -> None:
        self._origin = printable(f"{request.method} {request.path}")
        self._after = _AfterResponse.of(request)
        self._tasks: list[BackgroundTask[Any]] | None = []
        """Those that would be discarded."""

    def add(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> BackgroundTask[Any]:
        task = runner.accept(_task(func, args, kwargs, origin=self._origin))
        if (tasks := self._tasks) is not None:
            tasks.append(task)
        self._after.start(task)
        return task

    def keep(self) -> None:
        """Have all tasks start after the response, whatever comes."""
        self._tasks = None

    def discard(self) -> None:
        """Cancel the tasks so far; those that are added from now on are kept."""
        tasks, self._tasks = self._tasks or [], None
        if not self._after.is_over:
            for task in tasks:
                task.cancel()


class BackgroundTaskMixin:
    """Gives an `AsyncView` the method `add_background_task()`. It stands before the view."""

    _batch: _Batch | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        defining = [base for base in cls.__mro__ if "handle" in vars(base)]
        earlier = defining[: defining.index(BackgroundTaskMixin)]
        views = [base for base in earlier if issubclass(base, View)]
        if wrong := [base for base in views if not issubclass(base, BackgroundTaskMixin)]:
            raise ImproperlyConfigured(
                f"{cls.__qualname__}: BackgroundTaskMixin stands before {wrong[0].__qualname__} in "
                "the list of bases, as in `class Smoke(BackgroundTaskMixin, AsyncView)`."
            )

    async def handle(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Call the handler; its tasks start after the response, and not at all if it raises.

        Those that `handle_exception()` adds belong to its answer, and start after that.
        """
        batch = self._batch = _Batch(request)
        try:
            response: HttpResponseBase = await super().handle(  # type: ignore[misc]
                request, *args, **kwargs
            )
        except BaseException:
            batch.discard()
            raise
        batch.keep()
        return response

    @overload
    def add_background_task(
        self, func: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> BackgroundTask[R]: ...

    @overload
    def add_background_task(
        self, func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> BackgroundTask[R]: ...

    def add_background_task(
        self, func: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> BackgroundTask[Any]:
        """Call ``func(*args, **kwargs)`` once the response has been sent.

        `func` may be a coroutine function or a synchronous one, which then runs in a thread.

        Raises:
            BackgroundQueueFull: too much is waiting; unhandled, the client gets 503.
            RuntimeError: no handler of this view is being called.
        """
        if self._batch is None:
            raise RuntimeError(
                f"{type(self).__qualname__}.add_background_task() belongs into a handler of an "
                "AsyncView; elsewhere use asyncviews.add_background_task()."
            )
        return self._batch.add(func, args, kwargs)


@overload
def add_background_task(
    func: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
) -> BackgroundTask[R]: ...


@overload
def add_background_task(
    func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
) -> BackgroundTask[R]: ...


def add_background_task(
    func: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> BackgroundTask[Any]:
    """Call ``func(*args, **kwargs)`` in the background, from anywhere, at once.

    In a view, the method of `BackgroundTaskMixin` waits for the response; this does not.

    In a transaction of this thread it would not wait for the commit, and warns:
    ``transaction.on_commit(partial(add_background_task, func, ...))`` does, and after a rollback
    starts nothing.

    Raises:
        BackgroundQueueFull: too much is waiting.
    """
    _warn_in_transaction(func)
    task = runner.accept(_task(func, args, kwargs))
    runner.start([task])
    return task


def _warn_in_transaction(func: Callable[..., Any]) -> None:
    alias = open_transaction(connections.all(initialized_only=True))
    if alias is None:
        return
    name = qualified_name(func)
    using = "" if alias == DEFAULT_DB_ALIAS else f", using={alias!r}"
    warnings.warn(
        f"The background task {name} is added in a transaction of the database {alias!r}. It may "
        "start before the commit, and not find what that writes; a rollback does not stop it. "
        f"Write transaction.on_commit(partial(add_background_task, {name.rpartition('.')[2]}, ...)"
        f"{using}).",
        RuntimeWarning,
        stacklevel=3,
    )


def _task(
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    origin: str | None = None,
) -> BackgroundTask[Any]:
    if is_django_task(func):
        function = cast("Any", func).func
        name = function.__name__
        raise TypeError(
            f"{qualified_name(function)} is a task of django.tasks, and runs where TASKS says: "
            f"`await {name}.aenqueue(...)`, or `{name}.enqueue(...)` in synchronous code. To run "
            f"it as a background task of this process, pass its function, `{name}.func`."
        )
    if not callable(func):
        raise TypeError(
            f"A background task is a function and its arguments, not {func!r}; pass "
            "`func, *args`, without calling it."
        )
    if _generates(func):
        raise TypeError(
            f"{qualified_name(func)} is a generator function, of which a call runs nothing; pass a "
            "function that goes through it."
        )
    return BackgroundTask(func, args, kwargs, origin=origin)


def _generates(func: Callable[..., Any]) -> bool:
    while isinstance(func, partial):
        func = func.func
    code = getattr(func, "__code__", None)
    return code is not None and bool(code.co_flags & (CO_GENERATOR | CO_ASYNC_GENERATOR))
