"""Bounded pools of threads that outlive those who use them.

asgiref runs the thread-sensitive code of a context on one executor. A `Lease` is such an executor:
all its calls run on one thread of a pool, in order, and the thread with its database connections
is there for the next lease afterwards.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from enum import Enum
from functools import partial
from math import inf
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger("asyncviews.threads")


class NoThreadAvailable(RuntimeError):
    """All threads of a pool are leased, and too many wait already, or for too long."""


class _Call:
    """A function to run and the future that gets its result."""

    __slots__ = ("ended", "function", "future")

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.future: Future[Any] = Future()
        self.ended = False

    def run(self) -> None:
        if self.future.set_running_or_notify_cancel():
            try:
                result = self.function()
            except BaseException as exc:  # noqa: BLE001 - it belongs to who waits for the result
                self.ended = True
                self.future.set_exception(exc)
            else:
                self.ended = True
                self.future.set_result(result)
        self.ended = True

    def fail(self, error: Exception) -> None:
        self.ended = True
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


class _Signal(Enum):
    PAUSE = "the thread may serve others until the next call"
    END = "the lease is over"


class ThreadPool:
    """At most `limit()` threads, started when needed, ended after `idle_timeout` idle seconds.

    When all are leased, `max_waiting()` leases wait in order, each for `wait_timeout()` seconds
    at most. `tidy` runs on a thread at the beginning and at the end of each lease; it is told
    whether other leases, between two calls, expect to find their connections open. `leave` runs
    when a thread ends. Threads are daemons: one that hangs does not keep the process from ending.
    """

    def __init__(  # noqa: PLR0913 - by keyword
        self,
        name: str,
        *,
        limit: Callable[[], int],
        tidy: Callable[[bool], None],
        leave: Callable[[], None],
        max_waiting: Callable[[], float] = lambda: inf,
        wait_timeout: Callable[[], float] = lambda: inf,
        idle_timeout: float = 60.0,
    ) -> None:
        self.name = name
        self.limit = limit
        self.tidy = tidy
        self.leave = leave
        self.max_waiting = max_waiting
        self.wait_timeout = wait_timeout
        self.idle_timeout = idle_timeout
        self.lock = threading.Lock()
        self._threads: set[_Thread] = set()
        self._idle: list[_Thread] = []
        self._waiting: deque[Lease] = deque()
        self._numbers = itertools.count(1)
        self._tickets = itertools.count()

    def lease(self, *, exclusive: bool) -> Lease:
        """Return an executor that takes a thread at its first call.

        An exclusive lease has the thread to itself until it is released. Another one lets others
        use the thread between its calls, and comes back to the same one.
        """
        return Lease(self, exclusive=exclusive)

    @property
    def size(self) -> int:
        """How many threads there are."""
        return len(self._threads)

    @property
    def busy(self) -> int:
        """How many threads serve a lease."""
        return len(self._threads) - len(self._idle)

    @property
    def waiting(self) -> int:
        """How many leases wait for a thread."""
        return len(self._waiting) + sum(len(thread.returning) for thread in self._threads)

    def retire(self, *, timeout: float) -> None:
        """End every thread as its leases end, and wait up to `timeout` seconds for each.

        Later leases get new threads.
        """
        with self.lock:
            threads = list(self._threads)
            for thread in threads:
                thread.retiring = True
                if thread in self._idle and not thread.leases:
                    self._idle.remove(thread)
                    thread.inbox.put(None)
        for thread in threads:
            thread.join(timeout)

    # The caller of these holds the lock.

    def schedule(self, lease: Lease) -> None:
        lease.ticket = next(self._tickets)
        if lease.thread is not None and lease.thread not in self._idle:
            self._wait(lease, lease.thread.returning)
        elif lease.thread is not None:
            self._idle.remove(lease.thread)
            lease.thread.inbox.put(lease)
        elif self._idle:
            self._idle.pop().inbox.put(lease)
        elif len(self._threads) < self.limit():
            thread = _Thread(self, f"{self.name}-{next(self._numbers)}", lease)
            thread.start()
            self._threads.add(thread)
        else:
            self._wait(lease, self._waiting)

    def _wait(self, lease: Lease, queue: deque[Lease]) -> None:
        if lease.released and lease.thread is not None:  # it only ends
            queue.append(lease)
            return
        if self.waiting >= self.max_waiting():
            raise NoThreadAvailable(
                f"All {self.limit()} threads are in use, and {self.waiting} leases wait already."
            )
        queue.append(lease)
        timeout = self.wait_timeout()
        if timeout < inf:
            with suppress(RuntimeError):  # no event loop here
                loop = asyncio.get_running_loop()
                loop.call_later(timeout, self._give_up, lease, queue, lease.ticket)

    def _give_up(self, lease: Lease, queue: deque[Lease], ticket: int) -> None:
        with self.lock:
            if lease.ticket == ticket and lease in queue:
                queue.remove(lease)
                lease.refuse(
                    NoThreadAvailable(f"None of {self.limit()} threads became free in time.")
                )

    def take_waiting(self, thread: _Thread) -> Lease | None:
        """Return who has waited longest for `thread` or, having no thread yet, for any."""
        queues = [queue for queue in (thread.returning, self._waiting) if queue]
        return min(queues, key=lambda queue: queue[0].ticket).popleft() if queues else None

    def add_idle(self, thread: _Thread) -> None:
        self._idle.append(thread)

    def remove(self, thread: _Thread) -> None:
        self._threads.discard(thread)
        if thread in self._idle:
            self._idle.remove(thread)


class Lease(Executor):
    """An executor whose calls run on one and the same thread of a pool, in order."""

    def __init__(self, pool: ThreadPool, *, exclusive: bool) -> None:
        self._pool = pool
        self._exclusive = exclusive
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._last: _Call | None = None
        self._scheduled = False
        self.released = False
        self.refusal: NoThreadAvailable | None = None
        self.thread: _Thread | None = None
        self.ticket = 0

    @property
    def used(self) -> bool:
        """Whether anything was ever submitted."""
        return self._scheduled or self.thread is not None

    @property
    def busy(self) -> bool:
        """Whether a call runs or waits, perhaps one that nobody waits for any more."""
        return self._last is not None and not self._last.ended

    def when_idle(self, callback: Callable[[], None]) -> None:
        """Call `callback` once the last call so far has ended, at once if it has; in any thread."""
        if self._last is None:
            callback()
        else:
            self._last.future.add_done_callback(lambda _: callback())

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Queue a call. Thread-safe.

        After the release, a call gets a thread for itself alone: it comes from a task that has
        outlived the request.

        The call fails with `NoThreadAvailable` when too many leases wait, or this one too long.
        """
        call = _Call(partial(fn, *args, **kwargs))
        with self._pool.lock:
            if not self.released:
                self._last = call
                self._put(call)
                return call.future
        late = self._pool.lease(exclusive=True)
        future = late.submit(fn, *args, **kwargs)
        late.release()
        return future

    def share(self) -> None:
        """Let others use the thread between calls from now on."""
        with self._pool.lock:
            self._exclusive = False
            if self._scheduled:
                self._calls.put(_Call(lambda: None))  # wakes a thread that waits for a call

    def release(self) -> None:
        """Give the thread back once the queued calls are done, without waiting for them."""
        if self.released:
            return
        with self._pool.lock:
            self.released = True
            if self.used:
                self._put(None)

    def refuse(self, error: NoThreadAvailable) -> None:
        """Fail the queued calls, and all that come. The caller holds the pool's lock."""
        self.refusal = error
        self._scheduled = False
        while not self._calls.empty():
            if call := self._calls.get():
                call.fail(error)
        if self.released and self.thread is not None:
            self._put(None)

    def _put(self, call: _Call | None) -> None:
        if call is not None and self.refusal is not None:
            call.fail(self.refusal)
            return
        self._calls.put(call)
        if not self._scheduled:
            self._scheduled = True
            try:
                self._pool.schedule(self)
            except NoThreadAvailable as exc:
                self.refuse(exc)

    def next_call(self) -> _Call | _Signal:
        if self._exclusive:
            return self._calls.get() or _Signal.END
        with self._pool.lock:
            try:
                return self._calls.get_nowait() or _Signal.END
            except Empty:
                self._scheduled = False
                return _Signal.PAUSE


