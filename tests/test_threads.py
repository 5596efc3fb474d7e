"""Leases: one thread each, in turn, bounded, back for the next one."""

from __future__ import annotations

import asyncio
import random
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import suppress

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async

from asyncviews.threads import Lease, NoThreadAvailable, ThreadPool
from tests.conftest import until


class Recorder:
    def __init__(self):
        self.tidied: list[tuple[int, bool]] = []
        self.left: list[int] = []

    def tidy(self, shared):
        self.tidied.append((threading.get_ident(), shared))

    def leave(self):
        self.left.append(threading.get_ident())


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def pool(recorder) -> Iterator[ThreadPool]:
    pool = ThreadPool("test", limit=lambda: 2, tidy=recorder.tidy, leave=recorder.leave)
    yield pool
    pool.retire(timeout=5)
    assert pool.size == 0


def here(lease: Lease) -> int:
    return lease.submit(threading.get_ident).result(5)


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


def test_all_calls_of_a_lease_run_on_one_other_thread(pool):
    lease = pool.lease(exclusive=True)
    assert {here(lease) for _ in range(5)} == {here(lease)}
    assert here(lease) != threading.get_ident()
    lease.release()


def test_a_lease_without_calls_takes_no_thread(pool):
    lease = pool.lease(exclusive=True)
    lease.release()
    assert pool.size == 0


def test_results_and_exceptions_come_back(pool):
    lease = pool.lease(exclusive=True)
    assert lease.submit(pow, 2, exp=3).result(5) == 8
    with pytest.raises(ZeroDivisionError):
        lease.submit(lambda: 1 / 0).result(5)
    with pytest.raises(SystemExit):
        lease.submit(exit, 3).result(5)
    assert here(lease)
    lease.release()


def test_a_released_lease_does_the_calls_it_has(pool):
    lease = pool.lease(exclusive=True)
    blocked = Blocked(lease)
    queued = lease.submit(threading.get_ident)
    lease.release()
    lease.release()
    assert blocked.end() == queued.result(5)


def test_a_call_after_the_release_has_a_thread_to_itself(pool):
    """It comes from a task that has outlived its request; nothing of it may stay behind."""
    lease = pool.lease(exclusive=True)
    here(lease)
    lease.release()
    blocked = Blocked(lease)
    blocked.began()
    other = pool.lease(exclusive=True)
    assert here(other) != blocked.end()
    other.release()


def test_a_cancelled_call_is_not_made(pool):
    lease = pool.lease(exclusive=True)
    blocked = Blocked(lease)
    called = []
    assert lease.submit(called.append, 1).cancel()
    blocked.end()
    here(lease)
    lease.release()
    assert called == []


def test_the_thread_is_there_for_the_next_lease(pool):
    threads = set()
    for _ in range(5):
        lease = pool.lease(exclusive=True)
        threads.add(here(lease))
        lease.release()
        wait([])
    assert pool.size <= 2
    assert len(threads) <= 2


def test_more_leases_than_threads_wait_in_order(pool):
    holders = [pool.lease(exclusive=True) for _ in range(2)]
    for holder in holders:
        here(holder)
    order: list[int] = []
    waiting = [pool.lease(exclusive=True) for _ in range(4)]
    futures = [lease.submit(order.append, number) for number, lease in enumerate(waiting)]
    for lease in waiting:
        lease.release()
    assert pool.waiting == 4
    assert pool.busy == 2
    holders[0].release()
    wait(futures, timeout=5)
    assert order == [0, 1, 2, 3]
    holders[1].release()


def test_an_exclusive_lease_keeps_its_thread_between_calls(pool):
    mine = pool.lease(exclusive=True)
    others = [pool.lease(exclusive=True) for _ in range(3)]
    thread = here(mine)
    for other in others:
        other.submit(threading.get_ident)
        other.release()
    assert here(mine) == thread
    mine.release()


def test_shared_leases_let_others_in_between_calls_and_keep_their_thread(pool):
    leases = [pool.lease(exclusive=False) for _ in range(10)]
    first = [here(lease) for lease in leases]
    assert len(set(first)) <= 2
    assert [here(lease) for lease in reversed(leases)] == first[::-1]
    for lease in leases:
        lease.release()


