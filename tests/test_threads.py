"""Leases: threads and places in turn, bounded, back for the next one."""

from __future__ import annotations

import asyncio
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import pytest
from asgiref.sync import AsyncToSync, ThreadSensitiveContext, async_to_sync, sync_to_async

from asyncviews.threads import Lease, NoThreadAvailable, Resources, State, ThreadPool
from tests.conftest import until


class Recorder(Resources):
    """Has one number, as it were a connection, for each place."""

    def __init__(self) -> None:
        self.here = threading.local()
        self.tidied: list[tuple[int, bool]] = []
        self.closed: list[int] = []
        self.moves = 0
        self.made = 0
        self.leaves = State()
        """What a call leaves open."""
        self.is_reconfigured = False

    @property
    def number(self) -> int:
        found = getattr(self.here, "number", 0)
        if not found:
            self.made += 1
            found = self.here.number = self.made
        return found

    def tidy(self, *, shared: bool) -> None:
        self.tidied.append((self.number, shared))

    def state(self) -> State:
        return self.leaves

    def reconfigured(self) -> bool:
        return self.is_reconfigured

    def take(self) -> Any:
        self.moves += 1
        taken = dict(self.here.__dict__)
        self.here.__dict__.clear()
        return taken

    def put(self, taken: Any) -> None:
        assert self.here.__dict__ == {}
        self.here.__dict__.update(taken)

    def renew(self) -> None:
        self.close()

    def close(self) -> None:
        self.closed.append(self.here.__dict__.pop("number", 0))


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def pool(recorder) -> Iterator[ThreadPool]:
    pool = ThreadPool("test", limit=lambda: 2, resources=recorder)
    yield pool
    recorder.leaves = State()
    pool.retire(timeout=5)
    assert pool.size == 0
    assert pool.busy == 0


def here(lease: Lease) -> int:
    return lease.submit(threading.get_ident).result(5)


def number(lease: Lease) -> int:
    """Return which place the lease's next call has."""
    recorder: Any = lease._pool.resources
    return lease.submit(lambda: recorder.number).result(5)


class Blocked:
    """A call that stays on its thread until it is let go."""

    def __init__(self, lease: Lease):
        self.lease = lease
        self._go = threading.Event()
        self._began = threading.Event()
        self.future: Future[int] = lease.submit(self._block)

    def _block(self) -> int:
        self._began.set()
        assert self._go.wait(5)
        return threading.get_ident()

    def began(self) -> bool:
        return self._began.wait(5)

    def end(self) -> int:
        self._go.set()
        return self.future.result(5)


def blocks(pool: ThreadPool) -> Blocked:
    blocked = Blocked(pool.lease())
    assert blocked.began()
    return blocked


# Calls


def test_a_lease_without_calls_takes_no_thread(pool):
    lease = pool.lease()
    lease.release()
    assert pool.size == 0


def test_results_and_exceptions_come_back(pool):
    lease = pool.lease()
    assert lease.submit(pow, 2, exp=3).result(5) == 8
    with pytest.raises(ZeroDivisionError):
        lease.submit(lambda: 1 / 0).result(5)
    with pytest.raises(SystemExit):
        lease.submit(exit, 3).result(5)
    assert here(lease) != threading.get_ident()
    lease.release()


async def test_an_event_loop_may_have_a_future_of_its_own(pool):
    lease = pool.lease()
    loop = asyncio.get_running_loop()
    assert await lease.call(lambda: pow(2, 3), loop) == 8
    with pytest.raises(ZeroDivisionError):
        await lease.call(lambda: 1 / 0, loop)
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        await lease.call(lambda: next(iter(())), loop)
    lease.release()


def test_a_loop_that_is_closed_hears_of_nothing(pool):
    lease, go = pool.lease(), threading.Event()

    async def leave() -> None:
        lease.call(partial(go.wait, 5), asyncio.get_running_loop())

    asyncio.run(leave())
    go.set()
    assert here(lease)
    lease.release()


