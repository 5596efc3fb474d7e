"""`BackgroundTask`: the handle of one call that outlives the response."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import os
import threading
import time
import traceback
import weakref
from collections.abc import Awaitable, Callable, Generator, Hashable, Mapping
from concurrent.futures import Future
from contextvars import Context, ContextVar
from enum import StrEnum
from functools import partial
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from asgiref.sync import sync_to_async

from asyncviews.background.arguments import shown
from asyncviews.background.policy import Policy, is_async, policy_of
from asyncviews.threads import Lease

R = TypeVar("R")

logger = logging.getLogger("asyncviews.background")

_current: ContextVar[BackgroundTask[Any] | None] = ContextVar("asyncviews_task", default=None)
_waiters_lock = threading.Lock()


class State(StrEnum):
    """Where a background task is on its way."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed out"
    ABANDONED = "abandoned"
    """The process ended before it did."""
    RETRIED = "retried"
    """An attempt of a stored task failed, and the database holds when the next one is due."""


UNFINISHED = frozenset({State.QUEUED, State.RUNNING})

MAX_TRACEBACK = 8_000
"""Characters of a traceback that are remembered: its end, where the error is."""


class TaskTimedOut(TimeoutError):
    """An attempt took longer than the policy allows."""

    def __init__(self, seconds: float, *, stuck: bool) -> None:
        super().__init__(f"It did not end within {seconds:g} s.")
        self.stuck = stuck
        """Whether a thread is still busy with it."""


class TaskRetried(Exception):
    """An attempt has failed, which is the cause; the next one is not made by this runner."""


class Progress(NamedTuple):
    """How far a running task has come, as it says itself."""

    done: float
    total: float | None
    message: str


class TaskInfo(NamedTuple):
    """What is known of a background task at one moment; times are seconds since the epoch."""

    id: str
    name: str
    arguments: str
    origin: str | None
    state: State
    attempts: int
    priority: int
    created: float
    run_after: float | None
    started: float | None
    ended: float | None
    progress: Progress | None
    error: str | None
    """The last line of the exception's traceback, for one that failed."""
    traceback: str | None = None
    """The end of the traceback, at most `MAX_TRACEBACK` characters of it."""


class Owner(Protocol):
    """Who has accepted a task."""

    def cancel(self, task: BackgroundTask[Any], /) -> bool: ...


def current_task() -> BackgroundTask[Any] | None:
    """Return the background task in which this code runs, if it runs in one."""
    return _current.get()


def task_in(context: Context) -> BackgroundTask[Any] | None:
    """Return the background task that runs where `context` is the current one."""
    return context.get(_current)


def set_current_task(task: BackgroundTask[Any]) -> None:
    _current.set(task)


