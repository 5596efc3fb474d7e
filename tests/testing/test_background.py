"""`Background`: what a test may ask of background tasks, and how it makes them run."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta
from unittest.mock import ANY

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from asyncviews import add_background_task, background_task, current_task
from asyncviews.asgi import lifespan
from asyncviews.background import runner
from asyncviews.testing import Background
from tests.tasks import cooking


async def smoke(meat: str, *, hours: int = 1) -> str:
    await asyncio.sleep(0)
    return f"{meat} smoked for {hours} h"


def burn(meat: str) -> None:
    raise ValueError(f"{meat} is burnt")


# What was scheduled


def test_what_was_scheduled_is_found_however_it_was_called():
    with Background() as background:
        add_background_task(smoke, "ribs", hours=2)
        task = add_background_task(smoke, "salmon")
        background.wait()
        assert background.assert_scheduled(smoke) is task
        assert background.assert_scheduled(smoke, meat="salmon") is task
        assert background.assert_scheduled(smoke, "salmon", hours=1) is task
        assert background.assert_scheduled(smoke, ANY, hours=2).result() == "ribs smoked for 2 h"
        assert [each.name for each in background.tasks] == [f"{__name__}.smoke"] * 2


def test_what_was_not_scheduled_is_told_with_what_was():
    with Background() as background:
        add_background_task(smoke, "ribs")
        background.wait()
        with pytest.raises(AssertionError) as caught:
            background.assert_scheduled(smoke, "brisket")
    assert f"{__name__}.smoke('brisket') was not scheduled. What was: " in str(caught.value)
    assert "with 'ribs'" in str(caught.value)


def test_nothing_scheduled():
    with Background() as background:
        background.assert_not_scheduled()
        background.assert_not_scheduled(burn)
        with pytest.raises(AssertionError, match=r"burn\(\.\.\.\) .* What was: nothing\.$"):
            background.assert_scheduled(burn)
        add_background_task(smoke, "ribs")
        background.wait()
        background.assert_not_scheduled(burn)
        for func in (None, smoke):
            with pytest.raises(AssertionError, match=r"This was scheduled: .*smoke"):
                background.assert_not_scheduled(func)


def test_what_happened_outside_of_the_block_is_not_noted():
    with Background() as background:
        pass
    add_background_task(smoke, "ribs")
    background.wait()
    background.assert_not_scheduled()


def test_a_built_in_function_is_found_by_its_arguments():
    with Background() as background:
        add_background_task(max, 1, 2)
        background.wait()
        assert background.assert_scheduled(max, 1, 2).result() == 2
        with pytest.raises(AssertionError, match=r"builtins\.max\(2, 1\) was not scheduled"):
            background.assert_scheduled(max, 2, 1)


def test_only_functions_can_be_asked_for():
    with pytest.raises(TypeError, match=r"Ask for the function .* not for 'smoke'\."):
        Background().assert_scheduled("smoke")


@pytest.mark.usefixtures("app_lifespan")
async def test_the_context_of_a_task_is_none_of_its_arguments():
    with Background() as background:
        await cooking.logs_in_with_context.aenqueue("anne", "hunter2")
        task = background.assert_scheduled(cooking.logs_in_with_context, "anne", password="hunter2")
        with pytest.raises(AssertionError, match=r"logs_in_with_context\(name='olga', password=\*"):
            background.assert_scheduled(cooking.logs_in_with_context, "olga", "hunter2")
        await background.drain()
    assert task.arguments() == "name='anne', password=****"


async def test_tasks_of_django_tasks_are_found():
    with Background() as background:
        async with lifespan():
            await cooking.smoke.aenqueue("ribs", flavor="honey")
            await background.drain()
        assert background.assert_succeeded(cooking.smoke, "ribs", "honey") == "ribs with honey"
        background.assert_scheduled(cooking.smoke.func)


# How it ended


def test_how_a_task_ended():
    with Background() as background:
        add_background_task(smoke, "ribs")
        add_background_task(burn, "toast")
        background.wait()
        assert background.assert_succeeded(smoke, "ribs") == "ribs smoked for 1 h"
        assert str(background.assert_failed(burn, ValueError)) == "toast is burnt"
        with pytest.raises(AssertionError, match=r"burn .* ended as failed: ValueError") as caught:
            background.assert_succeeded(burn)
        assert isinstance(caught.value.__cause__, ValueError)
        with pytest.raises(AssertionError, match=r"ended as succeeded, not failed with ValueError"):
            background.assert_failed(smoke, ValueError)
        with pytest.raises(AssertionError, match=r"ended as failed: .*, not failed with KeyError"):
            background.assert_failed(burn, KeyError)


def test_a_task_that_has_not_ended_is_told_so():
    with Background(eager=True) as background:
        add_background_task(smoke, "ribs")
        with pytest.raises(AssertionError, match=r"has not ended, but is queued\. .*drain"):
            background.assert_succeeded(smoke)
        background.wait()


async def test_a_cancelled_task_has_not_succeeded():
    begun = asyncio.Event()

    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    async with lifespan():
        with Background() as background:
            task = add_background_task(hang)
            await begun.wait()
            task.cancel()
            await background.drain()
            with pytest.raises(AssertionError, match=r"ended as cancelled\.$"):
                background.assert_succeeded(hang)


async def test_a_task_that_never_ran_was_not_scheduled():
    """As that of a handler which then raises."""
    with Background() as background:
        async with lifespan():
            task = add_background_task(smoke, "ribs")
            task.cancel()
            await background.drain()
            background.assert_not_scheduled()


def test_one_that_timed_out_has_failed():
    @background_task(timeout=0.01)
    async def hang() -> None:
        await asyncio.Event().wait()

    with Background() as background:
        add_background_task(hang)
        background.wait()
        background.assert_failed(hang, TimeoutError)


# How it waits


async def test_a_drain_waits_for_what_tasks_add():
    async def first() -> None:
        add_background_task(smoke, "ribs")

    async with lifespan():
        with Background() as background:
            add_background_task(first)
            await background.drain()
            background.assert_succeeded(smoke)


async def test_what_does_not_end_is_named():
    async with lifespan():
        with Background() as background:
            task = add_background_task(asyncio.Event().wait)
            with pytest.raises(
                AssertionError, match=r"Not ended within 0\.01 s: .*wait.*, running"
            ):
                await background.drain(0.01)
            task.cancel()
            await background.drain()


async def test_a_test_that_leaves_a_task_behind_fails():
    async with lifespan():
        background = Background()
        background.__enter__()
        task = add_background_task(asyncio.Event().wait)
        with pytest.raises(AssertionError, match=r"leaves background tasks behind: .*Event\.wait"):
            background.__exit__(None, None, None)
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_failing_test_keeps_its_own_failure():
    async with lifespan():
        background = Background()
        background.__enter__()
        task = add_background_task(asyncio.Event().wait)
        error = ZeroDivisionError()
        background.__exit__(ZeroDivisionError, error, None)
        with pytest.raises(asyncio.CancelledError):
            await task


# Eager


def test_eager_tasks_run_on_the_thread_of_a_synchronous_test():
    threads = []

    async def both() -> None:
        await sync_to_async(threads.append)(threading.get_ident())
        await sync_to_async(lambda: threads.append(threading.get_ident()))()

    with Background(eager=True) as background:
        add_background_task(lambda: threads.append(threading.get_ident()))
        add_background_task(both)
        assert threads == []
        background.wait()
    assert threads[0] == threads[2] == threading.get_ident()


def test_a_loop_of_before_does_not_take_eager_tasks():
    """One that was told of other tasks, and comes to look only now."""
    loop = runner._loop_thread.start()
    with Background(eager=True) as background:
        task = add_background_task(threading.get_ident)
        looked = threading.Event()
        loop.call_soon_threadsafe(runner._fill)
        loop.call_soon_threadsafe(looked.set)
        assert looked.wait(10)
        assert task.state == "queued"
        background.wait()
    assert task.result() == threading.get_ident()


def test_without_eager_they_do_not():
    threads = []
    with Background() as background:
        add_background_task(lambda: threads.append(threading.get_ident()))
        background.wait()
    assert threads != [threading.get_ident()]


@pytest.mark.parametrize("in_lifespan", [True, False])
async def test_eager_tasks_share_the_thread_of_an_async_test(in_lifespan):
    ours = await sync_to_async(threading.get_ident)()
    with Background(eager=True) as background:
        task = add_background_task(threading.get_ident)
        if in_lifespan:
            async with lifespan():
                await background.drain()
        else:
            await background.drain()
        assert task.result() == ours


async def test_eager_tasks_that_synchronous_code_has_added():
    def first() -> None:
        add_background_task(threading.get_ident)

    with Background(eager=True) as background:
        await sync_to_async(first)()
        await background.drain()
        ours = await sync_to_async(threading.get_ident)()
        assert background.assert_succeeded(threading.get_ident) == ours


def test_after_the_block_it_is_as_before():
    with Background(eager=True):
        with Background():
            assert runner.in_tests.eager
        assert runner.in_tests.eager
    assert not runner.in_tests.eager
    assert runner.on_accept == []


def test_eager_tasks_know_themselves_and_their_attempts():
    attempts = []

    @background_task(attempts=3, backoff=60)
    def flaky() -> int:
        attempts.append(current_task().attempts)
        if len(attempts) < 3:
            raise ConnectionError
        return len(attempts)

    with Background(eager=True) as background:
        add_background_task(flaky)
        background.wait()
        assert background.assert_succeeded(flaky) == 3
    assert attempts == [1, 2, 3]


# Time


def test_nobody_waits_between_attempts():
    """The number of attempts is the task's own."""

    @background_task(attempts=4, backoff=100)
    async def flaky() -> None:
        raise ConnectionError

    began = time.monotonic()
    with Background() as background:
        add_background_task(flaky)
        background.wait(20)
        background.assert_failed(flaky, ConnectionError)
        assert background.assert_scheduled(flaky).attempts == 4
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("eager", [True, False])
async def test_a_deferred_task_runs_when_its_time_has_come(eager):
    later = cooking.smoke.using(run_after=timezone.now() + timedelta(hours=1))
    async with lifespan():
        with Background(eager=eager) as background:
            result = await later.aenqueue("ribs")
            await background.drain()
            background.advance(3000)
            await background.drain()
            assert background.assert_scheduled(cooking.smoke, "ribs").state == "queued"
            background.advance(700)
            await background.drain()
            assert background.assert_succeeded(cooking.smoke) == "ribs with none"
            await result.arefresh()
            assert result.return_value == "ribs with none"
    assert runner.in_tests.time_ahead == 0


async def test_a_task_whose_time_has_not_come_may_be_left():
    later = cooking.smoke.using(run_after=timezone.now() + timedelta(hours=1))
    async with lifespan():
        with Background():
            await later.aenqueue("ribs")
        assert runner.unfinished() == []