def test_the_calls_of_a_lease_run_in_order(pool):
    lease = pool.lease()
    blocked, order = Blocked(lease), []
    calls = [lease.submit(order.append, number) for number in range(10)]
    blocked.end()
    wait(calls, 5)
    assert order == list(range(10))
    lease.release()


def test_a_released_lease_does_the_calls_it_has(pool):
    lease = pool.lease()
    blocked = Blocked(lease)
    queued = lease.submit(threading.get_ident)
    lease.release()
    lease.release()
    assert blocked.end() == queued.result(5)


def test_a_call_after_the_release_is_on_its_own(pool):
    """It comes from a task that has outlived its request; nothing of it may stay behind."""
    lease = pool.lease(keeps_thread=True)
    here(lease)
    lease.release()
    blocked = Blocked(lease)
    assert blocked.began()
    other = pool.lease()
    assert here(other) != blocked.end()
    other.release()


@pytest.mark.parametrize("in_loop", [False, True])
async def test_a_cancelled_call_is_not_made(pool, in_loop):
    lease = pool.lease()
    blocked = Blocked(lease)
    called: list[int] = []
    loop = asyncio.get_running_loop() if in_loop else None
    call = lease.call(partial(called.append, 1), loop)
    assert call.cancel()
    blocked.end()
    here(lease)
    lease.release()
    assert called == []


def test_nothing_of_a_call_that_has_ended_is_kept(pool):
    class Payload:
        pass

    def echo(payload: Payload) -> Payload:
        return payload

    def fail(payload: Payload) -> None:
        raise ZeroDivisionError(payload)

    lease = pool.lease()
    payload = Payload()
    kept = weakref.ref(payload)
    lease.submit(echo, payload).result(5)
    with suppress(ZeroDivisionError):
        lease.submit(fail, payload).result(5)
    del payload
    here(lease)  # the thread has let go of the one before
    assert kept() is None
    lease.release()


async def test_it_is_an_executor_for_asgiref(pool):
    """Nested sync_to_async and async_to_sync stay on the thread, without a deadlock."""
    lease = pool.lease()
    ident = threading.get_ident

    async def inner() -> int:
        return await sync_to_async(ident)()

    async with ThreadSensitiveContext(executor=lease):
        thread = await sync_to_async(ident)()
        assert await sync_to_async(async_to_sync(inner))() == thread
        fanned_out = await asyncio.gather(*(sync_to_async(ident)() for _ in range(20)))
        assert set(fanned_out) == {thread}
    lease.release()


# Which thread, which place


def test_a_lease_has_the_same_thread_again_if_nobody_else_has_it(pool):
    leases = [pool.lease() for _ in range(2)]
    first = [here(lease) for lease in leases]
    assert first[0] == first[1]
    busy = blocks(pool)
    other = here(leases[0])
    assert other != first[0]
    busy.lease.release()
    busy.end()
    assert here(leases[0]) == other
    for lease in leases:
        lease.release()


def test_the_next_lease_has_the_thread_that_was_used_last(pool):
    both = [blocks(pool) for _ in range(2)]
    for blocked in both:
        blocked.lease.release()
    last = [blocked.end() for blocked in both][-1]
    time.sleep(0.05)
    lease = pool.lease()
    assert here(lease) == last
    lease.release()
    assert pool.size == 2


def test_a_request_keeps_the_thread_of_its_middleware_and_no_place(pool, recorder):
    pool.limit = lambda: 1
    local = threading.local()
    requests = [pool.lease(keeps_thread=True) for _ in range(5)]
    for user, lease in enumerate(requests):
        lease.submit(setattr, local, "user", user).result(5)
        lease.reach_view()
    assert pool.busy == 0
    assert pool.size == 5
    assert [lease.submit(getattr, local, "user").result(5) for lease in requests] == [*range(5)]
    assert recorder.made == 1
    for lease in requests:
        lease.release()


def test_but_not_that_of_its_view(pool):
    requests = [pool.lease(keeps_thread=True) for _ in range(5)]
    for lease in requests:
        lease.reach_view()
    assert len({here(lease) for lease in requests}) == 1
    for lease in requests:
        lease.release()


