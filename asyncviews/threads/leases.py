"""Leases: what a request or a task has of a pool of threads."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from asyncviews.threads.calls import Call, Frame, Resume, Signal
from asyncviews.threads.places import NoThreadAvailable, Place, Resources, State

if TYPE_CHECKING:
    from asyncviews.threads.pool import Thread, ThreadPool

P = ParamSpec("P")
R = TypeVar("R")


class Lease(Executor):
    """An executor whose calls run in order, as long as that is needed on the same thread of a pool.

    It keeps nothing of a call that has ended: a lease lives as long as the contexts of everything
    that its request has started.
    """

    def __init__(self, pool: ThreadPool, *, keeps_thread: bool) -> None:
        self._pool = pool
        self._timer: tuple[asyncio.AbstractEventLoop, asyncio.TimerHandle] | None = None
        self._refusal: NoThreadAvailable | None = None
        self._calls: deque[Call | Resume] = deque()
        self._unfinished = 0
        self._active = False  # whether one of its calls runs
        self._frames: list[Frame] = []
        self._keeps_thread = keeps_thread
        self._set_up = False
        self._shared = False
        self._abandoned = False
        self._released = False
        self.arrives = False
        """Whether its next call is the first at its place."""
        self.thread: Thread | None = None
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
        call = Call(self, function, loop)
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
                self._put(Call(self, int))  # on the thread, one can see what is open
            else:
                thread, self.thread = self.thread, None
                self._pool.free(thread)

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
        """Let others have the place while the thread waits.

        To be entered in a call of the lease; elsewhere, as in a thread of the project's own that has
        this context, nothing happens.
        """
        thread = cast("Thread", threading.current_thread())
        if getattr(thread, "pool", None) is not self._pool:
            yield
            return
        state = thread.examine(self, waits=True)
        frame, resume = Frame(), Resume()
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

    @property
    def is_aside(self) -> bool:
        """Whether a thread waits `aside()` for what is behind it."""
        return bool(self._frames)

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

    def _put(self, call: Call) -> list[Call]:
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
            isinstance(call, Call) and call.future.cancelled() for call in self._calls
        ):
            self._pool.dequeue(self)
            self._unfinished -= len(self._calls)
            self._calls.clear()

    def refuse(self, error: NoThreadAvailable) -> list[Call]:
        """Take no more calls; return those that fail with `error`."""
        self._refusal = error
        refused = [call for call in self._calls if isinstance(call, Call)]
        self._calls.clear()
        self._unfinished -= len(refused)
        if self._released and not self._unfinished:
            self._end()
        return refused

    def begin(self, thread: Thread, place: Place) -> None:
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

    def pause(self, thread: Thread, state: State) -> Call | None:
        """A call has ended: return the next one, or rest until there is one, or end."""
        self._unfinished -= 1
        if self._calls and self._can_run:
            self.arrives = False
            return cast("Call", self._calls.popleft())
        self._active = False
        self._rest(thread, state)
        if self._released and not self._unfinished:
            self._end()
        return None

    def _rest(self, thread: Thread, state: State) -> None:
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
            thread.inbox.put(Signal.CLEAN)
        elif thread is not None:
            self._pool.free(thread)
        if home is not None:
            self._pool.vacated(home)

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