class _Thread(threading.Thread):
    def __init__(self, pool: ThreadPool, name: str, lease: Lease) -> None:
        super().__init__(name=name, daemon=True)
        self.pool = pool
        self.first = lease
        self.inbox: SimpleQueue[Lease | None] = SimpleQueue()
        self.returning: deque[Lease] = deque()
        self.leases = 0
        self.retiring = False

    def run(self) -> None:
        lease: Lease | None = self.first
        del self.first
        while lease is not None:
            self._serve(lease)
            del lease  # what its user left in it must not live until the next one comes
            lease = self._next_lease()
        self._call_safely(self.pool.leave)

    def _serve(self, lease: Lease) -> None:
        if lease.thread is None:
            self._tidy()
            lease.thread = self
            self.leases += 1
        while isinstance(call := lease.next_call(), _Call):
            call.run()
            del call
        if call is _Signal.END:
            self.leases -= 1
            self._tidy()

    def _tidy(self) -> None:
        self._call_safely(partial(self.pool.tidy, self.leases > 0))

    def _next_lease(self) -> Lease | None:
        """Return the next lease, or None when it is time for the thread to end."""
        with self.pool.lock:
            if lease := self.pool.take_waiting(self):
                return lease
            if self.retiring and not self.leases:
                self.pool.remove(self)
                return None
            self.pool.add_idle(self)
        while True:
            try:
                lease = self.inbox.get(timeout=self.pool.idle_timeout)
            except Empty:
                if not self._may_end():
                    continue
                return None
            if lease is None:
                with self.pool.lock:
                    self.pool.remove(self)
            return lease

    def _may_end(self) -> bool:
        with self.pool.lock:
            if self.leases or not self.inbox.empty():
                return False
            self.pool.remove(self)
            return True

    def _call_safely(self, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception:
            logger.exception("%s of thread %s failed", function, self.name)
