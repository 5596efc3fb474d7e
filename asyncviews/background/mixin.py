"""`BackgroundTaskMixin`: work that a view starts and that outlives the response."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, ParamSpec, TypeVar, overload

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views import View

from asyncviews.background.runner import runner
from asyncviews.background.task import BackgroundTask

P = ParamSpec("P")
R = TypeVar("R")


class _Batch:
    """The tasks of one request. They are held until its response has been sent."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._held: deque[BackgroundTask[Any]] = deque()
        self._released = False

    def add(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> BackgroundTask[Any]:
        task = runner.accept(_task(func, args, kwargs, origin=self._origin))
        self._held.append(task)
        if self._released:  # a stream's end, or a task of this view that starts another
            self.release()
        return task

    def discard(self) -> None:
        while self._held:
            self._held.popleft().cancel()

    def release(self) -> None:
        self._released = True
        tasks = []
        while self._held:
            tasks.append(self._held.popleft())
        runner.start(tasks)

    def release_after(self, request: HttpRequest) -> None:
        """Release the tasks when `request` is closed.

        Every handler of Django's closes the request when the response has been sent, whichever
        response that is in the end. One that a cancelled request never closes, or that a test
        passes to the view itself, is released when it goes out of memory.
        """
        release = weakref.finalize(request, self.release)  # runs once, whoever calls it
        release.atexit = False
        request.close = partial(_close, weakref.ref(request), release)  # type: ignore[method-assign]


def _close(request: weakref.ref[HttpRequest], release: Callable[[], Any]) -> None:
    try:
        if (alive := request()) is not None:
            type(alive).close(alive)
    finally:
        release()


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
        """Call the handler; its tasks start after the response, and not at all if it raises."""
        batch = self._batch = _Batch(f"{request.method} {request.path}")
        try:
            response: HttpResponseBase = await super().handle(  # type: ignore[misc]
                request, *args, **kwargs
            )
        except BaseException:
            batch.discard()
            raise
        batch.release_after(request)
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

    Raises:
        BackgroundQueueFull: too much is waiting.
    """
    task = runner.accept(_task(func, args, kwargs))
    runner.start([task])
    return task


def _task(
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    origin: str | None = None,
) -> BackgroundTask[Any]:
    if not callable(func):
        raise TypeError(
            f"A background task is a function and its arguments, not {func!r}; pass "
            "`func, *args`, without calling it."
        )
    return BackgroundTask(func, args, kwargs, origin=origin)
