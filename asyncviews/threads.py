"""Bounded pools of threads that outlive those who use them.

A `Lease` is an executor whose calls run in order on threads of a pool. To run, a call needs a thread
and a *place*: the right to work, and the database connections that go with it. There are few places;
threads that only wait have none. Between two calls a lease keeps neither, unless something is open:
in a transaction it keeps both, and while a query is half read it comes back to the same place. A
request's lease, too, keeps its thread from its first call before the view to the response: middleware
may have left something in thread-locals.

A place stays with the thread that used it last. Only where a thread is kept without working do the
connections move to another.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from enum import Enum
from functools import partial
from math import inf
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger("asyncviews.threads")


class NoThreadAvailable(BaseException):
    """All threads of a pool are in use, and too many leases wait for one, or this one too long.

    Like `asyncio.CancelledError` it is not an `Exception`: the server is busy, and the code that
    needed the thread has not failed. Django would log it as an error of the project and send mail.
    """


class State(NamedTuple):
    """What a call has left open on its thread."""

    held: bool = False
    """Nothing else may run with these connections before the lease's next call."""
    set_up: bool = False
    """The same, until the lease is shared: what comes next relies on what was set there."""
    half_read: bool = False
    """The next call must find the same connections."""
    closing: bool = False
    """Something is to be closed when nobody expects to find it open any more."""


NOTHING_OPEN = State()


class Resources:
    """What a place has besides the right to work. Its methods are called on the place's thread."""

    def tidy(self, *, shared: bool) -> None:
        """Prepare for a new lease, or clean up after the last one.

        `shared` tells whether other leases expect to find open what they have opened.
        """

    def state(self) -> State:
        """Tell what the call that has just ended has left open."""
        return NOTHING_OPEN

    def reconfigured(self) -> bool:
        """Whether connections are set up otherwise than they were made."""
        return False

    def take(self) -> Any:
        """Take everything off this thread, and return it; that is never None."""
        return ()

    def put(self, taken: Any) -> None:
        """Have on this thread what `take()` has returned on another."""

    def renew(self) -> None:
        """Close everything, and begin as if it had just been made."""

    def close(self) -> None:
        """Close everything."""


