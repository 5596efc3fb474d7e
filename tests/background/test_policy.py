"""`@background_task`: options on the function, which stays what it was."""

from __future__ import annotations

import asyncio
import functools
import logging
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from types import FunctionType

import pytest
import stamina
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured

from asyncviews import add_background_task, background_task
from asyncviews.background import State, runner
from tests.conftest import until
from tests.tasks import cooking

pytestmark = pytest.mark.usefixtures("app_lifespan")


@pytest.fixture
def stuck():
    """A gate for functions that hang in their thread; the test waits until they have left it."""
    gate = threading.Event()
    yield gate
    gate.set()
    runner.threads.retire(timeout=5)


class Fails:
    """Fails so often, and notes when it was called."""

    def __init__(self, times: int, error: type[Exception] = ValueError):
        self.times = times
        self.error = error
        self.calls: list[float] = []

    def __call__(self) -> str:
        self.calls.append(time.monotonic())
        if len(self.calls) <= self.times:
            raise self.error(f"failure {len(self.calls)}")
        return "done"


def test_the_function_stays_callable():
    @background_task(timeout=3)
    def double(number: int) -> int:
        return 2 * number

    @background_task
    async def bare() -> None: ...

    assert double(2) == 4
    assert double.__name__ == "double"
    assert asyncio.iscoroutinefunction(bare)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": 0}, "timeout: Input should be greater than 0"),
        ({"attempts": 0}, "attempts: Input should be greater than or equal to 1"),
        ({"max_running": 0, "backoff": -1}, "backoff: .*; max_running: "),
        ({"retry_on": BaseException}, "retry_on"),
        ({"retry_on": 3}, "retry_on"),
        ({"tries": 3}, "tries: unknown .known: timeout, attempts"),
        ({"secrets": ("pasword",)}, r"secrets that are no parameters: \['pasword'\]"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_where_it_stands(options, message):
    with pytest.raises(ImproperlyConfigured, match=rf"@background_task of .*login: .*{message}"):

        @background_task(**options)
        def login(password: str) -> None: ...


def test_what_cannot_carry_options_is_refused_with_the_remedy():
    with pytest.raises(ImproperlyConfigured, match=r"of print: .* wrap it in a function"):
        background_task(timeout=3)(print)


# Time


async def test_an_attempt_that_takes_too_long_times_out(caplog):
    cleaned = []

    @background_task(timeout=0.02)
    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    task = add_background_task(waits)
    with pytest.raises(TimeoutError, match=r"did not end within 0.02 s"):
        await task
    assert (task.state, cleaned) == (State.TIMED_OUT, [True])
    assert f"Background task {task} timed out." in caplog.text
    assert runner.stats().threads_stuck == 0


async def test_a_timeout_of_the_functions_own_is_a_failure():
    @background_task(timeout=5)
    async def waits() -> None:
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()

    task = add_background_task(waits)
    with pytest.raises(TimeoutError):
        await task
    assert task.state is State.FAILED


async def test_a_function_that_hangs_in_its_thread_is_reported_and_not_tried_again(caplog, stuck):
    calls = []

    @background_task(timeout=0.05, attempts=3, backoff=0.001)
    def hangs() -> None:
        calls.append(True)
        stuck.wait(10)

    task = add_background_task(hangs)
    with pytest.raises(TimeoutError):
        await task
    assert (task.state, task.attempts, calls) == (State.TIMED_OUT, 1, [True])
    assert "Its thread cannot be stopped and goes on; of 8 threads 1 are stuck." in caplog.text
    assert runner.stats().threads_stuck == runner.stats().threads_busy == 1
    stuck.set()
    await until(lambda: runner.stats().threads_stuck == 0)


async def test_a_thread_that_hangs_keeps_its_place_among_those_that_may_run(stuck):
    @background_task(timeout=0.02, max_running=1)
    def hangs(wait: bool) -> str:
        if wait:
            stuck.wait(10)
        return "done"

    first, second = add_background_task(hangs, True), add_background_task(hangs, False)
    with pytest.raises(TimeoutError):
        await first
    await asyncio.sleep(0.05)
    assert second.state is State.QUEUED
    stuck.set()
    assert await second == "done"


async def test_hung_threads_starve_neither_coroutines_nor_other_threads(stuck, settings):
    settings.ASYNCVIEWS = {"BACKGROUND_THREADS": 3}

    @background_task(timeout=0.02)
    def hangs() -> None:
        stuck.wait(10)

    hanging = [add_background_task(hangs) for _ in range(2)]
    await asyncio.gather(*hanging, return_exceptions=True)
    assert await add_background_task(asyncio.sleep, 0, "loop") == "loop"
    assert await add_background_task(lambda: "thread") == "thread"


async def test_the_wait_for_a_thread_is_none_of_a_functions_time(stuck, settings):
    settings.ASYNCVIEWS = {"BACKGROUND_THREADS": 1}
    hanging = add_background_task(stuck.wait, 10)
    await until(lambda: hanging.attempts)
    waiting = [add_background_task(background_task(timeout=0.5)(lambda: "done")) for _ in range(5)]
    await asyncio.sleep(0.6)
    assert [task.attempts for task in waiting] == [0] * 5
    stuck.set()
    assert await asyncio.gather(hanging, *waiting) == [True, *["done"] * 5]
    assert [task.attempts for task in waiting] == [1] * 5


async def test_nor_is_the_wait_of_a_later_attempt(stuck, settings):
    settings.ASYNCVIEWS = {"BACKGROUND_THREADS": 1}
    task = add_background_task(
        background_task(timeout=0.5, attempts=2, backoff=0.05)(Fails(1)),
    )
    hanging = add_background_task(stuck.wait, 10)
    await until(lambda: hanging.attempts)
    await asyncio.sleep(0.7)
    assert (task.state, task.attempts) == (State.RUNNING, 1)
    stuck.set()
    assert await asyncio.gather(task, hanging) == ["done", True]
    assert task.attempts == 2


async def test_a_function_that_was_never_called_has_no_attempt(stuck, settings):
    settings.ASYNCVIEWS = {"BACKGROUND_THREADS": 1}
    hanging = add_background_task(stuck.wait, 10)
    await until(lambda: hanging.attempts)
    waiting = add_background_task(background_task(timeout=0.02)(lambda: None))
    await asyncio.sleep(0.1)
    assert (waiting.state, waiting.attempts) == (State.RUNNING, 0)
    waiting.cancel()
    await until(waiting.done)
    assert (waiting.state, waiting.attempts) == (State.CANCELLED, 0)
    assert runner.stats().threads_stuck == 0
    stuck.set()
    await hanging


async def test_a_coroutines_own_wait_for_a_thread_counts_and_is_tried_again(
    stuck, settings, caplog
):
    """No thread is stuck with what it has not begun."""
    settings.ASYNCVIEWS = {"BACKGROUND_THREADS": 1}
    hanging = add_background_task(stuck.wait, 10)
    await until(lambda: hanging.attempts)

    @background_task(timeout=0.05, attempts=2, backoff=0.001)
    async def queries() -> None:
        await sync_to_async(print)()

    task = add_background_task(queries)
    with pytest.raises(TimeoutError):
        await task
    assert (task.state, task.attempts) == (State.TIMED_OUT, 2)
    assert "stuck" not in caplog.text
    assert runner.stats().threads_stuck == 0
    stuck.set()
    await hanging


async def test_of_several_calls_the_one_that_runs_is_stuck(stuck):
    @background_task(timeout=0.05, attempts=2, backoff=0.001)
    async def queries() -> None:
        await asyncio.gather(sync_to_async(stuck.wait)(10), sync_to_async(print)())

    task = add_background_task(queries)
    with pytest.raises(TimeoutError):
        await task
    assert (task.state, task.attempts) == (State.TIMED_OUT, 1)
    assert runner.stats().threads_stuck == 1
    stuck.set()
    await until(lambda: runner.stats().threads_stuck == 0)


# Attempts


async def test_it_is_tried_until_it_succeeds(caplog):
    fails = Fails(2)
    task = add_background_task(background_task(attempts=3, backoff=0.01)(fails))
    assert await task == "done"
    assert (task.attempts, task.state) == (3, State.SUCCEEDED)
    lines = [record for record in caplog.records if record.name == "asyncviews.background"]
    assert [record.levelno for record in lines] == [logging.WARNING] * 2
    assert f"{task} failed at attempt 2 of 3 and is tried again: ValueError(" in caplog.text


async def test_it_is_logged_once_that_it_is_tried_again(caplog):
    """And not by stamina, too, which goes on to log what the project retries with it."""
    caplog.set_level(logging.DEBUG)
    task = add_background_task(background_task(attempts=2, backoff=0.001)(Fails(1)))
    assert await task == "done"
    assert [record.name for record in caplog.records if "stamina" in record.name] == []
    fails = Fails(1)
    async for attempt in stamina.retry_context(on=ValueError, wait_initial=0.001, wait_jitter=0):
        with attempt:
            fails()
    assert [record.name for record in caplog.records if "stamina" in record.name] == ["stamina"]


async def test_the_last_attempt_raises_what_the_function_raised(caplog):
    task = add_background_task(background_task(attempts=3, backoff=0.001)(Fails(9)))
    with pytest.raises(ValueError, match="failure 3"):
        await task
    assert task.state is State.FAILED
    assert caplog.text.count("is tried again") == 2


async def test_the_pause_between_attempts_grows():
    fails = Fails(3)
    await add_background_task(background_task(attempts=4, backoff=0.05)(fails))
    pauses = [after - before for before, after in zip(fails.calls, fails.calls[1:], strict=False)]
    assert 0.05 <= pauses[0] < 0.05 + 0.05 + 0.5
    assert pauses[1] >= 0.1
    assert pauses[2] >= 0.2


@pytest.mark.parametrize(
    ("retry_on", "error", "attempts"),
    [
        (OSError, ConnectionError, 2),
        (OSError, ValueError, 1),
        ((OSError, KeyError), KeyError, 2),
        (lambda exc: "failure 1" in str(exc), ValueError, 2),
        (lambda exc: 0.01, ValueError, 3),
        (lambda exc: False, ValueError, 1),
    ],
)
async def test_what_is_worth_another_attempt_can_be_said(retry_on, error, attempts):
    fails = Fails(9, error)
    task = add_background_task(
        background_task(
            attempts=3 if isinstance(retry_on, FunctionType) else 2,
            backoff=0.001,
            retry_on=retry_on,
        )(fails)
    )
    with pytest.raises(error):
        await task
    assert len(fails.calls) == attempts


async def decides_later(exc: Exception) -> bool:
    return False


class DecidesLater:
    async def __call__(self, exc: Exception) -> bool:
        return False


@pytest.mark.parametrize(
    "retry_on", [decides_later, functools.partial(decides_later), DecidesLater()]
)
def test_an_async_function_does_not_decide(retry_on):
    with pytest.raises(ImproperlyConfigured, match=r"retry_on: .*must be a plain `def`"):
        background_task(retry_on=retry_on)(lambda: None)


def passes_on(exc: Exception):
    return decides_later(exc)


@pytest.mark.parametrize("decision", [passes_on, lambda exc: "yes"])
async def test_what_is_true_and_no_decision_ends_the_task(decision, caplog):
    """The error of the function is told, too."""
    fails = Fails(9)
    options = background_task(attempts=5, backoff=0.001, retry_on=decision)
    task = add_background_task(options(fails))
    with pytest.raises(TypeError, match="retry_on must return whether") as caught:
        await task
    assert isinstance(caught.value.__cause__, ValueError)
    assert len(fails.calls) == 1
    assert "failure 1" in caplog.text


async def test_no_time_at_all_is_a_decision():
    fails = Fails(1)
    options = background_task(attempts=2, backoff=30, retry_on=lambda exc: 0.0)
    assert await add_background_task(options(fails)) == "done"


async def test_a_timed_out_coroutine_is_tried_again():
    calls = []

    @background_task(timeout=0.02, attempts=2, backoff=0.001)
    async def slow_once() -> str:
        calls.append(True)
        await asyncio.sleep(5 if len(calls) == 1 else 0)
        return "done"

    assert await add_background_task(slow_once) == "done"
    assert len(calls) == 2


async def test_a_cancellation_is_never_retried():
    calls = []

    @background_task(attempts=5, backoff=0.001)
    async def cancelled() -> None:
        calls.append(True)
        raise asyncio.CancelledError

    task = add_background_task(cancelled)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert calls == [True]


async def test_it_can_be_cancelled_between_two_attempts():
    fails = Fails(9)
    task = add_background_task(background_task(attempts=5, backoff=60)(fails))
    await until(lambda: fails.calls)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(fails.calls) == 1


def test_without_stamina_more_than_one_attempt_is_refused_with_the_command(tmp_path):
    (tmp_path / "stamina.py").write_text("raise ImportError")
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent("""
            from asyncviews import background_task
            def cook(): ...
            background_task(attempts=1)(cook)
            background_task(attempts=2)(cook)
            """)],
        env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "pip install 'asyncviews[retry]'" in ended.stderr


