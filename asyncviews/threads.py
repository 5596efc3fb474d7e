"""Bounded pools of threads that outlive those who use them.

A `Lease` is an executor whose calls run on a thread of a pool, in order. An exclusive lease has its
thread to itself until it is shared or released. A shared one gives the thread to others between two
calls and prefers the same thread for the next; it keeps it during a database transaction, and comes
back to it while a query is half read. Afterwards the thread, with its database connections, is there
for the next lease.
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
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger("asyncviews.threads")


class NoThreadAvailable(BaseException):
    """All threads of a pool are in use, and too many leases wait for one, or this one too long.

    Like `asyncio.CancelledError` it is not an `Exception`: the server is busy, and the code that
    needed the thread has not failed. Django would log it as an error of the project and send mail.
    """


class _Call:
    """A function to run and the future that gets its result."""

    __slots__ = ("function", "future", "lease")

    def __init__(self, lease: Lease, function: Callable[[], Any]) -> None:
        self.lease = lease
        self.function = function
        self.future: Future[Any] = Future()

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            self.lease.call_ended()
            return
        try:
            result = self.function()
        except BaseException as exc:  # noqa: BLE001 - it belongs to who waits for the result
            self.lease.call_ended()
            self.future.set_exception(exc)
        else:
            self.lease.call_ended()
            self.future.set_result(result)

    def fail(self, error: NoThreadAvailable) -> None:
        self.lease.call_ended()
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


class _Signal(Enum):
    """What a thread gets from a lease instead of a call."""

    PAUSE = "other leases may use the thread until the next call"
    REST = "the lease keeps nothing on the thread any more, though calls may follow"
    END = "the lease is over"


class ThreadPool:
    """At most `limit()` threads, started when needed, ended after `idle_timeout` idle seconds.

    When all are in use, `max_waiting()` leases wait in order, each for `wait_timeout()` seconds at
    most. Threads are daemons: one that hangs does not keep the process from ending.

    These functions, which look after the database connections of a thread, run on it: `tidy` before
    the first call of a lease and after the last one, told whether other leases expect to find their
    connections open; `holds` tells whether the thread may serve nothing else before the lease's next
    call, `pins` whether that call must come to this thread; `leave` runs when the thread ends.
    """

    def __init__(  # noqa: PLR0913 - by keyword
        self,
        name: str,
        *,
        limit: Callable[[], int],
        tidy: Callable[[bool], None],
        leave: Callable[[], None],
        holds: Callable[[], bool] = lambda: False,
        pins: Callable[[], bool] = lambda: False,
        max_waiting: Callable[[], float] = lambda: inf,
        wait_timeout: Callable[[], float] = lambda: inf,
        idle_timeout: float = 60.0,
    ) -> None:
        self.name = name
        self.limit = limit
        self.tidy = tidy
        self.leave = leave
        self.holds = holds
        self.pins = pins
        self.max_waiting = max_waiting
        self.wait_timeout = wait_timeout
        self.idle_timeout = idle_timeout
        self.lock = threading.Lock()
        self.waiting = 0
        """How many leases wait for a thread."""
        self._threads: set[_Thread] = set()
        self._idle: list[_Thread] = []  # the one that was used last at the end
        self._waiting: deque[Lease] = deque()
        self._numbers = itertools.count(1)
        self._tickets = itertools.count()

    def lease(self, *, exclusive: bool) -> Lease:
        """Return an executor that takes a thread at its first call."""
        return Lease(self, exclusive=exclusive)

    @property
    def size(self) -> int:
        """How many threads there are."""
        return len(self._threads)

    @property
    def busy(self) -> int:
        """How many threads serve a lease."""
        return len(self._threads) - len(self._idle)

    def retire(self, *, timeout: float) -> None:
        """End every thread as its leases end, and wait up to `timeout` seconds for each.

        Later leases get new threads.
        """
        with self.lock:
            threads = list(self._threads)
            for thread in threads:
                thread.retiring = True
                self.dismiss(thread)
        for thread in threads:
            thread.join(timeout)

    # The caller of these holds the lock.

    def schedule(self, lease: Lease) -> None:
        """Have a thread serve a lease, now or when one is free.

        Raises:
            NoThreadAvailable: too many leases wait already.
        """
        lease.ticket = next(self._tickets)
        thread = self._thread_for(lease)
        if thread is None:
            self._wait(lease)
        else:
            lease.attach(thread)
            thread.inbox.put(lease)

    def _thread_for(self, lease: Lease) -> _Thread | None:
        """Return the best thread that is free or may be started: the lease's own, or a warm one."""
        own = lease.thread
        if own in self._idle and (lease.is_bound or not own.retiring):
            self._idle.remove(own)
            return own
        if lease.is_bound:
            return None
        free = [thread for thread in reversed(self._idle) if not thread.retiring]
        thread = next((thread for thread in free if not thread.pinned), None)
        if thread is None and len(self._threads) < self.limit():
            return self._start_thread()
        thread = thread or next(iter(free), None)
        if thread is not None:
            self._idle.remove(thread)
        return thread

    def _start_thread(self) -> _Thread:
        thread = _Thread(self, f"{self.name}-{next(self._numbers)}")
        thread.start()
        self._threads.add(thread)
        return thread

    def _wait(self, lease: Lease) -> None:
        queue = self._waiting
        if lease.is_bound and lease.thread is not None:
            queue = lease.thread.returning
        if lease.busy:  # else it only ends, and takes nobody's place
            if self.waiting >= self.max_waiting():
                raise NoThreadAvailable(
                    f"All {self.limit()} threads are in use, and {self.waiting} leases wait already."
                )
            self.waiting += 1
            lease.start_timer(self.wait_timeout(), self._give_up)
        lease.queue = queue
        queue.append(lease)

    def dequeue(self, lease: Lease) -> None:
        """Take a lease out of the queue in which it waits."""
        if lease.queue is not None:
            lease.queue.remove(lease)
            lease.queue = None
            if lease.busy:
                self.waiting -= 1
                lease.stop_timer()

    def take_waiting(self, thread: _Thread) -> Lease | None:
        """Return the lease that has waited longest for `thread` or, if it may be any, for one."""
        queues = [thread.returning] if thread.spoiled else [thread.returning, self._waiting]
        first = [queue[0] for queue in queues if queue]
        if not first:
            return None
        lease = min(first, key=lambda lease: lease.ticket)
        self.dequeue(lease)
        lease.attach(thread)
        return lease

    def dismiss(self, thread: _Thread) -> None:
        """End an idle thread that retires, unless leases expect to come back to it."""
        if thread.retiring and not thread.leases and thread in self._idle:
            self._idle.remove(thread)
            thread.inbox.put(None)

    def add_idle(self, thread: _Thread) -> None:
        self._idle.append(thread)

    def remove(self, thread: _Thread) -> None:
        """Forget a thread that ends, and start one in its place if leases wait for any."""
        self._threads.discard(thread)
        if thread in self._idle:
            self._idle.remove(thread)
        if self._waiting and len(self._threads) < self.limit():
            successor = self._start_thread()
            successor.inbox.put(self.take_waiting(successor))

    # Called by a timer.

    def _give_up(self, lease: Lease) -> None:
        error = NoThreadAvailable(f"None of {self.limit()} threads became free in time.")
        with self.lock:
            if lease.queue is None:
                return
            self.dequeue(lease)
            refused = lease.refuse(error)
        for call in refused:
            call.fail(error)