def test_a_kept_thread_gets_the_place_of_another_that_is_idle(pool, recorder):
    pool.limit = lambda: 1
    request = pool.lease(keeps_thread=True)
    thread = here(request)
    other = pool.lease()
    assert here(other) != thread
    assert here(request) == thread
    assert here(other) != thread
    assert recorder.made == 1
    request.release()
    other.release()


def test_a_request_that_shares_gives_its_thread_back(pool):
    pool.limit = lambda: 1
    request, other = pool.lease(keeps_thread=True), pool.lease()
    thread = here(request)
    request.share()
    assert here(other) == thread
    other.release()
    request.release()
    assert pool.size == 1


def test_there_are_as_many_kept_threads_as_may_wait(pool):
    pool.limit, pool.max_waiting = (lambda: 1), (lambda: 2)
    requests = [pool.lease(keeps_thread=True) for _ in range(4)]
    for lease in requests[:3]:
        here(lease)
    last = requests[3].submit(threading.get_ident)
    assert pool.waiting == 1
    thread = here(requests[0])
    requests[0].release()
    assert last.result(5) == thread
    for lease in requests:
        lease.release()


# What is open


def test_a_place_that_is_held_serves_nothing_else(pool, recorder):
    """As during a transaction."""
    pool.limit = lambda: 1
    recorder.leaves = State(held=True)
    lease, other = pool.lease(), pool.lease()
    thread = here(lease)
    waits = other.submit(threading.get_ident)
    assert here(lease) == thread
    assert not waits.done()
    recorder.leaves = State()
    assert here(lease) == thread
    assert waits.result(5)
    lease.release()
    other.release()


def test_a_held_place_is_cleaned_and_free_when_its_lease_ends(pool, recorder):
    pool.limit = lambda: 1
    recorder.leaves = State(held=True)
    lease, other = pool.lease(), pool.lease()
    here(lease)
    waits = other.submit(threading.get_ident)
    lease.release()
    assert waits.result(5)
    assert recorder.tidied[:2] == [(1, False), (1, False)]
    other.release()


def test_what_is_set_up_holds_the_place_until_the_lease_is_shared(pool, recorder):
    """As by ``SET ROLE``; by all calls that come, too."""
    pool.limit = lambda: 1
    recorder.leaves = State(set_up=True)
    lease, other = pool.lease(), pool.lease()
    thread = here(lease)
    recorder.leaves = State()
    waits = other.submit(threading.get_ident)
    assert here(lease) == thread
    assert not waits.done()
    lease.share()
    assert waits.result(5) == thread
    lease.release()
    other.release()


def test_once_middleware_has_reconfigured_connections_requests_hold_theirs(pool, recorder):
    """Those that find what is right for them, and change nothing, too."""
    pool.limit = lambda: 2
    early = pool.lease(keeps_thread=True)
    assert number(early) == 1
    recorder.is_reconfigured = True
    first = pool.lease(keeps_thread=True)
    assert number(first) == 1
    recorder.is_reconfigured = False
    second = pool.lease(keeps_thread=True)
    assert number(second) == 2
    waits = early.submit(lambda: recorder.number)
    assert not waits.done()
    recorder.is_reconfigured = True
    first.release()
    assert waits.result(5) == 3  # for others were at home there, the connections are new
    recorder.is_reconfigured = False
    second.release()
    early.release()


async def test_it_comes_back_to_its_place_while_something_there_is_half_read(pool, recorder):
    recorder.leaves = State(half_read=True)
    stream = pool.lease()
    own = number(stream)
    recorder.leaves = State()
    first, second = blocks(pool), blocks(pool)
    again = stream.submit(lambda: recorder.number)
    assert pool.waiting == 1
    first.lease.release()
    second.lease.release()
    first.end()
    second.end()
    assert again.result(5) == own
    stream.release()


async def test_others_rather_take_a_place_to_which_nobody_must_come_back(pool, recorder):
    recorder.leaves = State(half_read=True)
    stream = pool.lease()
    own = number(stream)
    recorder.leaves = State()
    other = pool.lease()
    assert number(other) != own
    other.release()
    assert number(stream) == own
    stream.release()