def test_an_exclusive_lease_that_shares_gives_way(pool):
    streams = [pool.lease(exclusive=True) for _ in range(2)]
    threads = [here(stream) for stream in streams]
    other = pool.lease(exclusive=True)
    found = other.submit(threading.get_ident)
    assert not found.done()
    streams[0].share()
    assert found.result(5) == threads[0]
    again = streams[0].submit(threading.get_ident)
    assert not again.done()
    other.release()
    assert again.result(5) == threads[0]
    for stream in streams:
        stream.release()


async def test_a_thread_is_tidied_for_each_lease_and_told_who_may_need_what_is_open(pool, recorder):
    one, two = pool.lease(exclusive=False), pool.lease(exclusive=False)
    pool.limit = lambda: 1
    thread = here(one)
    assert recorder.tidied == [(thread, False)]
    here(two)
    one.release()
    here(two)
    assert recorder.tidied[1:] == [(thread, True), (thread, True)]
    two.release()
    await until(lambda: recorder.tidied[3:] == [(thread, False)])


async def test_when_too_many_wait_the_next_is_refused_and_the_others_go_on(pool):
    pool.limit, pool.max_waiting = lambda: 1, lambda: 1
    blocked = Blocked(pool.lease(exclusive=True))
    waits, refused = pool.lease(exclusive=True), pool.lease(exclusive=True)
    waiting = waits.submit(threading.get_ident)
    assert pool.waiting == 1
    with pytest.raises(NoThreadAvailable, match="All 1 threads are in use, and 1 leases wait"):
        refused.submit(threading.get_ident).result(5)
    with pytest.raises(NoThreadAvailable):
        refused.submit(threading.get_ident).result(5)
    blocked.lease.release()
    assert blocked.end() == waiting.result(5)
    waits.release()
    with pytest.raises(NoThreadAvailable):  # not a second answer
        refused.submit(threading.get_ident).result(5)
    refused.release()


async def test_whoever_waits_too_long_is_refused(pool):
    pool.limit, pool.wait_timeout = lambda: 1, lambda: 0.02
    blocked = Blocked(pool.lease(exclusive=True))
    lease = pool.lease(exclusive=True)
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


async def test_a_shared_lease_that_cannot_come_back_is_refused_and_still_ends(pool):
    pool.limit, pool.wait_timeout = lambda: 1, lambda: 0.02
    stream = pool.lease(exclusive=False)
    here(stream)
    blocked = Blocked(pool.lease(exclusive=True))
    again = asyncio.wrap_future(stream.submit(threading.get_ident))
    with pytest.raises(NoThreadAvailable):
        await again
    stream.release()
    blocked.lease.release()
    blocked.end()
    # The fixture waits for the thread, which does not end before its leases have.


async def test_idle_threads_end_and_say_so(pool, recorder):
    pool.idle_timeout = 0.01
    lease = pool.lease(exclusive=True)
    thread = here(lease)
    lease.release()
    await until(lambda: recorder.left == [thread])
    assert pool.size == 0


async def test_a_thread_that_a_lease_comes_back_to_does_not_end(pool):
    pool.idle_timeout = 0.01
    lease = pool.lease(exclusive=False)
    thread = here(lease)
    await asyncio.sleep(0.05)
    assert here(lease) == thread
    lease.release()


async def test_retiring_ends_busy_threads_when_their_lease_ends(pool, recorder):
    lease, idle = pool.lease(exclusive=True), pool.lease(exclusive=True)
    blocked = Blocked(lease)
    here(idle)
    idle.release()
    pool.retire(timeout=0.05)
    assert pool.size == 1
    after = pool.lease(exclusive=True)
    assert here(after) != blocked.end()
    after.release()
    lease.release()
    pool.retire(timeout=5)
    assert len(recorder.left) == 3