class BackgroundTask(Generic[R]):
    """A call that the runner has accepted. ``await task`` gives its result, from any event loop.

    Nobody has to keep the handle: the runner holds every task until it has ended.
    """

    __slots__ = (
        "__weakref__",
        "_args",
        "_arguments",
        "_asyncio_task",
        "_calls",
        "_cancel_requested",
        "_context",
        "_error",
        "_func",
        "_in_queue",
        "_kwargs",
        "_lease",
        "_loop",
        "_name",
        "_progress",
        "_result",
        "_state",
        "_stuck_on",
        "_thread",
        "_traceback",
        "_waiter",
        "abandoned",
        "attempts",
        "created",
        "ended",
        "id",
        "memo",
        "origin",
        "owner",
        "policy",
        "priority",
        "run_after",
        "started",
    )

    def __init__(  # noqa: PLR0913 - by keyword
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        task_id: str | None = None,
        origin: str | None = None,
        priority: int = 0,
        run_after: float | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.id = task_id or os.urandom(16).hex()
        self.origin = origin
        """The method and path of the request that started it, if one did."""
        self.priority = priority
        """Higher ones start first."""
        self.run_after = run_after
        """Seconds since the epoch before which it does not start."""
        self.policy = policy or policy_of(func)
        self.created = time.time()
        """Seconds since the epoch."""
        self.started: float | None = None
        self.ended: float | None = None
        self.attempts = 0
        """How often the function was called."""
        self.abandoned = False
        """Whether the process ends before it."""
        self.owner: Owner | None = None
        self.memo: Any = None
        """What the runner remembers with it after its end."""
        self._func: Callable[..., Any] = func
        self._args = args
        self._kwargs = kwargs or {}
        self._name: str | None = None
        self._arguments: str | None = None
        self._context = contextvars.copy_context()
        self._thread = threading.get_ident()
        self._state = State.QUEUED
        self._progress: Progress | None = None
        self._result: Any = None
        self._error: BaseException | None = None
        self._traceback: str | None = None
        self._waiter: Future[R] | None = None
        self._asyncio_task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lease: Lease | None = None
        self._calls: tuple[
            weakref.ref[Future[Any]], ...
        ] = ()  # on the lease, the last one at the end
        self._stuck_on: Future[Any] | None = None
        self._in_queue = False
        self._cancel_requested = False

    # What the caller may ask of it

    @property
    def name(self) -> str:
        if self._name is None:
            self._name = self.policy.name or qualified_name(self._func)
        return self._name

    @property
    def state(self) -> State:
        return self._state

    @property
    def invocation(self) -> tuple[Callable[..., Any], tuple[Any, ...], Mapping[str, Any]]:
        """The function, and the arguments that it is called with. Gone when the task has ended."""
        return self._func, self._args, self._kwargs

    def done(self) -> bool:
        """Return whether it has ended, in whatever way."""
        return self._state not in UNFINISHED

    def result(self) -> R:
        """Return what the function returned, or raise what it raised.

        Raises:
            asyncio.InvalidStateError: it has not ended yet.
            asyncio.CancelledError: it was cancelled, or abandoned.
            TimeoutError: it timed out.
        """
        if exception := self.exception():
            raise exception
        return self._result  # type: ignore[no-any-return]

    def exception(self) -> BaseException | None:
        """Return what the function raised, None if it succeeded.

        Raises:
            asyncio.InvalidStateError: it has not ended yet.
            asyncio.CancelledError: it was cancelled, or abandoned.
        """
        if not self.done():
            raise asyncio.InvalidStateError(f"{self!r} has not ended yet; await it.")
        if isinstance(self._error, asyncio.CancelledError):
            raise asyncio.CancelledError
        return self._error

    def cancel(self) -> bool:
        """Ask it to stop; False if it has ended already. Thread-safe.

        A waiting task never starts. A running one gets `asyncio.CancelledError` where it awaits;
        a synchronous function cannot be interrupted and goes on in its thread, unheard.
        """
        return self.owner.cancel(self) if self.owner is not None else False

    def __await__(self) -> Generator[Any, None, R]:
        if not self.done():
            # Shielded: whoever stops waiting does not stop the task.
            yield from asyncio.shield(asyncio.wrap_future(self.waiter())).__await__()
        return self.result()

    def info(self) -> TaskInfo:
        """Return what is known of it now, free of references to what it works with."""
        return TaskInfo(
            id=self.id,
            name=self.name,
            arguments=self.arguments(),
            origin=self.origin,
            state=self._state,
            attempts=self.attempts,
            priority=self.priority,
            created=self.created,
            run_after=self.run_after,
            started=self.started,
            ended=self.ended,
            progress=self._progress,
            error=_one_line(self._error),
            traceback=self._traceback,
        )

    def arguments(self) -> str:
        """Return its arguments as a reader may see them: shortened, and without its secrets."""
        if self._arguments is not None:
            return self._arguments
        return shown(
            self._func,
            self._args,
            self._kwargs,
            secrets=self.policy.secrets,
            leading=len(self.leading_arguments),
        )

    def log_fields(self) -> dict[str, Any]:
        """Return what log records of it carry besides their text."""
        return {
            "task_id": self.id,
            "task_name": self.name,
            "task_origin": self.origin,
            "task_attempt": self.attempts,
        }

    def __repr__(self) -> str:
        return f"<BackgroundTask {self.name} {self.id} {self._state}>"

    def __str__(self) -> str:
        return f"{self.name} ({self.id}{self._started_by()})"

    def _started_by(self) -> str:
        return f", started by {self.origin}" if self.origin else ""

    # What the function may say of itself

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Note how far it has come, for `info()`: `done` of `total`, in whatever it counts."""
        self._progress = Progress(done, total, message)

    # What the runner calls; a door of its own overrides these

    @property
    def limits(self) -> tuple[tuple[Hashable, int], ...]:
        """What it shares with others, and how many of them run at once."""
        if self.policy.max_running is None:
            return ()
        return ((getattr(self._func, "__func__", self._func), self.policy.max_running),)

    @property
    def leading_arguments(self) -> tuple[Any, ...]:
        """What the function is given before the arguments of the task."""
        return ()

    async def call(self, start_clock: Callable[[], None] | None) -> R:
        """Call the function, once; in its thread, `start_clock` is called just before."""
        arguments = self.leading_arguments + self._args
        begin = partial(self.begin, start_clock)
        return await _invoke(begin, self._func, arguments, self._kwargs)  # type: ignore[no-any-return]

    def begin(self, start_clock: Callable[[], None] | None) -> None:
        """Note that the function is called now, in the thread that calls it."""
        self.attempts += 1
        if start_clock is not None:
            start_clock()

    async def run(self, attempts: Callable[[], Awaitable[R]]) -> R:
        """Do what is done once for all attempts."""
        return await attempts()

    def on_end(self) -> None:
        """Hear that it has ended, from any thread."""

    def log_failure(self, exc: BaseException) -> None:
        """Log that it has raised `exc`, from where that is handled."""
        logger.error("Background task %s failed.", self, exc_info=exc, extra=self.log_fields())

    def log_cancelled(self) -> None:
        """Log that it was asked to stop, unless its process ends, which has been logged."""
        if not self.abandoned:
            when = "while it ran" if self.attempts else "before it was called"
            logger.info("Background task %s was cancelled %s.", self, when, extra=self.log_fields())

    def log_abandoned(self) -> None:
        """Log that the process ends before it."""
        ending = "is cut off" if self._state is State.RUNNING else "never starts"
        logger.error(
            "Background task %s %s: the process is shutting down.",
            self.full_text(),
            ending,
            extra=self.log_fields(),
        )

    def full_text(self) -> str:
        """Return what a reader needs who may have to repeat the call by hand."""
        arguments = f", with {arguments}" if (arguments := self.arguments()) else ""
        return f"{self.name} ({self.id}{self._started_by()}{arguments})"

    def end(self, state: State, result: Any = None, error: BaseException | None = None) -> None:
        """Record how it ended, and wake who awaits it."""
        self._result, self._error = result, error
        self.ended = time.time()
        with _waiters_lock:
            self._state = state
            waiter = self._waiter
        if waiter is not None:
            self._resolve(waiter)

    def describe(self, error: BaseException | None = None) -> None:
        """Make name, arguments and traceback outlast the function. The arguments' code may run."""
        self._name, self._arguments = self.name, self.arguments()
        if error is not None and not isinstance(error, asyncio.CancelledError):
            self._traceback = "".join(traceback.format_exception(error))[-MAX_TRACEBACK:]

    def let_go(self) -> None:
        """Drop what it worked with; who keeps the handle keeps the result only."""
        del self._func, self._args, self._kwargs, self._context, self._calls
        self._asyncio_task = self._loop = self._lease = self._stuck_on = None

    def waiter(self) -> Future[R]:
        """Return a future that gets the outcome."""
        with _waiters_lock:
            if self._waiter is None:
                self._waiter = Future()
                self._waiter.set_running_or_notify_cancel()
                ended = self._state not in UNFINISHED
            else:
                ended = False
            waiter = self._waiter
        if ended:
            self._resolve(waiter)
        return waiter

    def _resolve(self, waiter: Future[R]) -> None:
        if self._error is not None:
            waiter.set_exception(self._error)
        else:
            waiter.set_result(self._result)


async def _invoke(
    begin: Callable[[], None],
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Any:
    """Call any callable: a coroutine function here, another one on the task's thread."""
    if is_async(func):
        begin()
        return await func(*args, **kwargs)
    result = await sync_to_async(_call)(begin, func, args, kwargs)
    if inspect.isawaitable(result):  # a lambda around a coroutine function, say
        return await result
    return result


def _call(
    begin: Callable[[], None],
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Any:
    begin()
    return func(*args, **kwargs)


def qualified_name(func: Callable[..., Any]) -> str:
    """Return module and qualified name of any callable."""
    while isinstance(func, partial):
        func = func.func
    name = getattr(func, "__qualname__", type(func).__qualname__)
    owner = getattr(func, "__self__", func)  # what is built in has no module
    return f"{getattr(func, '__module__', None) or type(owner).__module__}.{name}"


def _one_line(error: BaseException | None) -> str | None:
    if error is None or isinstance(error, asyncio.CancelledError):
        return None
    text = str(error).partition("\n")[0]
    name = type(error).__qualname__
    return f"{name}: {text}" if text else name