def test_a_place_is_tidied_for_each_lease_and_told_who_may_need_what_is_open(pool, recorder):
    pool.limit = lambda: 1
    one, two = pool.lease(), pool.lease()
    here(one)
    assert recorder.tidied == [(1, False)]
    here(two)
    here(one)
    assert recorder.tidied[1:] == [(1, True)]
    one.release()
    two.release()


@pytest.mark.parametrize("keeps", [False, True])
async def test_what_must_be_closed_is_when_the_last_lease_ends(pool, recorder, keeps):
    pool.limit = lambda: 1
    recorder.leaves = State(closing=True)
    one, two = pool.lease(keeps_thread=keeps), pool.lease(keeps_thread=keeps)
    here(one)
    here(two)
    one.release()
    await asyncio.sleep(0.02)
    assert recorder.tidied[2:] == []
    two.release()
    await until(lambda: recorder.tidied[2:] == [(1, False)])
    assert recorder.closed == []


def test_nothing_wakes_the_thread_where_nothing_is_to_be_closed(pool, recorder):
    lease = pool.lease()
    here(lease)
    lease.release()
    time.sleep(0.02)
    assert len(recorder.tidied) == 1


def test_a_tidy_that_fails_is_logged_and_the_thread_lives(pool, recorder, caplog):
    recorder.tidy = lambda *, shared: 1 / 0
    lease = pool.lease()
    assert here(lease)
    lease.release()
    pool.retire(timeout=5)
    assert "ZeroDivisionError" in caplog.text


# Threads that wait in the middle of a call


class Middleware:
    """Waits aside for what is behind it, which may have calls."""

    def __init__(self, lease: Lease):
        self.lease = lease
        self.loop = asyncio.get_running_loop()
        self.places: list[int] = []
        self.threads: list[int] = []

    def note(self) -> None:
        self.places.append(self.lease._pool.resources.number)  # type: ignore[attr-defined]
        self.threads.append(threading.get_ident())

    def call(self, view: Callable[[], Any]) -> Any:
        async def behind() -> Any:
            executor, AsyncToSync.executors.current = AsyncToSync.executors.current, None
            with self.lease.behind(executor):
                return await view()

        self.note()
        with self.lease.aside():
            result = async_to_sync(behind)()
        self.note()
        return result

    async def around(self, view: Callable[[], Any]) -> Any:
        return await sync_to_async(self.call, thread_sensitive=False, executor=self.lease)(view)  # type: ignore[arg-type]


async def test_a_thread_that_waits_aside_has_no_place(pool, recorder):
    pool.limit = lambda: 1
    entered, go = asyncio.Semaphore(0), asyncio.Event()

    async def view() -> str:
        entered.release()
        await go.wait()
        return "seen"

    requests = [Middleware(pool.lease(keeps_thread=True)) for _ in range(20)]
    answers = [asyncio.create_task(each.around(view)) for each in requests]
    for _ in requests:
        await entered.acquire()
    assert pool.busy == 0
    go.set()
    assert await asyncio.gather(*answers) == ["seen"] * 20
    assert recorder.made == 1
    for each in requests:
        assert len(set(each.threads)) == 1
        each.lease.release()


async def test_calls_behind_it_run_on_its_thread_with_a_place(pool, recorder):
    pool.limit = lambda: 1
    requests = [Middleware(pool.lease(keeps_thread=True)) for _ in range(10)]

    def view_of(each: Middleware) -> Callable[[], Any]:
        async def view() -> None:
            for _ in range(3):
                await asyncio.wrap_future(each.lease.submit(each.note))
                await asyncio.sleep(0.001)

        return view

    await asyncio.gather(*(each.around(view_of(each)) for each in requests))
    for each in requests:
        assert len(each.threads) == 5
        assert len(set(each.threads)) == 1
        assert set(each.places) == {1}
        each.lease.release()
    assert recorder.made == 1