# Limits, names, secrets


async def test_no_more_of_a_function_run_than_it_allows():
    running, most = [], []
    gate = asyncio.Event()

    @background_task(max_running=2)
    async def limited(number: int) -> None:
        running.append(number)
        most.append(len(running))
        await gate.wait()
        running.remove(number)

    tasks = [add_background_task(limited, number) for number in range(5)]
    others = [add_background_task(asyncio.sleep, 0) for _ in range(3)]
    await asyncio.gather(*others)
    assert [task.state for task in tasks] == [State.RUNNING] * 2 + [State.QUEUED] * 3
    gate.set()
    await asyncio.gather(*tasks)
    assert (len(most), max(most)) == (5, 2)


class Kitchen:
    @background_task(max_running=1, name="kitchen.cook", timeout=5)
    async def cook(self, gate: asyncio.Event) -> None:
        await gate.wait()


async def test_the_policy_of_a_method_is_that_of_its_function():
    gate = asyncio.Event()
    first = add_background_task(Kitchen().cook, gate)
    second = add_background_task(functools.partial(Kitchen().cook, gate))
    assert (first.name, second.name) == ("kitchen.cook", "kitchen.cook")
    await until(lambda: first.state is State.RUNNING)
    gate.set()
    await asyncio.gather(first, second)


async def test_secrets_are_shown_nowhere(caplog):
    @background_task(secrets=("password",))
    async def login(name: str, password: str, *, wait: bool = False) -> None:
        raise ValueError("denied")

    tasks = [
        add_background_task(login, "anne", "hunter2"),
        add_background_task(login, name="anne", password="hunter2"),
        add_background_task(login, "hunter2"),  # who knows what this was to be
    ]
    await asyncio.gather(*tasks, return_exceptions=True)
    shown = [task.info().arguments for task in tasks]
    assert shown == ["name='anne', password=****"] * 2 + ["****"]
    assert "hunter2" not in caplog.text


def test_above_a_decorator_that_makes_no_function_it_is_refused():
    def smoke(): ...

    for wrong, outer in (
        (cooking.smoke, "task"),
        (staticmethod(smoke), "staticmethod"),
        (classmethod(smoke), "classmethod"),
    ):
        message = rf"@background_task of .*smoke stands above @{outer}: .* below @{outer}"
        with pytest.raises(ImproperlyConfigured, match=message):
            background_task(wrong)
        with pytest.raises(ImproperlyConfigured, match=message):
            background_task(timeout=1)(wrong)
