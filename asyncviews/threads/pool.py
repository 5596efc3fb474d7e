"""The pool: its threads, its places, and who waits for them."""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from math import inf
from queue import Empty, SimpleQueue
from typing import TypeVar, cast

from asyncviews.threads.calls import Call, Signal
from asyncviews.threads.leases import Lease
from asyncviews.threads.places import NOTHING_OPEN, NoThreadAvailable, Place, Resources, State

R = TypeVar("R")

logger = logging.getLogger("asyncviews.threads")


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
        self._threads: set[Thread] = set()
        self._idle: list[Thread] = []  # the one that was used last at the end
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
            self._use(place, place.thread).inbox.put(Signal.PART)
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

    def _bare_thread(self) -> Thread | None:
        """Return an idle thread without a place, or a new one if there may be more."""
        for thread in reversed(self._idle):
            if thread.place is None:
                return thread
        if len(self._threads) >= self.limit() + self.max_waiting():
            return None
        thread = Thread(self, f"{self.name}-{next(self._numbers)}")
        thread.start()
        self._threads.add(thread)
        return thread

    def _use(self, place: Place, thread: Thread) -> Thread:
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

    def free(self, thread: Thread, *, kept: bool = False) -> None:
        """Let others have a thread's place, if it has one, and the thread unless it is `kept`."""
        place = thread.place
        if place is not None:
            if place.closing and not place.leases:
                thread.inbox.put(Signal.CLEAN)
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
            self._use(place, thread).inbox.put(Signal.CLEAN)
        elif place.thread is not None:
            self.dismiss(place.thread)

    def end(self, thread: Thread, place: Place | None) -> None:
        """End a thread that does not work; with it a place, if it can take that along."""
        if place is not None and place.free and place.thread is None and not place.leases:
            self._use(place, thread)
        thread.inbox.put(Signal.END)

    def dismiss(self, thread: Thread) -> None:
        """End an idle thread that retires, unless leases expect to come back to its place."""
        if thread.retiring and thread.idle and thread.may_end:
            thread.idle = False
            self._idle.remove(thread)
            thread.inbox.put(Signal.END)

    def remove(self, thread: Thread) -> list[Place]:
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


class Thread(threading.Thread):
    def __init__(self, pool: ThreadPool, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.pool = pool
        self.inbox: SimpleQueue[Call | Signal] = SimpleQueue()
        self.place: Place | None = None
        """The one with which it works, or has worked last."""
        self.idle = False
        self.retiring = False

    @property
    def may_end(self) -> bool:
        """Whether no lease expects to find something on it."""
        return self.place is None or not self.place.leases

    def run(self) -> None:
        while (item := self._next_item()) is not Signal.END:
            if isinstance(item, Call):
                self.work(item)
            elif item is Signal.PART:
                self._part()
            else:
                self._clean()
            del item  # the same; and an idle thread would keep it
        self._end()

    def _next_item(self) -> Call | Signal:
        while True:
            try:
                return self.inbox.get(timeout=self.pool.idle_timeout)
            except Empty:
                with self.pool.lock:
                    if self.idle and self.may_end and self.inbox.empty():
                        return Signal.END

    def work(self, call: Call) -> None:
        """Run a call, and those that its lease has after it.

        Others are let use what it leaves, and only then its result is told.

        Who hears of the result wants to run at once, and this thread would be in its way.
        """
        lease = call.lease
        following: Call | None = call
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