def test_threads_that_retire_serve_those_that_wait_already(pool):
    pool.limit = lambda: 1
    blocked = Blocked(pool.lease(exclusive=True))
    waits = pool.lease(exclusive=True)
    waiting = waits.submit(threading.get_ident)
    waits.release()
    pool.retire(timeout=0)
    blocked.lease.release()
    assert blocked.end() == waiting.result(5)


def test_a_tidy_that_fails_is_logged_and_the_thread_lives(pool, caplog):
    pool.tidy = lambda shared: 1 / 0
    lease = pool.lease(exclusive=True)
    assert here(lease)
    lease.release()
    pool.retire(timeout=5)
    assert "ZeroDivisionError" in caplog.text


async def test_it_is_an_executor_for_asgiref(pool):
    """Nested sync_to_async and async_to_sync stay on the thread, without a deadlock."""
    lease = pool.lease(exclusive=True)
    ident = threading.get_ident

    async def inner() -> int:
        return await sync_to_async(ident)()

    async with ThreadSensitiveContext(executor=lease):
        thread = await sync_to_async(ident)()
        assert await sync_to_async(async_to_sync(inner))() == thread
        fanned_out = await asyncio.gather(*(sync_to_async(ident)() for _ in range(20)))
        assert set(fanned_out) == {thread}
    lease.release()


async def test_a_shared_lease_takes_another_thread_when_its_own_is_busy(pool):
    stream = pool.lease(exclusive=False)
    own = here(stream)
    busy = Blocked(pool.lease(exclusive=True))
    assert busy.began()
    assert here(stream) != own
    busy.lease.release()
    assert busy.end() == own
    stream.release()


async def test_it_comes_back_to_its_own_while_something_there_is_half_read(pool):
    pool.pins = lambda: True
    stream = pool.lease(exclusive=False)
    own = here(stream)
    first, second = Blocked(pool.lease(exclusive=True)), Blocked(pool.lease(exclusive=True))
    assert first.began()
    assert second.began()
    again = stream.submit(threading.get_ident)
    assert pool.waiting == 1
    first.lease.release()
    second.lease.release()
    assert own in {first.end(), second.end()}
    assert again.result(5) == own
    stream.release()


async def test_others_rather_take_a_thread_to_which_nobody_must_come_back(pool):
    pool.pins = lambda: True
    stream = pool.lease(exclusive=False)
    own = here(stream)
    await until(lambda: pool.busy == 0)
    pool.pins = lambda: False
    other = pool.lease(exclusive=True)
    assert here(other) != own
    other.release()
    assert here(stream) == own
    stream.release()


async def test_a_thread_that_is_held_serves_nothing_else(pool):
    """As during a transaction, also of a lease that is shared."""
    pool.limit, held = (lambda: 1), [True]
    pool.holds = lambda: bool(held)
    lease, other = pool.lease(exclusive=False), pool.lease(exclusive=True)
    here(lease)
    waits = other.submit(threading.get_ident)
    here(lease)
    assert not waits.done()
    lease.submit(held.clear).result(5)
    assert waits.result(5)
    lease.release()
    other.release()


async def test_a_held_thread_is_free_when_its_lease_ends(pool):
    pool.limit, pool.holds = (lambda: 1), (lambda: True)
    lease, other = pool.lease(exclusive=False), pool.lease(exclusive=True)
    here(lease)
    waits = other.submit(threading.get_ident)
    lease.release()
    assert waits.result(5)
    other.release()


def test_when_it_is_shared_the_thread_is_tidied_and_left_to_others(pool, recorder):
    pool.limit = lambda: 1
    lease, other = pool.lease(exclusive=True), pool.lease(exclusive=True)
    thread = here(lease)
    lease.share()
    assert here(other) == thread
    other.release()
    assert recorder.tidied[:2] == [(thread, False), (thread, False)]
    assert here(lease) == thread
    lease.release()


async def test_an_abandoned_lease_takes_its_thread_with_it(pool, recorder):
    """With whatever a request that was cut short has left in its thread-locals."""
    pool.limit = lambda: 1
    lease, other = pool.lease(exclusive=True), pool.lease(exclusive=True)
    local = threading.local()
    lease.submit(setattr, local, "user", "one").result(5)
    waits = other.submit(getattr, local, "user", "nobody")
    lease.abandon()
    lease.release()
    assert waits.result(5) == "nobody"
    assert len(recorder.left) == 1
    other.release()