class Lease(Executor):
    """An executor whose calls run in order, as long as that is needed on the same thread of a pool.

    It keeps nothing of a call that has ended: a lease lives as long as the contexts of everything
    that its request has started.
    """

    def __init__(self, pool: ThreadPool, *, exclusive: bool) -> None:
        self._pool = pool
        self._exclusive = exclusive
        self._calls: SimpleQueue[_Call | _Signal] = SimpleQueue()
        self._unfinished = 0
        self._when_idle: list[Callable[[], None]] = []
        self._scheduled = False
        self._timer: tuple[asyncio.AbstractEventLoop, asyncio.TimerHandle] | None = None
        self._refusal: NoThreadAvailable | None = None
        self._abandoned = False
        self.released = False
        self.thread: _Thread | None = None
        self.arrives = False
        """Whether its next call is the first on its thread."""
        self.open = False
        """Whether its thread keeps connections open for it between calls."""
        self.pinned = False
        self.ticket = 0
        self.queue: deque[Lease] | None = None
        """The one in which it waits."""

    @property
    def busy(self) -> bool:
        """Whether a call runs or waits, perhaps one whose result nobody awaits any more."""
        return self._unfinished > 0

    def when_idle(self, callback: Callable[[], None]) -> None:
        """Call `callback` once all calls so far have ended, at once if they have; in any thread."""
        with self._pool.lock:
            if self._unfinished:
                self._when_idle.append(callback)
                return
        callback()

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Queue a call. Thread-safe.

        After the release, a call gets a thread for itself alone: it comes from a task that has
        outlived the request.

        The call fails with `NoThreadAvailable` when too many leases wait, or this one too long.
        """
        call = _Call(self, partial(fn, *args, **kwargs))
        with self._pool.lock:
            late, refused = self.released, []
            if not late:
                self._unfinished += 1
                refused = self._put(call)
        if late:
            return self._submit_late(call.function)
        for each in refused:
            each.fail(cast("NoThreadAvailable", self._refusal))
        return call.future

    def _submit_late(self, function: Callable[[], R]) -> Future[R]:
        lease = self._pool.lease(exclusive=True)
        future = lease.submit(function)
        lease.release()
        return future

    def share(self) -> None:
        """Let others use the thread from now on, between calls if more of them come."""
        with self._pool.lock:
            if self._exclusive:
                self._exclusive = False
                if self._scheduled:
                    self._calls.put(_Signal.REST)

    def abandon(self) -> None:
        """Stop waiting for a thread, or have the thread end with the lease.

        Its user was cut short: what it has left on the thread is in nobody's hands any more.
        """
        with self._pool.lock:
            self._abandoned = True
            self._withdraw()

    def release(self) -> None:
        """Give the thread back once the queued calls are done, without waiting for them."""
        with self._pool.lock:
            if self.released:
                return
            self.released = True
            self._withdraw()
            if self._scheduled or self.open:
                self._put(_Signal.END)

    # The caller of these holds the pool's lock.

    def _withdraw(self) -> None:
        """Leave the queue if nobody awaits the calls any more."""
        if self.queue is None or self.open:
            return
        items = [self._calls.get() for _ in range(self._calls.qsize())]
        wanted = [i for i in items if isinstance(i, _Call) and not i.future.cancelled()]
        if wanted:
            for item in items:
                self._calls.put(item)
        else:
            self._pool.dequeue(self)
            self._scheduled = False
            self._unfinished = 0

    @property
    def is_bound(self) -> bool:
        """Whether no thread but its own can serve it."""
        return self.open and (self.pinned or not self.busy)

    def refuse(self, error: NoThreadAvailable) -> list[_Call]:
        """Take no more calls; return those that fail with `error`."""
        self._refusal = error
        self._scheduled = False
        items = [self._calls.get() for _ in range(self._calls.qsize())]
        if self.released and self.open:
            self._put(_Signal.END)
        return [item for item in items if isinstance(item, _Call)]

    def _put(self, item: _Call | _Signal) -> list[_Call]:
        """Queue a call or signal; return the calls that are refused instead."""
        if self._refusal is not None and isinstance(item, _Call):
            return [item]
        self._calls.put(item)
        if not self._scheduled:
            self._scheduled = True
            try:
                self._pool.schedule(self)
            except NoThreadAvailable as exc:
                return self.refuse(exc)
        return []

    def attach(self, thread: _Thread) -> None:
        """Have a thread serve it next."""
        self.arrives = not self.open or self.thread is not thread
        if self.arrives:
            self.detach()
            self.thread = thread
            self.open = True
            thread.leases.add(self)

    def detach(self) -> None:
        """Have its thread keep nothing for it any more."""
        self._pin(False)
        if self.open and self.thread is not None:
            self.open = False
            self.thread.leases.discard(self)
            self.thread.untidy = True
            self._pool.dismiss(self.thread)

    def _pin(self, pinned: bool) -> None:
        if self.thread is not None:
            self.thread.pinned += pinned - self.pinned
        self.pinned = pinned

    def start_timer(self, seconds: float, give_up: Callable[[Lease], None]) -> None:
        """Have `give_up` called after some seconds; never where no event loop runs."""
        if seconds < inf:
            with suppress(RuntimeError):
                loop = asyncio.get_running_loop()
                self._timer = loop, loop.call_later(seconds, give_up, self)

    def stop_timer(self) -> None:
        if self._timer is not None:
            loop, timer = self._timer
            self._timer = None
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(timer.cancel)

    # Called on its thread.

    def next_call(self) -> _Call | _Signal:
        """Return what the thread does next; wait for that if the thread may serve nothing else."""
        resting = False
        while True:
            waits = self._exclusive or self._pool.holds()
            pinned = not waits and self._pool.pins()
            try:
                item = self._calls.get(block=waits)
            except Empty:
                if self._pause(pinned=pinned, resting=resting):
                    return _Signal.PAUSE
                continue
            if item is not _Signal.REST:
                return item
            resting = True

    def _pause(self, *, pinned: bool, resting: bool) -> bool:
        """Leave the thread to others until the next call, if that has not come meanwhile."""
        with self._pool.lock:
            if not self._calls.empty():
                return False
            self._scheduled = False
            if resting and not pinned:
                self.detach()
            else:
                self._pin(pinned)
            return True

    def call_ended(self) -> None:
        with self._pool.lock:
            self._unfinished -= 1
            callbacks: list[Callable[[], None]] = []
            if not self._unfinished:
                callbacks, self._when_idle = self._when_idle, callbacks
        for callback in callbacks:
            callback()

    def end(self) -> None:
        with self._pool.lock:
            self.detach()
            if self.thread is not None and self._abandoned and not self.thread.leases:
                self.thread.retiring = self.thread.spoiled = True


class _Thread(threading.Thread):
    def __init__(self, pool: ThreadPool, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.pool = pool
        self.inbox: SimpleQueue[Lease | None] = SimpleQueue()
        self.returning: deque[Lease] = deque()
        self.leases: set[Lease] = set()
        """Those that expect to find their connections open."""
        self.pinned = 0
        """How many of them must come back to it."""
        self.untidy = False
        self.retiring = False
        self.spoiled = False
        """Whether what was left on it must not be seen by another lease."""

    def run(self) -> None:
        lease = self.inbox.get()
        while lease is not None:
            self._serve(lease)
            del lease  # or an idle thread would keep it
            lease = self._next_lease()
        self._call_safely(self.pool.leave)

    def _serve(self, lease: Lease) -> None:
        if lease.arrives:
            self._tidy(shared=len(self.leases) > 1)
        while isinstance(call := lease.next_call(), _Call):
            call.run()
            del call
        if call is _Signal.END:
            lease.end()
        if self.untidy:
            self.untidy = False
            self._tidy(shared=bool(self.leases))

    def _tidy(self, *, shared: bool) -> None:
        self._call_safely(partial(self.pool.tidy, shared))

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
