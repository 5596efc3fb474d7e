"""The handle of a background task: its state, its result, and how to stop it."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading

import pytest

from asyncviews import add_background_task
from asyncviews.background import BackgroundTask, State, runner
from tests.conftest import until
from tests.tasks import cooking

pytestmark = pytest.mark.usefixtures("app_lifespan")


async def double(number: int, *, plus: int = 0) -> int:
    return 2 * number + plus


def fail() -> None:
    raise ValueError("burned")


async def test_awaiting_it_gives_the_result():
    task = add_background_task(double, 3, plus=1)
    assert await task == 7
    assert (task.state, task.done(), task.result(), task.exception()) == (
        State.SUCCEEDED,
        True,
        7,
        None,
    )


async def test_awaiting_it_raises_what_the_function_raised():
    task = add_background_task(fail)
    with pytest.raises(ValueError, match="burned"):
        await task
    assert task.state is State.FAILED
    with pytest.raises(ValueError, match="burned"):
        task.result()


class Callable:
    async def __call__(self) -> str:
        return "called"


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (functools.partial(double, 2), 4),
        (functools.partial(functools.partial(pow, 2), 3), 8),
        (lambda: 5, 5),
        (lambda: double(3), 6),
        (Callable(), "called"),
    ],
)
async def test_any_callable_will_do(function, expected):
    assert await add_background_task(function) == expected


async def test_a_synchronous_function_runs_in_a_thread_of_the_runner():
    name = await add_background_task(lambda: threading.current_thread().name)
    assert name.startswith("asyncviews-background-")


async def test_before_it_ends_there_is_no_result():
    go = asyncio.Event()
    task = add_background_task(go.wait)
    for ask in (task.result, task.exception):
        with pytest.raises(asyncio.InvalidStateError, match="has not ended yet"):
            ask()
    await until(lambda: task.state is State.RUNNING)
    go.set()
    await task


async def test_a_running_task_can_be_cancelled(caplog):
    cleaned = []

    async def works() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    task = add_background_task(works)
    await until(lambda: task._asyncio_task)
    assert task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (task.state, cleaned) == (State.CANCELLED, [True])
    for ask in (task.result, task.exception):
        with pytest.raises(asyncio.CancelledError):
            ask()
    assert task.cancel() is False
    assert caplog.text == ""


@pytest.mark.parametrize("how", ["waiting", "before its first step", "running"])
async def test_a_cancellation_is_said(caplog, how):
    caplog.set_level(logging.INFO, "asyncviews.background")
    task = runner.accept(BackgroundTask(asyncio.Event().wait, origin="GET /"))
    if how != "waiting":
        runner.start([task])
    if how == "running":
        await until(lambda: task.attempts)
    if how == "before its first step":
        asyncio.get_running_loop().call_soon(task.cancel)
        await until(lambda: task.state is not State.QUEUED)
        assert task.state is State.CANCELLED or not task.started
    task.cancel()
    await until(task.done)
    when = "while it ran" if how == "running" else "before it was called"
    assert [record.getMessage() for record in caplog.records] == [
        f"Background task {task} was cancelled {when}."
    ]
    assert caplog.records[0].task_id == task.id


async def test_a_task_cancelled_before_its_first_step_never_begins():
    """Whoever hears first that it runs may cancel it before it does."""
    ran = []
    task = add_background_task(ran.append, 1)
    asyncio.get_running_loop().call_soon(task.cancel)
    await until(lambda: task.state is not State.QUEUED)
    await until(task.done)
    assert (task.state, ran) == (State.CANCELLED, [])


async def test_a_waiting_task_can_be_cancelled():
    task = runner.accept(BackgroundTask(fail))
    assert task.state is State.QUEUED
    assert task.cancel()
    assert not task.cancel()  # it is
    runner.start([task])
    assert task.state is State.CANCELLED
    assert runner.unfinished() == []


async def test_whoever_stops_waiting_does_not_stop_it():
    go = asyncio.Event()
    task = add_background_task(go.wait)
    waiting = asyncio.ensure_future(task)
    await until(lambda: task.state is State.RUNNING)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go.set()
    assert await task is True


async def test_it_can_be_awaited_from_another_event_loop():
    go = asyncio.Event()
    task = add_background_task(go.wait)

    async def wait() -> bool:
        return await task

    other = asyncio.get_running_loop().run_in_executor(None, asyncio.run, wait())
    go.set()
    assert await other is True


async def test_its_name_and_id_are_in_the_log_line_and_the_repr():
    task = add_background_task(functools.partial(double, 1))
    assert str(task) == f"{__name__}.double ({task.id})"
    assert repr(task) == f"<BackgroundTask {__name__}.double {task.id} queued>"
    await task


async def test_a_called_coroutine_is_refused_with_the_remedy():
    coroutine = double(1)
    with pytest.raises(TypeError, match=r"a function and its arguments, not <coroutine"):
        add_background_task(coroutine)
    coroutine.close()


def generates():
    yield 1


async def generates_async():
    yield 1


def test_a_task_of_django_tasks_is_refused_with_what_to_write():
    with pytest.raises(
        TypeError, match=r"^tests\.tasks\.cooking\.smoke is a task of django"
    ) as caught:
        add_background_task(cooking.smoke, "ribs")
    assert "`await smoke.aenqueue(...)`" in str(caught.value)
    assert "`smoke.func`" in str(caught.value)


@pytest.mark.parametrize("func", [generates, generates_async, functools.partial(generates)])
async def test_a_generator_function_is_refused_for_its_call_runs_nothing(func):
    with pytest.raises(TypeError, match=r"test_task\.generates\w* is a generator function"):
        add_background_task(func)
    assert runner.unfinished() == []
