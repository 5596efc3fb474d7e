"""What the runner tells of its tasks, those that have ended included."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import weakref

import pytest
from django.utils import timezone, translation

from asyncviews import add_background_task, background_task, current_task
from asyncviews.asgi import lifespan
from asyncviews.background import BackgroundTask, Progress, State, runner
from tests.conftest import until


@pytest.fixture
def fresh(app_lifespan):
    """A runner that remembers nothing of earlier tests."""
    runner._history.__init__()


@pytest.mark.usefixtures("fresh")
async def test_a_task_is_seen_from_the_beginning_to_after_its_end():
    gate = asyncio.Event()
    before = time.time()
    task = add_background_task(gate.wait)
    waiting = runner.get(task.id)
    assert (waiting.name, waiting.state, waiting.started) == (
        "asyncio.locks.Event.wait",
        "queued",
        None,
    )
    assert before <= waiting.created <= time.time()
    await until(lambda: runner.get(task.id).state is State.RUNNING)
    assert runner.get(task.id).started >= waiting.created
    assert [info.id for info in runner.tasks()] == [task.id]
    gate.set()
    await task
    ended = runner.get(task.id)
    assert ended.state is State.SUCCEEDED
    assert ended == task.info() == runner.tasks()[0]
    assert ended.ended >= ended.started
    assert ended.attempts == 1
    assert runner.task(task.id) is None
    assert runner.get("unknown") is None


@pytest.mark.usefixtures("fresh")
async def test_the_end_of_a_traceback_is_remembered_even_when_its_task_is_forgotten():
    async def burns() -> None:
        raise ValueError("x" * 20_000 + " burned")

    task = add_background_task(burns)
    with pytest.raises(ValueError, match="burned"):
        await task
    del task
    [info] = runner.history()
    assert info.traceback.endswith("xxx burned\n")
    assert len(info.traceback) == 8000
    with pytest.raises(asyncio.CancelledError):
        await cancelled()
    assert runner.history()[-1].traceback is None


async def cancelled() -> None:
    task = add_background_task(asyncio.Event().wait)
    await until(lambda: task.state is State.RUNNING)
    task.cancel()
    await task


@pytest.mark.usefixtures("fresh")
async def test_progress_is_what_the_task_says():
    gate = asyncio.Event()

    async def smokes(meats: list[str]) -> None:
        for number, meat in enumerate(meats, 1):
            current_task().progress(number, len(meats), meat)
        await gate.wait()

    task = add_background_task(smokes, ["ribs", "brisket"])
    await until(lambda: task.info().progress)
    assert runner.get(task.id).progress == Progress(2, 2, "brisket")
    gate.set()
    await task


async def test_a_thread_knows_its_task_too(app_lifespan):
    assert current_task() is None
    task = add_background_task(lambda: current_task().id)
    assert await task == task.id


@pytest.mark.usefixtures("fresh")
async def test_numbers_of_tasks_and_threads(settings):
    settings.ASYNCVIEWS = {"MAX_RUNNING": 2}
    gate = threading.Event()
    tasks = [add_background_task(gate.wait, 5) for _ in range(3)]
    await until(lambda: runner.threads.busy == 2)
    stats = runner.stats()
    assert (stats.queued, stats.running, stats.threads, stats.threads_busy) == (1, 2, 2, 2)
    gate.set()
    await asyncio.gather(*tasks)
    cancelled = runner.accept(BackgroundTask(print))
    cancelled.cancel()
    stats = runner.stats()
    assert (stats.queued, stats.running) == (0, 0)
    assert {state: count for state, count in stats.ended.items() if count} == {
        State.SUCCEEDED: 3,
        State.CANCELLED: 1,
    }


@pytest.mark.usefixtures("fresh")
async def test_the_history_is_bounded_by_count(settings):
    settings.ASYNCVIEWS = {"HISTORY_COUNT": 3}
    for number in range(5):
        await add_background_task(int, str(number))
    assert [info.arguments for info in runner.tasks()] == ["'2'", "'3'", "'4'"]
    assert runner.stats().ended[State.SUCCEEDED] == 5


@pytest.mark.usefixtures("fresh")
async def test_the_history_is_bounded_by_age(settings):
    settings.ASYNCVIEWS = {"HISTORY_AGE": 0.05}
    task = add_background_task(int, "1")
    await task
    assert runner.get(task.id)
    await asyncio.sleep(0.06)
    assert runner.get(task.id) is None
    assert runner.tasks() == []


@pytest.mark.usefixtures("fresh")
async def test_what_failed_is_told_in_one_line():
    def fails() -> None:
        raise ValueError("burned\nto ashes")

    task = add_background_task(fails)
    await asyncio.gather(task, return_exceptions=True)
    assert runner.get(task.id).error == "ValueError: burned"


class Meat:
    def __init__(self):
        self.label = "ribs"

    def __repr__(self) -> str:
        return "x" * 1000


@pytest.mark.usefixtures("fresh")
async def test_nothing_that_a_task_worked_with_is_kept():
    """Neither by the history nor by the handle."""

    async def smokes(meat: Meat) -> None: ...

    meat = Meat()
    gone = weakref.ref(meat)
    task = add_background_task(smokes, meat)
    del meat
    await task
    await asyncio.sleep(0)
    gc.collect()
    assert gone() is None
    assert len(runner.get(task.id).arguments) <= 100


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


class Curious:
    """Looks at the runner while the runner looks at it."""

    def __repr__(self) -> str:
        runner.stats()
        return "curious"


@pytest.mark.usefixtures("fresh")
async def test_arguments_with_a_repr_of_their_own_do_no_harm():
    async def eats(*args: object) -> None: ...

    task = add_background_task(eats, Unspeakable(), Curious())
    await asyncio.wait_for(task, 5)
    assert runner.get(task.id).arguments.startswith("<Unspeakable instance at")
    assert runner.get(task.id).arguments.endswith("curious")


async def test_priorities_decide_who_is_next(app_lifespan, settings):
    settings.ASYNCVIEWS = {"MAX_RUNNING": 1}
    order: list[str] = []
    gate = asyncio.Event()
    holder = add_background_task(gate.wait)
    tasks = [
        runner.accept(BackgroundTask(order.append, (label,), priority=priority))
        for label, priority in [("low", -1), ("normal", 0), ("high", 1)]
    ]
    runner.start(tasks)
    gate.set()
    await asyncio.gather(holder, *tasks)
    assert order == ["high", "normal", "low"]


async def test_a_deferred_task_starts_when_its_time_has_come(app_lifespan):
    began = time.time()
    task = runner.accept(BackgroundTask(time.time, run_after=began + 0.1))
    runner.start([task])
    await asyncio.sleep(0.02)
    assert task.state is State.QUEUED
    assert 0.1 <= await task - began < 10


async def test_a_deferred_task_notices_that_the_clock_was_set(app_lifespan, monkeypatch):
    module = sys.modules["asyncviews.background.runner"]
    monkeypatch.setattr(module, "CLOCK_CHECK", 0.02)
    task = runner.accept(BackgroundTask(int, ("7",), run_after=time.time() + 3600))
    runner.start([task])
    await asyncio.sleep(0.05)
    assert task.state is State.QUEUED

    class Ahead:
        monotonic = time.monotonic

        @staticmethod
        def time() -> float:
            return time.time() + 7200

    monkeypatch.setattr(module, "time", Ahead)
    assert await asyncio.wait_for(task, 2) == 7


async def test_a_drain_does_not_wait_for_what_is_not_due_before_its_end(caplog):
    async with lifespan():
        soon = runner.accept(BackgroundTask(int, ("7",), run_after=time.time() + 0.1))
        late = runner.accept(BackgroundTask(int, ("8",), run_after=time.time() + 3600))
        runner.start([soon, late])
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert soon.result() == 7
    assert late.state is State.ABANDONED
    assert f"Background task builtins.int ({late.id}, with '8') never starts" in caplog.text


def test_the_language_comes_along_from_another_thread():
    """Where the runner has a loop of its own, or a sync view adds the task from its thread."""

    async def works() -> tuple[str, str]:
        return translation.get_language(), timezone.get_current_timezone_name()

    def sync_works() -> tuple[str, str]:
        return translation.get_language(), timezone.get_current_timezone_name()

    async def wait(task):
        return await task

    with translation.override("de"), timezone.override("Europe/Berlin"):
        tasks = [add_background_task(works), add_background_task(sync_works)]
    for task in tasks:
        assert asyncio.run(wait(task)) == ("de", "Europe/Berlin")


@background_task(timeout=5)
async def decorated(meat: str, *, flavor: str = "none") -> str:
    return f"{meat} with {flavor}"


async def test_a_decorated_function_runs_with_its_arguments(app_lifespan):
    assert await add_background_task(decorated, "ribs", flavor="hot") == "ribs with hot"