async def test_nor_do_other_leases_keep_it(pool):
    """A stream that waits for hours must not keep the place of a thread that serves nobody."""
    pool.limit = lambda: 1
    stream, lost, other = (pool.lease(exclusive=exclusive) for exclusive in (False, True, True))
    here(stream)
    here(lost)
    lost.abandon()
    lost.release()
    assert here(other)
    other.release()
    assert here(stream)
    stream.release()


async def test_a_lease_whose_calls_are_all_cancelled_leaves_the_queue(pool):
    """A client that has left must not keep others from a place."""
    pool.limit, pool.max_waiting = (lambda: 1), (lambda: 1)
    blocked = Blocked(pool.lease(exclusive=True))
    gone, patient = pool.lease(exclusive=True), pool.lease(exclusive=True)
    assert gone.submit(threading.get_ident).cancel()
    gone.release()
    assert pool.waiting == 0
    waits = patient.submit(threading.get_ident)
    blocked.lease.release()
    assert blocked.end() == waits.result(5)
    patient.release()


async def test_the_timer_of_a_lease_that_has_waited_is_gone(pool):
    pool.limit, pool.wait_timeout = (lambda: 1), (lambda: 30.0)
    loop = asyncio.get_running_loop()
    blocked = Blocked(pool.lease(exclusive=True))
    lease = pool.lease(exclusive=True)
    waits = asyncio.wrap_future(lease.submit(threading.get_ident))
    timers = [timer for timer in loop._scheduled if timer._args == (lease,)]
    assert len(timers) == 1
    blocked.lease.release()
    blocked.end()
    await waits
    await until(timers[0].cancelled)
    lease.release()


def test_nothing_of_a_call_that_has_ended_is_kept(pool):
    class Payload:
        pass

    def echo(payload: Payload) -> Payload:
        return payload

    lease = pool.lease(exclusive=True)
    payload = Payload()
    kept = weakref.ref(payload)
    lease.submit(echo, payload).result(5)
    del payload
    here(lease)  # the thread has let go of the one before
    assert kept() is None
    lease.release()


class Traffic:
    """Requests, streams, half-read queries and clients that leave, all at once."""

    def __init__(self, pool: ThreadPool):
        self.pool = pool
        self.here = threading.local()
        pool.pins = lambda: self.half_read > 0

    @property
    def half_read(self) -> int:
        return getattr(self.here, "half_read", 0)

    def work(self, cursors: int) -> None:
        self.here.half_read = self.half_read + cursors
        time.sleep(0.001)

    async def call(self, lease: Lease, cursors: int = 0) -> None:
        await asyncio.wrap_future(lease.submit(self.work, cursors))

    async def request(self, lease: Lease, chance: random.Random) -> None:
        await self.call(lease)
        lease.share()

    async def leaves(self, lease: Lease, chance: random.Random) -> None:
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
        lease.share()
        for cursors in (1, 0, 0, -1):
            await self.call(lease, cursors)
            await asyncio.sleep(0.005)

    async def client(self, number: int) -> None:
        chance = random.Random(number)
        for _ in range(25):
            lease = self.pool.lease(exclusive=True)
            try:
                kinds = [self.request, self.leaves, self.stream, self.reads]
                await chance.choice(kinds)(lease, chance)
            finally:
                lease.release()


async def test_however_leases_end_no_thread_is_lost(pool):
    pool.limit, pool.wait_timeout = (lambda: 4), (lambda: 10.0)
    traffic = Traffic(pool)
    await asyncio.gather(*(traffic.client(number) for number in range(30)))
    assert pool.waiting == 0
    await until(lambda: pool.busy == 0)
    leases = [pool.lease(exclusive=True) for _ in range(4)]
    threads = [lease.submit(threading.get_ident) for lease in leases]
    assert len({thread.result(5) for thread in threads}) == 4
    for lease in leases:
        lease.release()