class _Call:
    """A function to run, and the future that gets its result.

    With a loop that is a future of the loop's own, which is told what has become of the call by one
    wake-up, and has no lock for threads that might wait.
    """

    __slots__ = ("_error", "_function", "_loop", "_result", "future", "lease")

    def __init__(
        self,
        lease: Lease,
        function: Callable[[], Any],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.lease = lease
        self._function = function
        self._loop = loop
        self.future: Any = loop.create_future() if loop else Future()
        self._result: Any = None
        self._error: BaseException | None = None

    def deliver(self, thread: _Thread, executor: Executor | None) -> None:
        if executor is not None:
            executor.submit(thread.work, self)
        else:
            thread.inbox.put(self)

    def run(self) -> None:
        if self._loop is None:
            if not self.future.set_running_or_notify_cancel():
                return
        elif self.future.cancelled():
            return
        try:
            self._result = self._function()
        except BaseException as exc:  # noqa: BLE001 - it belongs to who waits for the result
            self._error = exc
            del self  # which leads to the error, whose traceback has this frame

    def tell(self) -> None:
        """Tell the result to who waits for it, and keep nothing of it."""
        result, error, self._result, self._error = self._result, self._error, None, None
        if self._loop is None:
            _settle(self.future, result, error)
        else:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(_settle, self.future, result, error)

    def fail(self, error: NoThreadAvailable) -> None:
        self._error = error
        self.tell()


def _settle(future: Any, result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if isinstance(error, StopIteration):  # which no future takes
        stopped, error = error, RuntimeError("The function raised StopIteration.")
        error.__cause__ = stopped
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


class _Resume:
    """A thread that has waited goes on with the call that it was in."""

    def __init__(self) -> None:
        self._go = threading.Lock()
        self._go.acquire()

    def deliver(self, thread: _Thread, executor: Executor | None) -> None:
        self._go.release()

    def wait(self) -> None:
        self._go.acquire()


class _Frame:
    """A call that waits in the middle, for what may need its thread meanwhile."""

    def __init__(self) -> None:
        self.executor: Executor | None = None
        """Runs calls on the waiting thread, while it can."""


class _Signal(Enum):
    """What a thread gets instead of a call."""

    CLEAN = "the last lease of the place is over, and something is to be closed"
    PART = "somebody waits for the place on another thread"
    END = "end"


class Place:
    """The right to work, and what goes with it."""

    __slots__ = ("closing", "free", "leases", "pinned", "returning", "spoiled", "taken", "thread")

    def __init__(self) -> None:
        self.thread: _Thread | None = None
        """The one that has its connections, or gets them next."""
        self.taken: Any = ()
        """They, while no thread has them."""
        self.free = True
        self.leases: set[Lease] = set()
        """Those that expect to find open what they have opened."""
        self.pinned = 0
        """How many of them must come back to it."""
        self.returning: deque[Lease] = deque()
        """Those of them that wait for it."""
        self.closing = False
        self.spoiled = False
        """Whether a request that was cut short has left its connections in who knows what state."""

    def suits(self, lease: Lease) -> bool:
        """Whether a lease can have it at once, on the thread that it keeps."""
        return lease.thread is None or self.thread is None or self.thread is lease.thread


class ThreadPool:
    """Threads of which at most `limit()` work; started when needed, ended after `idle_timeout` seconds.

    When all places are in use, `max_waiting()` leases wait in order, each for `wait_timeout()` seconds
    at most. As many threads more than places may be kept by leases. Threads are daemons: one that
    hangs does not keep the process from ending.
    """

    def __init__(  # noqa: PLR0913 - by keyword
        self,
        name: str,
        *,
        limit: Callable[[], int],
        resources: Resources,
        max_waiting: Callable[[], float] = lambda: inf,
        wait_timeout: Callable[[], float] = lambda: inf,
        idle_timeout: float = 60.0,
    ) -> None:
        self.name = name
        self.limit = limit
        self.resources = resources
        self.max_waiting = max_waiting
        self.wait_timeout = wait_timeout
        self.idle_timeout = idle_timeout
        self.lock = threading.Lock()
        self.waiting = 0
        """How many leases wait for a place."""
        self.busy = 0
        """How many places are in use."""
        self.reconfigured = False
        """Whether middleware was seen to set up connections for its request."""
        self._threads: set[_Thread] = set()
        self._idle: list[_Thread] = []  # the one that was used last at the end
        self._places: set[Place] = set()
        self._loose: list[Place] = []  # free, and no thread has their connections
        self._waiting: deque[Lease] = deque()
        self._waiting_on_threads: deque[Lease] = deque()
        self._numbers = itertools.count(1)
        self._tickets = itertools.count()

    def lease(self, *, keeps_thread: bool = False) -> Lease:
        """Return an executor that takes a thread at its first call."""
        return Lease(self, keeps_thread=keeps_thread)

    @property
    def size(self) -> int:
        """How many threads there are."""
        return len(self._threads)

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

    def start(self, lease: Lease) -> bool:
        """Have the first call of a lease run, if there are a place and a thread for it."""
        place = lease.place or self._free_place(lease)
        if place is None:
            return False
        thread = lease.thread or place.thread or self._bare_thread()
        if thread is None:
            return False
        if place.thread is not None and place.thread is not thread:
            self._use(place, place.thread).inbox.put(_Signal.PART)
            return False
        if place.free:
            self._use(place, thread)
        lease.begin(thread, place)
        return True

    def _free_place(self, lease: Lease) -> Place | None:
        """Return the best place that is free: the one it had last, one that fits its thread, a new one.

        Rather none to which another lease must come back.
        """
        home = lease.home
        if home is not None and lease.pinned:
            return home if home.free else None
        if home is not None and home.free and home.suits(lease):
            return home
        fallback = None
        for place in self._free_places():
            retires = place.thread is not None and place.thread.retiring
            if not (place.pinned or retires) and place.suits(lease):
                return place
            if fallback is None or (fallback.pinned and not place.pinned):
                fallback = place
        if len(self._places) < self.limit():
            place = Place()
            self._places.add(place)
            self._loose.append(place)
            return place
        return fallback

    def _free_places(self) -> Iterator[Place]:
        """Yield those of idle threads, then the others, those that were used last first."""
        for thread in reversed(self._idle):
            if thread.place is not None:
                yield thread.place
        yield from reversed(self._loose)

    def _bare_thread(self) -> _Thread | None:
        """Return an idle thread without a place, or a new one if there may be more."""
        for thread in reversed(self._idle):
            if thread.place is None:
                return thread
        if len(self._threads) >= self.limit() + self.max_waiting():
            return None
        thread = _Thread(self, f"{self.name}-{next(self._numbers)}")
        thread.start()
        self._threads.add(thread)
        return thread

    def _use(self, place: Place, thread: _Thread) -> _Thread:
        """Have a thread, which may be idle, new, or kept by a lease, work with a place."""
        place.free = False
        self.busy += 1
        if place.thread is None:
            self._loose.remove(place)
            place.thread, thread.place = thread, place
        if thread.idle:
            thread.idle = False
            self._idle.remove(thread)
        return thread

    def free(self, thread: _Thread, *, kept: bool = False) -> None:
        """Let others have a thread's place, if it has one, and the thread unless it is `kept`."""
        place = thread.place
        if place is not None:
            if place.closing and not place.leases:
                thread.inbox.put(_Signal.CLEAN)
                return
            place.free = True
            self.busy -= 1
            if place.taken is not None:
                place.thread = thread.place = None
                self._loose.append(place)
        if not kept:
            thread.idle = True
            self._idle.append(thread)
            self.dismiss(thread)
        self._dispatch(place)

    def vacated(self, place: Place) -> None:
        """Clean a place that a lease has left, if it was the last one and somebody must."""
        if not place.free or place.leases:
            return
        lost = place.thread is None and not self._threads
        if (place.closing or lost) and (thread := place.thread or self._bare_thread()):
            self._use(place, thread).inbox.put(_Signal.CLEAN)
        elif place.thread is not None:
            self.dismiss(place.thread)

    def end(self, thread: _Thread, place: Place | None) -> None:
        """End a thread that does not work; with it a place, if it can take that along."""
        if place is not None and place.free and place.thread is None and not place.leases:
            self._use(place, thread)
        thread.inbox.put(_Signal.END)

    def dismiss(self, thread: _Thread) -> None:
        """End an idle thread that retires, unless leases expect to come back to its place."""
        if thread.retiring and thread.idle and thread.may_end:
            thread.idle = False
            self._idle.remove(thread)
            thread.inbox.put(_Signal.END)

    def remove(self, thread: _Thread) -> list[Place]:
        """Forget a thread that ends; return the places that end with it, which it closes.

        That is its own, or one that no thread has; the last thread takes all of these with it.
        """
        self._threads.discard(thread)
        if thread.idle:
            thread.idle = False
            self._idle.remove(thread)
        unused = [place for place in self._loose if not place.leases]
        ends = [thread.place] if thread.place is not None else unused[:1]
        if not self._threads:
            ends = list({*ends, *unused})
        self._loose = [place for place in self._loose if place not in ends]
        for place in ends:
            self.busy -= not place.free
            self._places.discard(place)
            self._waiting.extend(place.returning)
            for lease in place.leases:
                lease.home, lease.pinned = None, False
                if lease.queue is place.returning:
                    lease.queue = self._waiting
        self._dispatch(None)
        return ends

    # Leases that wait.

    def wait(self, lease: Lease) -> None:
        """Have a lease wait for a place, or for a thread.

        Raises:
            NoThreadAvailable: too many wait already.
        """
        if self.waiting >= self.max_waiting():
            raise NoThreadAvailable(
                f"All {self.limit()} threads are in use, and {self.waiting} leases wait already."
            )
        lease.ticket = next(self._tickets)
        lease.queue = self._queue(lease)
        lease.queue.append(lease)
        self.waiting += 1
        lease.start_timer(self.wait_timeout(), self._give_up)

    def wait_first(self, lease: Lease) -> None:
        """Have a lease, whose thread waits to go on, be the next one that gets a place."""
        lease.ticket = -1
        lease.queue = self._queue(lease)
        lease.queue.appendleft(lease)
        self.waiting += 1

    def _queue(self, lease: Lease) -> deque[Lease]:
        if lease.pinned and lease.home is not None:
            return lease.home.returning
        return self._waiting_on_threads if lease.thread else self._waiting

    def dequeue(self, lease: Lease) -> None:
        """Take a lease out of the queue in which it waits."""
        if lease.queue is not None:
            lease.queue.remove(lease)
            lease.queue = None
            self.waiting -= 1
            lease.stop_timer()

    def _dispatch(self, place: Place | None) -> None:
        """Start those that wait and can start now; `place` is one that may be free."""
        returning = place.returning if place is not None else ()
        while self.waiting:
            queues = (self._waiting_on_threads, self._waiting, returning)
            heads = [queue[0] for queue in queues if queue]
            heads.sort(key=lambda lease: lease.ticket)
            started = next(filter(self.start, heads), None)
            if started is None:
                return
            self.dequeue(started)

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

    def __init__(self, pool: ThreadPool, *, keeps_thread: bool) -> None:
        self._pool = pool
        self._timer: tuple[asyncio.AbstractEventLoop, asyncio.TimerHandle] | None = None
        self._refusal: NoThreadAvailable | None = None
        self._calls: deque[_Call | _Resume] = deque()
        self._unfinished = 0
        self._active = False  # whether one of its calls runs
        self._frames: list[_Frame] = []
        self._keeps_thread = keeps_thread
        self._set_up = False
        self._shared = False
        self._abandoned = False
        self._released = False
        self.arrives = False
        """Whether its next call is the first at its place."""
        self.thread: _Thread | None = None
        """The one that it keeps."""
        self.place: Place | None = None
        """The one that it keeps."""
        self.home: Place | None = None
        """The one of its last call."""
        self.pinned = False
        """Whether it must come back there."""
        self.ticket = 0
        self.queue: deque[Lease] | None = None
        """The one in which it waits."""

    @property
    def busy(self) -> bool:
        """Whether a call runs or waits, perhaps one whose result nobody awaits any more."""
        return self._unfinished > 0

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Queue a call. Thread-safe.

        After the release each call is on its own: it comes from a task that has outlived the request.

        The call fails with `NoThreadAvailable` when too many leases wait, or this one too long.
        """
        return cast("Future[R]", self.call(partial(fn, *args, **kwargs)))

    def call(
        self, function: Callable[[], Any], loop: asyncio.AbstractEventLoop | None = None
    ) -> Any:
        """Queue a call as `submit()` does; return a future of a loop, if that is given."""
        call = _Call(self, function, loop)
        with self._pool.lock:
            late = self._released
            refused = [] if late else self._put(call)
        if late:
            lease = self._pool.lease()
            future = lease.call(function, loop)
            lease.release()
            return future
        for each in refused:
            each.fail(cast("NoThreadAvailable", self._refusal))
        return call.future

    def reach_view(self) -> None:
        """Keep no thread that was not kept so far: only middleware leaves things for later calls."""
        self._keeps_thread = False

    def share(self) -> None:
        """Keep nothing any more between calls but what is really open."""
        with self._pool.lock:
            self._shared = True
            if self.thread is None or self._active or self._frames:
                return
            if self.place is not None:
                self._put(_Call(self, int))  # on the thread, one can see what is open
            else:
                self._let_thread_go()

    def abandon(self) -> None:
        """Stop waiting for a place; have the kept thread, and connections, end with the lease.

        Its user was cut short: what it has left there is in nobody's hands any more.
        """
        with self._pool.lock:
            self._abandoned = True
            self._withdraw()

    def release(self) -> None:
        """Give everything back once the queued calls are done, without waiting for them."""
        with self._pool.lock:
            if not self._released:
                self._released = True
                self._withdraw()
                if not self._unfinished:
                    self._end()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Let others have the place while the thread waits; in a call of the lease, on its thread."""
        thread = cast("_Thread", threading.current_thread())
        state = thread.examine(self, waits=True)
        frame, resume = _Frame(), _Resume()
        with self._pool.lock:
            self._active = False
            self._frames.append(frame)
            self._rest(thread, state)
        try:
            yield
        finally:
            with self._pool.lock:
                self._frames.remove(frame)
                self._pool.dequeue(self)
                self._calls.appendleft(resume)
                if not self._pool.start(self):
                    self._pool.wait_first(self)
            resume.wait()
            thread.prepare(self)

    @contextmanager
    def behind(self, executor: Executor) -> Iterator[None]:
        """Have calls run on the thread that waits `aside()`, where `executor` runs them."""
        frame = self._frames[-1]
        with self._pool.lock:
            frame.executor = executor
            if self._calls and not self._active and self.queue is None:
                self._schedule()
        try:
            yield
        finally:
            with self._pool.lock:
                frame.executor = None
                self._pool.dequeue(self)

    def needs_thread(self, *, waits: bool) -> bool:
        """Whether it keeps the thread of a call that has ended, or waits."""
        if waits or self._frames:
            return True
        if self._shared or (self._released and not self._abandoned):
            return False
        return self._keeps_thread or self.thread is not None

    def needs_place(self, state: State) -> bool:
        """Whether it keeps the place, with what the call has left open there."""
        return state.held or (state.set_up and not self._shared)

    def judge(self, state: State, resources: Resources) -> State:
        """Add to what a call has left open what middleware and earlier calls have set up."""
        self._set_up |= state.set_up
        by_middleware = self._keeps_thread or self.thread is not None
        if self._keeps_thread and not self._pool.reconfigured and resources.reconfigured():
            self._pool.reconfigured = True
        if self._set_up or (by_middleware and self._pool.reconfigured):
            return state._replace(set_up=True)
        return state

    # The caller of these holds the pool's lock.

    @property
    def _can_run(self) -> bool:
        """Whether its thread, if it keeps one, does not wait in a call that takes no others."""
        return not self._frames or self._frames[-1].executor is not None

    def _put(self, call: _Call) -> list[_Call]:
        """Queue a call; return the calls that are refused instead."""
        if self._refusal is not None:
            return [call]
        self._unfinished += 1
        self._calls.append(call)
        if self._active or self.queue is not None or not self._can_run:
            return []
        try:
            self._schedule()
        except NoThreadAvailable as exc:
            return self.refuse(exc)
        return []

    def _schedule(self) -> None:
        if not self._pool.start(self):
            self._pool.wait(self)

    def _withdraw(self) -> None:
        """Leave the queue if nobody awaits the calls any more."""
        if self.queue is not None and all(
            isinstance(call, _Call) and call.future.cancelled() for call in self._calls
        ):
            self._pool.dequeue(self)
            self._unfinished -= len(self._calls)
            self._calls.clear()

    def refuse(self, error: NoThreadAvailable) -> list[_Call]:
        """Take no more calls; return those that fail with `error`."""
        self._refusal = error
        refused = [call for call in self._calls if isinstance(call, _Call)]
        self._calls.clear()
        self._unfinished -= len(refused)
        if self._released and not self._unfinished:
            self._end()
        return refused

    def begin(self, thread: _Thread, place: Place) -> None:
        """Have the first call run on a thread that works with a place."""
        self.arrives = self.home is not place
        if self.arrives:
            left = self._leave_home()
            self.home = place
            place.leases.add(self)
            if left is not None:
                self._pool.vacated(left)
        self._active = True
        executor = self._frames[-1].executor if self._frames else None
        self._calls.popleft().deliver(thread, executor)

    def pause(self, thread: _Thread, state: State) -> _Call | None:
        """A call has ended: return the next one, or rest until there is one, or end."""
        self._unfinished -= 1
        if self._calls and self._can_run:
            self.arrives = False
            return cast("_Call", self._calls.popleft())
        self._active = False
        self._rest(thread, state)
        if self._released and not self._unfinished:
            self._end()
        return None

    def _rest(self, thread: _Thread, state: State) -> None:
        """Keep what is needed for the next call, and let others have the rest."""
        home = cast("Place", self.home)
        home.closing = home.spoiled or state.closing
        self._pin(home, state.half_read)
        self.place = home if self.needs_place(state) else None
        keeps = self.place is not None or self.needs_thread(waits=False)
        self.thread = thread if keeps else None
        if self.place is None:
            self._pool.free(thread, kept=keeps)

    def _end(self) -> None:
        """Give back what it still keeps."""
        thread, place, self.thread, self.place = self.thread, self.place, None, None
        home = self._leave_home()
        if self._abandoned and home is not None:
            home.closing = home.spoiled = True
        if thread is not None and self._abandoned:
            self._pool.end(thread, home)
        elif place is not None and thread is not None:
            thread.inbox.put(_Signal.CLEAN)
        elif thread is not None:
            self._pool.free(thread)
        if home is not None:
            self._pool.vacated(home)

    def _let_thread_go(self) -> None:
        thread, self.thread = self.thread, None
        if thread is not None:
            self._pool.free(thread)

    def _leave_home(self) -> Place | None:
        place, self.home = self.home, None
        if place is not None:
            self._pin(place, False)
            place.leases.discard(self)
        return place

    def _pin(self, place: Place, pinned: bool) -> None:
        place.pinned += pinned - self.pinned
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


class _Thread(threading.Thread):
    def __init__(self, pool: ThreadPool, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.pool = pool
        self.inbox: SimpleQueue[_Call | _Signal] = SimpleQueue()
        self.place: Place | None = None
        """The one with which it works, or has worked last."""
        self.idle = False
        self.retiring = False

    @property
    def may_end(self) -> bool:
        """Whether no lease expects to find something on it."""
        return self.place is None or not self.place.leases

    def run(self) -> None:
        while (item := self._next_item()) is not _Signal.END:
            if isinstance(item, _Call):
                self.work(item)
            elif item is _Signal.PART:
                self._part()
            else:
                self._clean()
            del item  # the same; and an idle thread would keep it
        self._end()

    def _next_item(self) -> _Call | _Signal:
        while True:
            try:
                return self.inbox.get(timeout=self.pool.idle_timeout)
            except Empty:
                with self.pool.lock:
                    if self.idle and self.may_end and self.inbox.empty():
                        return _Signal.END

    def work(self, call: _Call) -> None:
        """Run a call, and those that its lease has after it.

        Others are let use what it leaves, and only then its result is told.

        Who hears of the result wants to run at once, and this thread would be in its way.
        """
        lease = call.lease
        following: _Call | None = call
        while following is not None:
            call = following
            self.prepare(lease)
            call.run()
            state = self.examine(lease)
            with self.pool.lock:
                following = lease.pause(self, state)
            call.tell()
            del call  # to which an error's traceback leads, and which leads to the error

    def prepare(self, lease: Lease) -> None:
        """Have the connections of its place here, fit for a lease."""
        place = self._put_on()
        if lease.arrives:
            self._tidy(shared=len(place.leases) > 1)

    def examine(self, lease: Lease, *, waits: bool = False) -> State:
        """Return what is open, and take the connections off if others are going to have them."""
        resources = self.pool.resources
        state = lease.judge(self._safely(resources.state) or NOTHING_OPEN, resources)
        if lease.needs_thread(waits=waits) and not lease.needs_place(state):
            cast("Place", self.place).taken = self._safely(resources.take)
        return state

    def _put_on(self) -> Place:
        place = cast("Place", self.place)
        taken, place.taken = place.taken, None
        if taken:
            self._safely(partial(self.pool.resources.put, taken))
        return place

    def _part(self) -> None:
        """Have another thread get the place."""
        self._put_on().taken = self._safely(self.pool.resources.take)
        with self.pool.lock:
            self.pool.free(self)

    def _clean(self) -> None:
        """Close what nobody needs any more."""
        place, resources = self._put_on(), self.pool.resources
        self._tidy(shared=bool(place.leases))
        if place.spoiled and not place.leases:
            self._safely(resources.close)
        elif place.leases and self.pool.reconfigured and resources.reconfigured():
            self._safely(resources.renew)
        with self.pool.lock:
            place.closing = place.spoiled = False
            self.pool.free(self)

    def _tidy(self, *, shared: bool) -> None:
        self._safely(partial(self.pool.resources.tidy, shared=shared))

    def _end(self) -> None:
        with self.pool.lock:
            ends = self.pool.remove(self)
        for place in ends:
            if place.taken:
                self._safely(partial(self.pool.resources.put, place.taken))
            self._safely(self.pool.resources.close)

    def _safely(self, function: Callable[[], R]) -> R | None:
        try:
            return function()
        except Exception:
            logger.exception("%s of thread %s failed", function, self.name)
            return None