async def test_calls_behind_it_may_come_all_at_once(pool):
    request = Middleware(pool.lease(keeps_thread=True))

    async def view() -> None:
        calls = [request.lease.submit(request.note) for _ in range(10)]
        await asyncio.gather(*map(asyncio.wrap_future, calls))

    async with asyncio.timeout(5):
        await request.around(view)
    assert len(request.threads) == 12
    assert len(set(request.threads)) == 1
    request.lease.release()


async def test_middleware_may_stand_behind_middleware(pool):
    outer = Middleware(pool.lease(keeps_thread=True))
    inner = Middleware(outer.lease)

    async def view() -> int:
        return await asyncio.wrap_future(outer.lease.submit(threading.get_ident))

    thread = await outer.around(lambda: inner.around(view))
    assert {thread} == {*outer.threads, *inner.threads}
    outer.lease.release()


async def test_a_thread_that_waits_in_a_transaction_keeps_its_place(pool, recorder):
    pool.limit = lambda: 1
    recorder.leaves = State(held=True)
    request, other = Middleware(pool.lease(keeps_thread=True)), pool.lease()

    async def view() -> None:
        waits = other.submit(threading.get_ident)
        await asyncio.wrap_future(request.lease.submit(request.note))
        await asyncio.sleep(0.02)
        assert not waits.done()

    await request.around(view)
    assert set(request.places) == {1}
    recorder.leaves = State()
    await asyncio.wrap_future(request.lease.submit(request.note))
    await until(lambda: pool.busy == 0)
    request.lease.release()
    other.release()


async def test_what_is_called_when_nothing_waits_any_more_runs_afterwards(pool):
    """As by a task that the view has left behind."""
    request = Middleware(pool.lease(keeps_thread=True))
    left: list[asyncio.Future[int]] = []

    def call() -> Any:
        with request.lease.aside():
            future = asyncio.run_coroutine_threadsafe(view(), request.loop)
            return future.result(5)

    async def view() -> None:
        left.append(asyncio.wrap_future(request.lease.submit(threading.get_ident)))

    async with asyncio.timeout(5):
        await asyncio.wrap_future(request.lease.submit(call))
        assert await left[0]
    request.lease.release()


# Who waits


def test_more_leases_than_places_wait_in_order(pool):
    holders = [blocks(pool) for _ in range(2)]
    order: list[int] = []
    waiting = [pool.lease() for _ in range(4)]
    futures = [lease.submit(order.append, number) for number, lease in enumerate(waiting)]
    for lease in waiting:
        lease.release()
    assert pool.waiting == 4
    assert pool.busy == 2
    holders[0].end()
    wait(futures, timeout=5)
    assert order == [0, 1, 2, 3]
    holders[1].end()
    for holder in holders:
        holder.lease.release()


async def test_when_too_many_wait_the_next_is_refused_and_the_others_go_on(pool):
    pool.limit, pool.max_waiting = lambda: 1, lambda: 1
    blocked = blocks(pool)
    waits, refused = pool.lease(), pool.lease()
    waiting = waits.submit(threading.get_ident)
    assert pool.waiting == 1
    with pytest.raises(NoThreadAvailable, match="All 1 threads are in use, and 1 leases wait"):
        here(refused)
    with pytest.raises(NoThreadAvailable):
        here(refused)
    blocked.lease.release()
    assert blocked.end() == waiting.result(5)
    waits.release()
    with pytest.raises(NoThreadAvailable):  # not a second answer
        here(refused)
    refused.release()


async def test_whoever_waits_too_long_is_refused(pool):
    pool.limit, pool.wait_timeout = lambda: 1, lambda: 0.02
    blocked = blocks(pool)
    lease = pool.lease()
    calls = [asyncio.wrap_future(lease.submit(threading.get_ident)) for _ in range(3)]
    calls[1].cancel()
    refused = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in refused] == [
        NoThreadAvailable,
        asyncio.CancelledError,
        NoThreadAvailable,
    ]
    assert pool.waiting == 0
    blocked.lease.release()
    blocked.end()
    lease.release()


