"""The runner: every background task of this process, bounded, held, and drained at shutdown."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, ParamSpec, TypeVar, cast

from asyncviews.async_database import own_connections
from asyncviews.background.attempts import in_time, until_done
from asyncviews.background.history import History
from asyncviews.background.loop import LoopThread
from asyncviews.background.queue import Limits, Queue
from asyncviews.background.task import (
    UNFINISHED,
    BackgroundTask,
    State,
    TaskInfo,
    TaskRetried,
    TaskTimedOut,
    current_task,
    set_current_task,
)
from asyncviews.conf import get_settings
from asyncviews.connections import Connections
from asyncviews.internals import ThreadSensitive, move_locals_here, use_thread_of_loop
from asyncviews.problems import ServiceUnavailable
from asyncviews.telemetry import span_of, use_own_scope
from asyncviews.threads import ThreadPool

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger("asyncviews.background")

CANCEL_GRACE = 0.5
"""Seconds that cancelled tasks get to clean up after themselves."""

CLOCK_CHECK = 10.0
"""Seconds after which a timer for deferred tasks looks at the clock, which may have been set."""


class BackgroundQueueFull(ServiceUnavailable):
    """As many background tasks run and wait as the settings allow; this one was not accepted."""

    def __init__(self, detail: str = "Too many background tasks are waiting.") -> None:
        super().__init__(detail)


class BackgroundQueueClosed(BackgroundQueueFull):
    """The process is shutting down and accepts no more background tasks."""

    def __init__(self) -> None:
        super().__init__("The server is shutting down.")


class Stats(NamedTuple):
    """How many background tasks and threads there are in this process."""

    queued: int
    running: int
    ended: Mapping[State, int]
    """Since the process began."""
    threads: int
    threads_busy: int
    threads_stuck: int
    """Those that still work for a task that has ended without them; they are busy, too."""


class InTests:
    """What `asyncviews.testing` changes of a runner; nothing else does."""

    def __init__(self) -> None:
        self.eager = False
        """Tasks run only on an attached loop, and what is synchronous in them runs where the
        synchronous code of that loop does: on the thread, and the connections, of the test."""
        self.time_ahead = 0.0
        """Seconds by which the time of deferred tasks has been moved."""


class Runner:
    """Accepts, starts, and holds background tasks; there is one in each process.

    It works on the event loop that a lifespan attaches. Where no lifespan runs (WSGI, the test
    client, a management command) it has a loop in a thread of its own, drained at exit.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks: dict[str, BackgroundTask[Any]] = {}  # until they end; the oldest first
        self._inbox: SimpleQueue[BackgroundTask[Any]] = SimpleQueue()  # to be put into the queue
        self._queue = Queue()
        self._history = History()
        self._stuck: set[Future[Any]] = set()
        self._running = 0
        self._filling = False
        self._timer: asyncio.TimerHandle | None = None
        self._context = Context()
        """That of the process. Callbacks run in it, lest they keep the one of a request."""
        self._closed = False
        self.on_accept: list[Callable[[BackgroundTask[Any]], None]] = []
        """Called with each task that is accepted, in the thread that adds it."""
        self.in_tests = InTests()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = LoopThread(at_exit=self._drain_at_exit)
        self._thread_sensitive = ThreadSensitive(_TaskThread(self))
        self.threads = ThreadPool(
            "asyncviews-background",
            limit=lambda: get_settings().background_threads,
            resources=Connections(),
        )

    # To give it work

    def accept(self, task: BackgroundTask[R]) -> BackgroundTask[R]:
        """Let a task have a place; it does not run before `start()`. Thread-safe.

        Raises:
            BackgroundQueueFull: `max_running` + `max_waiting` tasks have not ended yet.
            BackgroundQueueClosed: the process is shutting down.
        """
        use_own_scope(task, task._context, self._context)
        with self._lock:
            if self._closed:
                raise BackgroundQueueClosed
            if self.room <= 0:
                raise BackgroundQueueFull
            self._tasks[task.id] = task
            task.owner = self
        for hear in self.on_accept:
            hear(task)
        return task

    def start(self, tasks: Iterable[BackgroundTask[Any]]) -> None:
        """Run accepted tasks as soon as it is their turn. Thread-safe, and without a lock.

        So it may be called from where an object is collected, whatever that interrupts.
        """
        for task in tasks:
            self._inbox.put(task)
        self._wake()

    def give_up(self, task: BackgroundTask[Any]) -> None:
        """Cancel an accepted task that will not be started. As `start()`, without a lock."""
        task._cancel_requested = True
        self.start([task])

    def cancel(self, task: BackgroundTask[Any]) -> bool:
        """Ask a task to stop; False if it has ended in another way. Thread-safe."""
        if task.done():
            return False
        task.describe()
        with self._lock:
            if task.done():
                return False
            task._cancel_requested = True
            waits = task._state is State.QUEUED
            loop = task._loop
            if waits:
                self._end(task, _stopped(task), error=asyncio.CancelledError())
                if task._in_queue:
                    self._queue.discard(task)
        if waits:
            task.log_cancelled()
            self._ended(task)
        elif loop is not None and _runs_here(loop):
            _cancel_running(task)  # at once: it may be about to take its last step
        elif loop is not None:
            loop.call_soon_threadsafe(_cancel_running, task)
        return True

    # To see what it does

    def tasks(self) -> list[TaskInfo]:
        """Return what is known of all tasks, the remembered ones that have ended first."""
        with self._lock:
            ended, unfinished = self._history.all(), list(self._tasks.values())
        return [*ended, *(task.info() for task in unfinished)]

    def history(self) -> list[TaskInfo]:
        """Return what is remembered of tasks that have ended, the one that ended first in front."""
        with self._lock:
            return self._history.all()

    def get(self, task_id: str) -> TaskInfo | None:
        """Return what is known of a task, None if it is not known or not remembered."""
        with self._lock:
            task, (ended, _) = self._tasks.get(task_id), self._history.get(task_id)
        return task.info() if task is not None else ended

    def memo(self, task_id: str) -> Any:
        """Return the memo of a task, None if it is not known or not remembered."""
        with self._lock:
            task, (_, memo) = self._tasks.get(task_id), self._history.get(task_id)
        return task.memo if task is not None else memo

    def task(self, task_id: str) -> BackgroundTask[Any] | None:
        """Return the handle of a task that has not ended yet."""
        return self._tasks.get(task_id)

    def stats(self) -> Stats:
        with self._lock:
            return Stats(
                queued=len(self._tasks) - self._running,
                running=self._running,
                ended={
                    state: self._history.counts[state] for state in State if state not in UNFINISHED
                },
                threads=self.threads.size,
                threads_busy=self.threads.busy,
                threads_stuck=len(self._stuck),
            )

    @property
    def room(self) -> int:
        """How many more tasks would be accepted."""
        settings = get_settings()
        return settings.max_running + settings.max_waiting - len(self._tasks)

    def time(self) -> float:
        """Return the time that deferred tasks go by, in seconds since the epoch."""
        return time.time() + self.in_tests.time_ahead

    def unfinished(self) -> list[BackgroundTask[Any]]:
        """Return the tasks that were accepted and have not ended, the oldest first."""
        with self._lock:
            return list(self._tasks.values())

    # Its life

    @contextmanager
    def attached(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Run tasks on `loop` for the length of a ``with`` block, which drains at its end.

        Within another such block they run on the loop of that again when this one has ended.
        """
        before = self._loop
        self._attach(loop)
        try:
            yield
        finally:
            if self._loop is loop:  # else this block had ended with its loop, unnoticed
                self._attach(None if before is None or before.is_closed() else before)

    def _attach(self, loop: asyncio.AbstractEventLoop | None) -> None:
        with self._lock:
            self._loop = loop
            self._context = Context() if loop is None else copy_context()
            self._closed = False
            self._filling = False
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        if self._tasks:
            self._wake()

    @property
    def is_attached(self) -> bool:
        """Whether a loop has been attached."""
        return self._loop is not None

    def advance(self, seconds: float) -> None:
        """Let deferred tasks believe that it is so much later; for tests."""
        self.in_tests.time_ahead += seconds
        self._wake()

    async def drain(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for all tasks that can start until then, abandon the rest.

        Until then tasks may add others; afterwards, until the loop is detached, none is accepted.
        """
        self.start(self.unfinished())  # those, too, whose response nobody closed
        due = self.time() + timeout
        await self.wait(timeout, lambda task: task.run_after is None or task.run_after < due)
        with self._lock:
            self._closed = True
        self.log_unfinished()
        for task in self.unfinished():
            task.abandoned = True
            task.cancel()
        await self.wait(CANCEL_GRACE, lambda task: True)
        for task in self.unfinished():
            logger.error(
                "Background task %s does not stop; it ends with the process.",
                task,
                extra=task.log_fields(),
            )
        self.threads.retire(timeout=0)

    def log_unfinished(self) -> None:
        """Log a line for each task that is not going to finish."""
        for task in self.unfinished():
            task.log_abandoned()

    def reset(self) -> None:
        """Forget everything; for a forked child, whose tasks run on in the parent."""
        self._loop_thread.forget()
        self.__init__()  # type: ignore[misc]

    async def wait(self, timeout: float, counts: Callable[[BackgroundTask[Any]], bool]) -> None:
        """Wait up to `timeout` seconds for the tasks that count, those added meanwhile included."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            waiters = [
                asyncio.wrap_future(task.waiter()) for task in self.unfinished() if counts(task)
            ]
            if not waiters:
                return
            for waiter in waiters:
                waiter.add_done_callback(lambda done: done.cancelled() or done.exception())
            await asyncio.wait(waiters, timeout=left)

    # How a task runs

    def _wake(self) -> None:
        """Have `_fill()` called soon on the event loop. Two calls at once do no harm."""
        loop = self._loop
        if self._filling or (self.in_tests.eager and loop is None):
            return
        self._filling = True
        context = self._context.copy()  # one for each call, which may be on two loops at once
        if loop is not None and _runs_here(loop):
            loop.call_soon(self._fill, context=context)
            return
        try:
            loop = loop or self._loop_thread.start()
            loop.call_soon_threadsafe(self._fill, context=context)
        except RuntimeError:  # it has been closed without a word
            self._loop = None
            self._loop_thread.start().call_soon_threadsafe(self._fill, context=context)

    def _fill(self) -> None:
        """Start waiting tasks while there is room."""
        self._filling = False  # first: whoever finds it so has put what is taken below
        if not self._is_its_loop():
            if self._tasks:
                self._wake()
            return
        self._empty_inbox()
        loop = asyncio.get_running_loop()
        now, limit = self.time(), get_settings().max_running
        tasks = []
        with self._lock:
            while self._running < limit and (task := self._queue.take(now)):
                task._state = State.RUNNING
                task._loop = loop
                self._running += 1
                tasks.append(task)
            self._set_timer(loop)
        for task in tasks:
            running = loop.create_task(self._run(task), name=task.id, context=task._context)
            running.add_done_callback(partial(self._check_ended, task))
            task._asyncio_task = running

    def _is_its_loop(self) -> bool:
        """Whether tasks belong on the running loop; it may have been left for another meanwhile."""
        if self._loop is None and self.in_tests.eager:
            return False
        loop = self._loop or self._loop_thread.loop
        return loop is not None and _runs_here(loop)

    def _empty_inbox(self) -> None:
        given_up = []
        with self._lock, suppress(Empty):
            while True:
                task = self._inbox.get_nowait()
                if task._state is not State.QUEUED or task._in_queue:
                    continue
                if task._cancel_requested:
                    given_up.append(task)
                else:
                    task._in_queue = True
                    self._queue.put(task)
        for task in given_up:
            self.cancel(task)

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (due := self._queue.next_due()) is not None:
            delay = min(max(due - self.time(), 0.001), CLOCK_CHECK)
            self._timer = loop.call_later(delay, self._fill)

    async def _run(self, task: BackgroundTask[Any]) -> None:
        try:
            if task._thread != threading.get_ident():
                move_locals_here(task._context)
            set_current_task(task)
            if self.in_tests.eager:
                use_thread_of_loop()
            else:
                self._thread_sensitive.activate()  # the request's threads have been given back
            if task._cancel_requested:
                raise asyncio.CancelledError  # noqa: TRY301 - as if it had come now
            task.started = time.time()
            with span_of(task):
                result = await task.run(partial(until_done, task, partial(self._attempt, task)))
        except asyncio.CancelledError:
            self._stop(task)
        except TaskTimedOut as exc:
            self._log_timeout(task, exc)
            self._finish(task, State.TIMED_OUT, error=exc)
        except TaskRetried as exc:
            self._finish(task, State.RETRIED, error=exc.__cause__)
        except BaseException as exc:
            task.log_failure(exc)
            self._finish(task, State.FAILED, error=exc)
            if isinstance(exc, KeyboardInterrupt):
                raise
        else:
            self._finish(task, State.SUCCEEDED, result)

    async def _attempt(self, task: BackgroundTask[R]) -> R:
        """Call the task's function once, in time, on a thread that no other attempt uses."""
        self._leave_thread(task)
        try:
            async with own_connections():
                return await in_time(
                    task.policy.timeout, task.call, lambda: bool(_running_call(task))
                )
        finally:
            self._leave_thread(task)

    def _leave_thread(self, task: BackgroundTask[Any]) -> None:
        """Give back the thread of an attempt, or of what comes before and after them."""
        lease, task._lease = task._lease, None
        if lease is None:
            return
        lease.release()
        if call := _running_call(task):  # until it ends, its thread counts as stuck
            task._stuck_on = call
            self._stuck.add(call)
            call.add_done_callback(self._stuck.discard)
        task._calls = ()

    def submit(
        self, task: BackgroundTask[Any], fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> Future[R]:
        """Run synchronous code of a task's present attempt on the thread of that."""
        if task.done():  # each call of what outlives its task has its own thread
            lease = self.threads.lease()
            lease.release()
            return lease.submit(fn, *args, **kwargs)
        if task._lease is None:
            task._lease = self.threads.lease()
        call = task._lease.submit(fn, *args, **kwargs)
        live = (ref for ref in task._calls if _is_live(ref))
        task._calls = (*live, weakref.ref(call))  # its result is not ours to keep
        return call

    def _log_timeout(self, task: BackgroundTask[Any], exc: TaskTimedOut) -> None:
        if exc.stuck:
            logger.error(
                "Background task %s timed out. Its thread cannot be stopped and goes on; of %s "
                "threads %s are stuck.",
                task, get_settings().background_threads, len(self._stuck),
                extra=task.log_fields(),
            )  # fmt: skip
        else:
            logger.error("Background task %s timed out. %s", task, exc, extra=task.log_fields())

    # How it ends

    def _finish(
        self,
        task: BackgroundTask[Any],
        state: State,
        result: Any = None,
        error: BaseException | None = None,
    ) -> None:
        self._leave_thread(task)
        task.describe(error)
        limits, stuck_on = task.limits, task._stuck_on
        with self._lock:
            self._running -= 1
            self._end(task, state, result, error)
        self._wake()
        self._ended(task)
        if limits and stuck_on is not None:
            stuck_on.add_done_callback(
                lambda _: self._release(limits)
            )  # the thread keeps its place
        elif limits:
            self._release(limits)

    def _release(self, limits: Limits) -> None:
        with self._lock:
            self._queue.release(limits)
        self._wake()

    def _end(
        self,
        task: BackgroundTask[Any],
        state: State,
        result: Any = None,
        error: BaseException | None = None,
    ) -> None:
        """Record the end of a task. The caller holds the lock."""
        task.end(state, result, error)
        del self._tasks[task.id]
        self._history.add(task.info(), task.memo)

    def _ended(self, task: BackgroundTask[Any]) -> None:
        """Tell of it. The caller holds no lock: what hears of it may be anybody's code."""
        try:
            task.on_end()
        except Exception:
            logger.exception(
                "The end of background task %s could not be told.", task, extra=task.log_fields()
            )
        task.let_go()

    def _check_ended(self, task: BackgroundTask[Any], running: asyncio.Task[None]) -> None:
        if not task.done():  # cancelled before its first step
            self._stop(task)

    def _stop(self, task: BackgroundTask[Any]) -> None:
        if task._cancel_requested:
            task.log_cancelled()
        else:
            logger.error(
                "Background task %s is cut off: its event loop ends.",
                task,
                extra=task.log_fields(),
            )
        self._finish(task, _stopped(task), error=asyncio.CancelledError())  # one without frames

    def _drain_at_exit(self, loop: asyncio.AbstractEventLoop) -> None:
        timeout = get_settings().drain_timeout
        if count := len(self._tasks):
            logger.info("Waiting up to %s s for %s background tasks.", timeout, count)
        drained = asyncio.run_coroutine_threadsafe(self.drain(timeout), loop)
        drained.result(timeout + 2 * CANCEL_GRACE)


class _TaskThread(Executor):
    """Runs the thread-sensitive calls of each background task on the task's own lease."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        task = cast("BackgroundTask[Any]", current_task())
        return self._runner.submit(task, fn, *args, **kwargs)


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _running_call(task: BackgroundTask[Any]) -> Future[Any] | None:
    """Return what a thread does for a task now; what only waits for a thread has been cancelled."""
    calls = (ref() for ref in task._calls)
    return next((call for call in calls if call is not None and call.running()), None)


def _is_live(ref: weakref.ref[Future[Any]]) -> bool:
    return (call := ref()) is not None and not call.done()


def _stopped(task: BackgroundTask[Any]) -> State:
    return State.ABANDONED if task.abandoned else State.CANCELLED


def _cancel_running(task: BackgroundTask[Any]) -> None:
    if task._asyncio_task is not None:
        task._asyncio_task.cancel()


runner = Runner()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=runner.reset)
