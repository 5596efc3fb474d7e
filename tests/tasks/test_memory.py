"""`AsyncioBackend`: what the contract of ``django.tasks`` says, in the memory of this process.

After Django's own ``tests/tasks/test_immediate_backend.py`` and ``test_dummy_backend.py``.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import django
import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from django.utils import timezone

from asyncviews import BackgroundQueueFull
from asyncviews.background import State, runner
from asyncviews.tasks.compat import (
    InvalidTask,
    InvalidTaskBackend,
    TaskResultDoesNotExist,
    TaskResultStatus,
    signals,
)
from tests.conftest import until
from tests.tasks import cooking
from tests.tasks.cooking import task_backends

BACKEND = "asyncviews.tasks.AsyncioBackend"


@pytest.fixture(autouse=True)
def _tasks(settings):
    configure(settings)
    cooking.trail.clear()
    cooking.gate.clear()
    yield
    cooking.gate.set()


def configure(settings, queues=("default", "slow"), **options):
    settings.TASKS = {"default": {"BACKEND": BACKEND, "QUEUES": list(queues), "OPTIONS": options}}


async def finished(result):
    await until(lambda: refreshed(result).is_finished and runner.task(result.id) is None)
    return result


def refreshed(result):
    result.refresh()
    return result


# Enqueueing, sync and async, from everywhere


@pytest.mark.parametrize("function", [cooking.smoke, cooking.asmoke])
async def test_a_task_runs_soon_and_its_result_can_be_asked_for(function, app_lifespan):
    result = await function.aenqueue("ribs", flavor="hot")
    assert result.status == TaskResultStatus.READY
    assert result.enqueued_at is not None
    assert (result.args, result.kwargs) == (["ribs"], {"flavor": "hot"})
    assert result.started_at is result.finished_at is result.last_attempted_at is None
    with pytest.raises(ValueError, match="has not finished yet"):
        _ = result.return_value
    await finished(result)
    assert result.status == TaskResultStatus.SUCCESSFUL
    assert result.return_value == "ribs with hot"
    assert result.enqueued_at <= result.started_at <= result.finished_at
    assert result.last_attempted_at >= result.started_at
    assert (result.attempts, result.errors) == (1, [])
    assert await function.aget_result(result.id) == result


def test_without_a_lifespan_it_runs_on_the_runners_own_loop():
    result = cooking.smoke.enqueue("ribs")
    asyncio.run(finished(result))
    assert result.return_value == "ribs with none"


async def test_enqueue_works_on_the_event_loop_too(app_lifespan):
    assert (await finished(cooking.asmoke.enqueue("ribs"))).return_value == "ribs with none"


async def test_a_synchronous_task_runs_on_a_background_thread(app_lifespan):
    name = (await finished(await cooking.where.aenqueue())).return_value
    assert name.startswith("asyncviews-background-")


async def test_what_is_returned_by_enqueue_does_not_change_by_itself(app_lifespan):
    result = await cooking.asmoke.aenqueue("ribs")
    await until(lambda: not runner.unfinished())
    assert result.status == TaskResultStatus.READY
    assert result.worker_ids == []
    await result.arefresh()
    assert result.status == TaskResultStatus.SUCCESSFUL


async def test_results_are_found_from_every_thread(app_lifespan):
    result = await finished(await cooking.asmoke.aenqueue("ribs"))
    found = []
    thread = threading.Thread(target=lambda: found.append(cooking.asmoke.get_result(result.id)))
    thread.start()
    thread.join()
    assert found == [result]


async def test_unknown_results_do_not_exist(app_lifespan):
    with pytest.raises(TaskResultDoesNotExist):
        cooking.smoke.get_result("unknown")
    with pytest.raises(TaskResultDoesNotExist):
        await cooking.smoke.aget_result("unknown")


async def test_results_are_remembered_as_long_as_the_history_goes_back(app_lifespan, settings):
    settings.ASYNCVIEWS = {"HISTORY_COUNT": 1}
    first = await finished(await cooking.asmoke.aenqueue("ribs"))
    await finished(await cooking.asmoke.aenqueue("salmon"))
    with pytest.raises(TaskResultDoesNotExist):
        first.refresh()


# What it accepts


def test_it_says_what_it_supports():
    backend = task_backends["default"]
    assert backend.supports_defer
    assert backend.supports_async_task
    assert backend.supports_get_result
    assert backend.supports_priority
    assert list(backend.check()) == []


def test_arguments_that_are_not_json_are_refused():
    with pytest.raises(TypeError):
        cooking.smoke.enqueue({1, 2})
    assert runner.unfinished() == []


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "message"),
    [
        (cooking.smoke, (), {}, r"cooking\.smoke\(meat: 'str', .*missing.* argument: 'meat'\.$"),
        (cooking.smoke, ("a", "b", "c"), {}, r"cooking\.smoke\(.*: too many positional arguments"),
        (cooking.asmoke, ("a",), {"heat": 1}, r"cooking\.asmoke\(.*unexpected.* argument 'heat'"),
        (cooking.logs_in_with_context, (), {}, r"argument: 'name'\. .* its context when it runs"),
        (cooking.logs_in_with_context, (1,), {"context": 1}, r"multiple values.*'context'\. The"),
    ],
)
@pytest.mark.parametrize("backend", [BACKEND, "asyncviews.tasks.DurableBackend"])
def test_arguments_that_do_not_fit_the_function_are_refused(
    settings, backend, function, args, kwargs, message
):
    settings.TASKS = {"default": {"BACKEND": backend}}
    with pytest.raises(TypeError, match=message):
        function.enqueue(*args, **kwargs)
    with pytest.raises(TypeError, match=message):
        async_to_sync(function.aenqueue)(*args, **kwargs)
    assert runner.unfinished() == []


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "message"),
    [
        (cooking.smoke, (UUID(int=1),), {}, r"cooking\.smoke\(\): the argument 'meat' is .* UUID"),
        (cooking.smoke, ("a", b"\xff"), {}, "the argument 'flavor' is of type bytes"),
        (cooking.smoke, ("a",), {"flavor": [{1}]}, r"'flavor' is of type list.*<class 'set'>\)"),
        (cooking.logs_in_with_context, (UUID(int=1),), {}, "argument 'name' is of type UUID"),
    ],
)
@pytest.mark.parametrize("backend", [BACKEND, "asyncviews.tasks.DurableBackend"])
def test_an_argument_that_is_not_json_is_named(settings, backend, function, args, kwargs, message):
    settings.TASKS = {"default": {"BACKEND": backend}}
    with pytest.raises(TypeError, match=message):
        function.enqueue(*args, **kwargs)
    with pytest.raises(TypeError, match=message):
        async_to_sync(function.aenqueue)(*args, **kwargs)


async def test_a_task_wrapped_by_a_decorator_is_called_as_the_wrapper_is(app_lifespan):
    result = await cooking.wrapped.aenqueue("ribs", heat=3)
    await finished(result)
    assert result.return_value == ["ribs", "hot"]


async def test_a_result_that_is_not_json_is_named(app_lifespan):
    result = await cooking.returns_a_set.aenqueue()
    await finished(result)
    assert (
        "cooking.returns_a_set(): the result is of type set, and not" in result.errors[0].traceback
    )


def test_an_unknown_queue_is_refused():
    with pytest.raises(InvalidTask, match="Queue 'unknown' is not valid for backend"):
        cooking.smoke.using(queue_name="unknown")


async def test_priorities_count_among_those_that_wait(app_lifespan, settings):
    settings.ASYNCVIEWS = {"MAX_RUNNING": 1}
    holder = await cooking.hold.aenqueue("holder")
    await until(lambda: cooking.trail)
    results = [
        await cooking.note.using(priority=priority).aenqueue(priority)
        for priority in (-100, 0, 50, 100)
    ]
    cooking.gate.set()
    await asyncio.gather(*map(finished, [holder, *results]))
    assert cooking.trail == ["holder", 100, 50, 0, -100]


async def test_a_deferred_task_waits_for_its_time(app_lifespan):
    soon = timezone.now() + timedelta(seconds=0.1)
    result = await cooking.asmoke.using(run_after=soon).aenqueue("ribs")
    await asyncio.sleep(0.02)
    assert refreshed(result).status == TaskResultStatus.READY
    await finished(result)
    assert result.started_at >= soon


async def test_a_full_queue_says_so(app_lifespan, settings):
    settings.ASYNCVIEWS = {"MAX_RUNNING": 1, "MAX_WAITING": 1}
    held = [await cooking.hold.aenqueue(number) for number in range(2)]
    with pytest.raises(BackgroundQueueFull):
        await cooking.hold.aenqueue(3)
    cooking.gate.set()
    await asyncio.gather(*map(finished, held))


# How it runs


async def test_attempts_are_counted_and_the_context_knows_them(app_lifespan):
    result = await finished(await cooking.fails_twice.aenqueue())
    assert cooking.trail == [1, 2, 3]
    assert result.return_value == [result.id, 3]
    assert result.attempts == 3
    assert len(set(result.worker_ids)) == 1
    assert result.last_attempted_at > result.started_at


async def test_a_failure_is_in_the_result_and_in_the_logs_of_django_and_ours(app_lifespan, caplog):
    result = await finished(await cooking.burns.aenqueue())
    assert result.status == TaskResultStatus.FAILED
    with pytest.raises(ValueError, match="failed"):
        _ = result.return_value
    (error,) = result.errors
    assert error.exception_class is ValueError
    assert "burned" in error.traceback
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    names = [record.name for record in errors]
    assert names == [signals.logger.name, "asyncviews.background"]
    assert "ValueError: burned" in caplog.text


@pytest.mark.parametrize(
    ("function", "error", "state"),
    [
        (cooking.returns_a_set, TypeError, State.FAILED),
        (cooking.overcooks, TimeoutError, State.TIMED_OUT),
        (cooking.exits, SystemExit, State.FAILED),
    ],
)
async def test_other_ways_to_fail(function, error, state, app_lifespan):
    result = await finished(await function.aenqueue())
    assert result.status == TaskResultStatus.FAILED
    assert issubclass(result.errors[0].exception_class, error)
    assert runner.get(result.id).state is state


async def test_a_cancelled_task_has_failed(app_lifespan, settings):
    settings.ASYNCVIEWS = {"MAX_RUNNING": 1}
    running, waiting = [await cooking.hold.aenqueue(number) for number in range(2)]
    await until(lambda: cooking.trail)
    for result in (waiting, running):
        assert runner.task(result.id).cancel()
        await finished(result)
        assert result.errors[0].exception_class is asyncio.CancelledError
    assert cooking.trail == [0]


async def test_a_task_is_in_the_runners_account(app_lifespan):
    result = await finished(await cooking.identity.aenqueue())
    assert result.return_value == result.id
    info = runner.get(result.id)
    assert (info.name, info.state) == ("tests.tasks.cooking.identity", State.SUCCEEDED)
    assert info.progress.message == "half done"


async def test_both_doors_lead_to_one_queue(app_lifespan, settings):
    from asyncviews import add_background_task

    settings.ASYNCVIEWS = {"MAX_RUNNING": 1, "MAX_WAITING": 1}
    held = await cooking.hold.aenqueue(1)
    task = add_background_task(print)
    with pytest.raises(BackgroundQueueFull):
        await cooking.hold.aenqueue(2)
    cooking.gate.set()
    await finished(held)
    await task


# Signals


@pytest.fixture
def heard():
    """The signals in the order of their coming, with status and thread."""
    heard = []

    def receivers():
        for name in ("enqueued", "started", "finished"):

            def receive(sender, task_result, name=name, **kwargs):
                heard.append((name, sender.__name__, str(task_result.status)))

            signal = getattr(signals, f"task_{name}")
            signal.connect(receive, weak=False)
            yield signal, receive

    connected = list(receivers())
    yield heard
    for signal, receive in connected:
        signal.disconnect(receive)


@pytest.mark.parametrize(
    ("function", "status"), [(cooking.asmoke, "SUCCESSFUL"), (cooking.smoke, "SUCCESSFUL")]
)
async def test_signals_tell_of_its_way(function, status, app_lifespan, heard):
    await finished(await function.aenqueue("ribs"))
    assert heard == [
        ("enqueued", "AsyncioBackend", "READY"),
        ("started", "AsyncioBackend", "RUNNING"),
        ("finished", "AsyncioBackend", status),
    ]


def test_signals_tell_of_failures_from_sync_code(heard):
    asyncio.run(finished(cooking.burns.enqueue()))
    assert [name for name, _, _ in heard] == ["enqueued", "started", "finished"]
    assert heard[-1][2] == "FAILED"


@pytest.mark.parametrize("use_async", [True, False])
async def test_a_receiver_that_refuses_the_enqueueing_prevents_it(use_async, app_lifespan):
    def refuse(**kwargs):
        raise PermissionError

    signals.task_enqueued.connect(refuse)

    async def enqueue():
        return await cooking.note.aenqueue(1) if use_async else cooking.note.enqueue(1)

    try:
        with pytest.raises(PermissionError):
            await enqueue()
    finally:
        signals.task_enqueued.disconnect(refuse)
    assert runner.unfinished() == []
    assert cooking.trail == []


async def test_a_receiver_that_fails_later_does_no_harm(app_lifespan, caplog):
    def fail(**kwargs):
        raise PermissionError

    signals.task_started.connect(fail)
    try:
        result = await finished(await cooking.asmoke.aenqueue("ribs"))
    finally:
        signals.task_started.disconnect(fail)
    assert result.status == TaskResultStatus.SUCCESSFUL
    assert "PermissionError" in caplog.text


async def test_where_django_alone_listens_a_coroutine_needs_no_thread(app_lifespan):
    runner.threads.retire(timeout=5)
    await finished(await cooking.asmoke.aenqueue("ribs"))
    assert runner.threads.size == 0


# OPTIONS


async def test_options_of_the_backend_and_of_its_queues(app_lifespan, settings):
    configure(
        settings, ATTEMPTS=2, BACKOFF=0.001, QUEUES={"slow": {"TIMEOUT": 0.02, "ATTEMPTS": 1}}
    )
    slow = await finished(await cooking.simmers.aenqueue())
    assert (slow.errors[0].exception_class.__name__, slow.attempts) == ("TaskTimedOut", 1)
    burnt = await finished(await cooking.burns.aenqueue())
    assert burnt.attempts == 2
    said = await finished(await cooking.fails_twice.aenqueue())
    assert said.attempts == 3  # the function's own


async def test_a_queue_runs_no_more_than_it_may(app_lifespan, settings):
    configure(settings, QUEUES={"slow": {"MAX_RUNNING": 2}})
    held = [await cooking.hold.aenqueue(number) for number in range(5)]
    await finished(await cooking.asmoke.aenqueue("ribs"))
    assert cooking.trail == [0, 1]
    cooking.gate.set()
    await asyncio.gather(*map(finished, held))
    assert len(cooking.trail) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"TIMEOUT": -1}, "TIMEOUT: Input should be greater than 0"),
        ({"timeout": 1}, "timeout: unknown .did you mean TIMEOUT"),
        (
            {"MAX_RUNING": 1, "ATTEMPTS": 0},
            "ATTEMPTS: .*; MAX_RUNING: unknown .did you mean MAX_RUNNING",
        ),
        ({"QUEUES": {"slow": {"LEASE": 1}}}, r"QUEUES\.slow\.LEASE: unknown .known: TIMEOUT"),
        ({"QUEUES": {"fast": {}}}, r"""QUEUES that are not in "QUEUES": \['fast'\]"""),
    ],
)
def test_options_that_cannot_be_used_are_refused(settings, options, message):
    configure(settings, **options)
    (error,) = task_backends["default"].check()
    assert error.id == "asyncviews.E004"
    assert re.match(rf'TASKS\["default"\]\["OPTIONS"\]: ?{message}', error.msg)
    with pytest.raises(InvalidTaskBackend, match=re.escape(error.msg)):
        cooking.smoke.enqueue("ribs")


def test_options_that_are_no_dictionary_are_refused(settings):
    settings.TASKS = {"default": {"BACKEND": BACKEND, "OPTIONS": "fast"}}
    with pytest.raises(InvalidTaskBackend, match=r'\["OPTIONS"\]: Input should be a valid dict'):
        cooking.smoke.enqueue("ribs")


# Transactions


@pytest.fixture
def on_commit(settings, transactional_db):
    configure(settings, ENQUEUE_ON_COMMIT=True)


@pytest.mark.usefixtures("on_commit")
def test_on_commit_it_starts_with_the_commit():
    with transaction.atomic():
        result = cooking.note.enqueue("committed")
        assert refreshed(result).status == TaskResultStatus.READY
        assert len(runner.unfinished()) == 1  # its place is taken
    asyncio.run(finished(result))
    assert cooking.trail == ["committed"]


@pytest.mark.usefixtures("on_commit")
def test_on_commit_it_goes_with_a_rollback():
    with transaction.atomic():
        cooking.note.enqueue("rolled back")
        with transaction.atomic():
            cooking.note.enqueue("inner")
        transaction.set_rollback(True)
    gc.collect()

    async def given_up():
        await until(lambda: not runner.unfinished())

    asyncio.run(given_up())
    assert cooking.trail == []


@pytest.mark.usefixtures("on_commit")
def test_on_commit_without_a_transaction_it_starts_at_once():
    asyncio.run(finished(cooking.note.enqueue(1)))
    assert cooking.trail == [1]


@pytest.mark.usefixtures("on_commit")
def test_on_commit_from_async_code_the_transaction_of_its_thread_counts():
    with transaction.atomic():
        result = async_to_sync(cooking.note.aenqueue)(1)
        time.sleep(0.02)
        assert cooking.trail == []
    asyncio.run(finished(result))
    assert cooking.trail == [1]


# Versions


@pytest.mark.skipif(django.VERSION >= (6, 0), reason="Django 6.0 and later have django.tasks")
def test_without_django_tasks_the_command_is_named(tmp_path):
    (tmp_path / "django_tasks.py").write_text("raise ImportError")
    code = "import asyncviews.tasks; asyncviews.tasks.AsyncioBackend"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "pip install 'asyncviews[tasks]'" in ended.stderr


def test_importing_the_package_imports_nothing():
    """Celery imports every module called tasks, whether it is used or not."""
    code = (
        "import sys, asyncviews.tasks; print([name for name in sys.modules if 'django_tasks' in name"
        " or 'django.tasks' in name or 'asyncviews.tasks.' in name])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_an_unknown_name_is_one():
    import asyncviews.tasks

    with pytest.raises(AttributeError, match="has no attribute 'CeleryBackend'"):
        _ = asyncviews.tasks.CeleryBackend


async def test_the_context_is_none_of_the_arguments_that_hide_secrets(app_lifespan, caplog):
    caplog.set_level(logging.DEBUG)
    result = await finished(await cooking.logs_in_with_context.aenqueue("anne", "hunter2"))
    info = runner.get(result.id)
    assert info.arguments == "name='anne', password=****"
    assert "hunter2" not in f"{info}{caplog.text}"


async def test_what_waits_for_a_thread_has_not_been_attempted(app_lifespan, settings):
    settings.ASYNCVIEWS = {"BACKGROUND_THREADS": 1}
    naps = await cooking.naps.aenqueue(1.0)
    waits = await cooking.where.aenqueue()
    await until(lambda: refreshed(naps).attempts)
    assert (refreshed(waits).attempts, waits.last_attempted_at) == (0, None)
    await finished(waits)
    assert waits.attempts == 1
    assert waits.last_attempted_at > naps.last_attempted_at