async def test_a_lease_that_cannot_come_back_is_refused_and_still_ends(pool, recorder):
    pool.limit, pool.wait_timeout = lambda: 1, lambda: 0.02
    recorder.leaves = State(half_read=True)
    stream = pool.lease()
    here(stream)
    recorder.leaves = State()
    blocked = blocks(pool)
    again = asyncio.wrap_future(stream.submit(threading.get_ident))
    with pytest.raises(NoThreadAvailable):
        await again
    stream.release()
    blocked.lease.release()
    blocked.end()
    # The fixture waits for the thread, which does not end before its leases have.


async def test_a_lease_whose_calls_are_all_cancelled_leaves_the_queue(pool):
    """A client that has left must not keep others from a place."""
    pool.limit, pool.max_waiting = (lambda: 1), (lambda: 1)
    blocked = blocks(pool)
    gone, patient = pool.lease(), pool.lease()
    assert gone.submit(threading.get_ident).cancel()
    gone.release()
    assert pool.waiting == 0
    waits = patient.submit(threading.get_ident)
    blocked.lease.release()
    assert blocked.end() == waits.result(5)
    patient.release()


async def test_the_timer_of_a_lease_that_has_waited_is_gone(pool):
    pool.limit, pool.wait_timeout = (lambda: 1), (lambda: 30.0)
    loop: Any = asyncio.get_running_loop()
    blocked = blocks(pool)
    lease = pool.lease()
    waits = asyncio.wrap_future(lease.submit(threading.get_ident))
    timers = [timer for timer in loop._scheduled if timer._args == (lease,)]
    assert len(timers) == 1
    blocked.lease.release()
    blocked.end()
    await waits
    await until(timers[0].cancelled)
    lease.release()


# The end of threads


async def test_idle_threads_end_and_close_what_they_have(pool, recorder):
    pool.idle_timeout = 0.01
    lease = pool.lease()
    here(lease)
    lease.release()
    await until(lambda: recorder.closed == [1])
    assert pool.size == 0


async def test_and_what_no_thread_has(pool, recorder):
    pool.idle_timeout = 0.05
    with ExitStack() as leases:
        for _ in range(2):
            lease = pool.lease(keeps_thread=True)
            leases.callback(lease.release)
            here(lease)
    await until(lambda: pool.size == 0)
    assert recorder.closed == [1]


async def test_a_thread_that_a_lease_comes_back_to_does_not_end(pool):
    pool.idle_timeout = 0.01
    lease = pool.lease()
    thread = here(lease)
    await asyncio.sleep(0.05)
    assert here(lease) == thread
    lease.release()


async def test_retiring_ends_busy_threads_when_their_lease_ends(pool, recorder):
    lease, idle = pool.lease(), pool.lease()
    blocked = Blocked(lease)
    assert blocked.began()
    here(idle)
    idle.release()
    pool.retire(timeout=0.05)
    assert pool.size == 1
    after = pool.lease()
    assert here(after) != blocked.end()
    after.release()
    lease.release()
    pool.retire(timeout=5)
    assert sorted(recorder.closed) == [1, 2, 3]


def test_threads_that_retire_serve_those_that_wait_already(pool):
    pool.limit = lambda: 1
    blocked = blocks(pool)
    waits = pool.lease()
    waiting = waits.submit(threading.get_ident)
    waits.release()
    pool.retire(timeout=0)
    blocked.end()
    assert waiting.result(5)
    blocked.lease.release()


@pytest.mark.parametrize("open_there", [State(), State(held=True)])
async def test_an_abandoned_lease_takes_the_thread_it_has_kept_with_it(pool, recorder, open_there):
    """With whatever a request that was cut short has left in its thread-locals."""
    pool.limit = lambda: 1
    lease, other = pool.lease(keeps_thread=True), pool.lease()
    local = threading.local()
    recorder.leaves = open_there
    lease.submit(setattr, local, "user", "one").result(5)
    recorder.leaves = State()
    lease.abandon()
    lease.release()
    assert other.submit(getattr, local, "user", "nobody").result(5) == "nobody"
    await until(lambda: recorder.closed == [1])
    other.release()


async def test_and_one_that_has_kept_none_its_connections(pool, recorder):
    pool.limit = lambda: 1
    lease = pool.lease()
    here(lease)
    lease.abandon()
    lease.release()
    await until(lambda: recorder.closed == [1])


async def test_also_when_its_call_ends_later(pool, recorder):
    pool.limit = lambda: 1
    lease = pool.lease(keeps_thread=True)
    blocked = Blocked(lease)
    assert blocked.began()
    lease.abandon()
    lease.release()
    blocked.end()
    await until(lambda: recorder.closed == [1])
    await until(lambda: pool.size == 0)


async def test_but_not_what_others_have_open(pool, recorder):
    pool.limit = lambda: 1
    stream, lost = pool.lease(), pool.lease()
    here(stream)
    here(lost)
    lost.abandon()
    lost.release()
    await asyncio.sleep(0.02)
    assert recorder.closed == []
    assert here(stream)
    stream.release()
    await until(lambda: recorder.closed == [1])


class Traffic:
    """Requests, streams, half-read queries and clients that leave, all at once."""

    def __init__(self, pool: ThreadPool, recorder: Recorder):
        self.pool = pool
        self.half_read: set[int] = set()
        self.recorder = recorder
        self.working = 0
        self.most = 0
        recorder.state = self.state  # type: ignore[method-assign]

    def state(self) -> State:
        return State(half_read=self.recorder.number in self.half_read)

    def work(self, reads: bool | None) -> None:
        self.working += 1
        self.most = max(self.most, self.working)
        if reads is not None:
            (self.half_read.add if reads else self.half_read.discard)(self.recorder.number)
        time.sleep(0.001)
        self.working -= 1

    async def call(self, lease: Lease, reads: bool | None = None) -> None:
        await asyncio.wrap_future(lease.submit(self.work, reads))

    async def request(self, lease: Lease, chance: random.Random) -> None:
        await self.call(lease)
        lease.reach_view()
        await self.call(lease)
        lease.share()

    async def waits(self, lease: Lease, chance: random.Random) -> None:
        async def view() -> None:
            await self.call(lease)
            await asyncio.sleep(chance.random() / 50)
            await self.call(lease)

        middleware = Middleware(lease)
        await middleware.around(view)
        lease.share()

    async def leaves(self, lease: Lease, chance: random.Random) -> None:
        if chance.random() < 0.5:
            lease.reach_view()
        with suppress(TimeoutError):
            async with asyncio.timeout(chance.random() / 20):
                await self.call(lease)
                await asyncio.sleep(1)
        await asyncio.sleep(0)
        lease.abandon()

    async def stream(self, lease: Lease, chance: random.Random) -> None:
        await self.request(lease, chance)
        for _ in range(chance.randrange(6)):
            await asyncio.sleep(0.01)
            await self.call(lease)

    async def reads(self, lease: Lease, chance: random.Random) -> None:
        lease.reach_view()
        for reads in (True, None, None, False):
            await self.call(lease, reads)
            await asyncio.sleep(0.005)

    async def client(self, number: int) -> None:
        chance = random.Random(number)
        for _ in range(25):
            lease = self.pool.lease(keeps_thread=True)
            try:
                kinds = [self.request, self.leaves, self.stream, self.reads, self.waits]
                await chance.choice(kinds)(lease, chance)
            finally:
                lease.release()


async def test_however_leases_end_no_thread_is_lost(pool, recorder):
    pool.limit, pool.wait_timeout = (lambda: 4), (lambda: 10.0)
    traffic = Traffic(pool, recorder)
    await asyncio.gather(*(traffic.client(number) for number in range(30)))
    assert pool.waiting == 0
    await until(lambda: pool.busy == 0)
    assert traffic.most <= 4
    del recorder.state
    all_four = [blocks(pool) for _ in range(4)]
    assert len({blocked.end() for blocked in all_four}) == 4
    for blocked in all_four:
        blocked.lease.release()
