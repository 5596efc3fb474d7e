"""`DurableBackend`: tasks in a database, run by the processes that serve, never lost."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import OperationalError, connections, transaction
from django.utils import timezone

from asyncviews import health
from asyncviews.asgi import StartupFailed, lifespan
from asyncviews.background import runner
from asyncviews.durable import store, task, worker
from asyncviews.durable.models import Status, StoredTask, Worker
from asyncviews.durable.options import DurableOptions
from asyncviews.durable.worker import DurableWorker
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

BACKEND = "asyncviews.tasks.DurableBackend"


@pytest.fixture(autouse=True)
def _tasks(settings):
    configure(settings)
    cooking.trail.clear()
    cooking.gate.clear()
    yield
    cooking.gate.set()


def configure(settings, **options):
    options = {"LEASE": 1, "POLL_INTERVAL": 0.05} | options
    backend = {"BACKEND": BACKEND, "QUEUES": ["default", "slow"], "OPTIONS": options}
    settings.TASKS = {"default": backend}


@pytest.fixture
async def serving(database):
    """A process that serves, and so runs durable tasks."""
    async with lifespan(run_stored_tasks=True):
        yield


async def finished(result):
    async def is_finished() -> bool:
        await result.arefresh()
        return result.is_finished

    async with asyncio.timeout(10):
        while not await is_finished():
            await asyncio.sleep(0.01)
    return result


async def row(result) -> StoredTask:
    return await store.tasks().aget(id=result.id)


# The contract


async def test_a_task_is_stored_run_and_its_result_kept(serving):
    result = await cooking.asmoke.aenqueue("ribs", flavor="hot")
    assert result.status == TaskResultStatus.READY
    await finished(result)
    assert result.status == TaskResultStatus.SUCCESSFUL
    assert result.return_value == "ribs with hot"
    assert (result.args, result.kwargs) == (["ribs"], {"flavor": "hot"})
    assert result.enqueued_at <= result.started_at <= result.last_attempted_at <= result.finished_at
    assert result.attempts == 1
    stored = await row(result)
    assert (stored.status, stored.leased_by) == (Status.SUCCESSFUL, "")
    assert await cooking.asmoke.aget_result(result.id) == result


async def test_sync_code_enqueues_too(serving):
    result = await sync_to_async(cooking.smoke.enqueue)("ribs")
    assert (await finished(result)).return_value == "ribs with none"


async def test_a_command_leaves_stored_tasks_to_those_who_serve(database):
    """Unless it asks for them."""
    result = await cooking.asmoke.aenqueue("ribs")
    async with lifespan():
        assert worker._workers == {}
    assert not await Worker.objects.using(database).aexists()
    assert (await row(result)).status == Status.READY
    async with lifespan(run_stored_tasks=True):
        assert (await finished(result)).return_value == "ribs with none"


async def test_what_was_enqueued_while_nobody_served_runs_at_the_next_start(database):
    results = [await cooking.asmoke.aenqueue(str(number)) for number in range(20)]
    async with lifespan(run_stored_tasks=True):
        for number, result in enumerate(results):
            assert (await finished(result)).return_value == f"{number} with none"


async def test_attempts_context_and_priority_and_failures(serving):
    result = await finished(await cooking.fails_twice.aenqueue())
    assert (result.return_value, result.attempts) == ([result.id, 3], 3)
    burnt = await finished(await cooking.burns.aenqueue())
    assert burnt.status == TaskResultStatus.FAILED
    assert burnt.errors[0].exception_class is ValueError
    assert "burned" in burnt.errors[0].traceback
    for function, error in [
        (cooking.returns_a_set, TypeError),
        (cooking.overcooks, TimeoutError),
        (cooking.exits, SystemExit),
    ]:
        result = await finished(await function.aenqueue())
        assert issubclass(result.errors[0].exception_class, error)


async def test_priorities_decide_who_is_claimed_first(database, settings):
    settings.ASYNCVIEWS = {"MAX_RUNNING": 1}
    for priority in (0, 50, -100, 100):
        result = await cooking.note.using(priority=priority).aenqueue(priority)
    async with lifespan(run_stored_tasks=True):
        await until(lambda: len(cooking.trail) == 4)
        await finished(result)
    assert cooking.trail == [100, 50, 0, -100]


async def test_a_deferred_task_waits_in_the_database(serving):
    soon = timezone.now() + timedelta(seconds=0.3)
    result = await cooking.asmoke.using(run_after=soon).aenqueue("ribs")
    await asyncio.sleep(0.1)
    assert (await row(result)).status == Status.READY
    assert (await finished(result)).started_at >= soon


async def test_unknown_results_do_not_exist(serving):
    with pytest.raises(TaskResultDoesNotExist):
        await cooking.smoke.aget_result("unknown")


async def test_arguments_that_are_not_json_are_refused(serving):
    with pytest.raises(TypeError):
        await cooking.smoke.aenqueue({1, 2})
    assert await store.tasks().acount() == 0


def not_a_task() -> None: ...


async def test_a_task_that_no_worker_would_find_is_refused(serving):
    hidden = cooking.task(not_a_task)
    with pytest.raises(InvalidTask, match=r"test_durable\.not_a_task is not a task"):
        await hidden.aenqueue()
    assert await store.tasks().acount() == 0


async def test_signals_tell_of_its_way(serving):
    heard = []

    def receive(sender, task_result, signal, **kwargs):
        heard.append((sender.__name__, str(task_result.status)))

    three = (signals.task_enqueued, signals.task_started, signals.task_finished)
    for signal in three:
        signal.connect(receive)
    try:
        await finished(await cooking.asmoke.aenqueue("ribs"))
    finally:
        for signal in three:
            signal.disconnect(receive)
    statuses = ["READY", "RUNNING", "SUCCESSFUL"]
    assert heard == [("DurableBackend", status) for status in statuses]


async def test_a_receiver_that_refuses_the_enqueueing_prevents_it(serving):
    def refuse(**kwargs):
        raise PermissionError

    signals.task_enqueued.connect(refuse)
    try:
        with pytest.raises(PermissionError):
            await cooking.note.aenqueue(1)
    finally:
        signals.task_enqueued.disconnect(refuse)
    assert await store.tasks().acount() == 0


# Transactions


async def test_a_task_goes_with_its_transaction(serving):
    def in_a_transaction(value, *, rollback: bool):
        with transaction.atomic(using=store.database()):
            result = cooking.note.enqueue(value)
            time.sleep(0.15)
            assert cooking.trail == []
            transaction.set_rollback(rollback, using=store.database())
        return result

    lost = await sync_to_async(in_a_transaction)("rolled back", rollback=True)
    assert not await store.tasks().filter(id=lost.id).aexists()
    await finished(await sync_to_async(in_a_transaction)("committed", rollback=False))
    assert cooking.trail == ["committed"]


# Several processes


def another(settings, **options) -> DurableWorker:
    """A worker like that of another process. This one's runner runs its tasks."""
    configure(settings, **options)
    backend = task_backends["default"]
    return DurableWorker("default", backend.queues, backend.durable_options, sender=type(backend))


async def test_two_workers_never_run_a_task_twice(database, settings):
    results = [await cooking.note.aenqueue(number) for number in range(200)]
    others = [another(settings) for _ in range(2)]
    async with lifespan(run_stored_tasks=True):
        for other in others:
            await asyncio.to_thread(other.start)
        for result in results:
            await finished(result)
        for other in others:
            await asyncio.to_thread(other.close)
    assert sorted(cooking.trail) == list(range(200))
    ids = {result.worker_ids[0] for result in results}
    assert len(ids) > 1, "one worker did it all"


async def test_what_a_dead_worker_held_is_run_again_within_the_lease(serving, caplog):
    result = await cooking.hold.aenqueue("ribs")
    await until(lambda: cooking.trail)
    dead = "elsewhere-1-dead"
    await sync_to_async(store.register)(dead, "default")
    mine = (await row(result)).leased_by
    await store.tasks().filter(id=result.id).aupdate(leased_by=dead)  # as if it ran there
    began = time.monotonic()
    cooking.gate.set()  # what ends here has lost its lease
    await finished(result)
    assert 0.3 < time.monotonic() - began < 1 + 10
    assert cooking.trail == ["ribs", "ribs"]
    assert result.worker_ids == [dead, mine]
    assert result.attempts == 2
    assert f"Worker {dead} has ended without a word; 1 tasks of it are run again." in caplog.text
    assert f"Task {result.id} had lost its lease" in caplog.text
    assert not await Worker.objects.using(store.database()).filter(id=dead).aexists()


async def test_a_lease_without_a_worker_ends_too(serving):
    """Of one that was buried while it claimed."""
    await store.tasks().acreate(
        id="orphan", backend="default", queue_name="default", task_path="tests.tasks.cooking.note",
        args=[1], kwargs={}, priority=0, status=Status.RUNNING, leased_by="nobody",
        enqueued_at=timezone.now(),
    )  # fmt: skip
    await until(lambda: cooking.trail == [1])


async def test_a_living_worker_keeps_its_lease_however_long_a_task_takes(database, settings):
    result = await cooking.hold.aenqueue("ribs")
    async with lifespan(run_stored_tasks=True):
        await until(lambda: cooking.trail)
        other = another(settings)
        await asyncio.to_thread(other.start)
        await asyncio.sleep(2.2)
        cooking.gate.set()
        await finished(result)
        await asyncio.to_thread(other.close)
    assert cooking.trail == ["ribs"]
    assert result.attempts == 1


async def test_a_worker_that_was_taken_for_dead_goes_on_under_a_new_name(serving, caplog):
    kept, lost = [await cooking.hold.aenqueue(name) for name in ("kept", "lost")]
    await until(lambda: len(cooking.trail) == 2)
    old = (await row(kept)).leased_by
    await Worker.objects.using(store.database()).filter(id=old).adelete()
    await store.tasks().filter(id=lost.id).aupdate(status=Status.READY, leased_by="")
    await until(lambda: f"Worker {old} was taken for dead, 1 tasks of it too" in caplog.text)
    assert (await row(kept)).leased_by not in {"", old}
    cooking.gate.set()
    await finished(kept)
    await finished(lost)
    assert sorted(cooking.trail) == ["kept", "lost", "lost"]


async def test_what_interrupts_its_processes_again_and_again_has_failed(serving, caplog):
    await store.tasks().acreate(
        id="poison", backend="default", queue_name="default", task_path="tests.tasks.cooking.note",
        args=[1], kwargs={}, priority=0, status=Status.RUNNING, leased_by="dead", begun=True,
        enqueued_at=timezone.now(), interruptions=4, worker_ids=["a", "b", "c", "d"],
    )  # fmt: skip
    result = await cooking.note.aget_result("poison")
    await finished(result)
    assert result.status == TaskResultStatus.FAILED
    assert result.attempts == 5
    assert "interrupted 5 times" in result.errors[0].traceback
    assert cooking.trail == []
    await until(lambda: "was interrupted too often, and has failed" in caplog.text)


async def test_a_clock_that_jumps_costs_nobody_a_lease(serving, monkeypatch):
    """No lease has a time in it."""
    result = await cooking.hold.aenqueue("ribs")
    await until(lambda: cooking.trail)
    real = timezone.now
    for jump in (timedelta(days=1), timedelta(days=-2)):
        monkeypatch.setattr(timezone, "now", lambda jump=jump: real() + jump)
        await asyncio.sleep(0.7)
    cooking.gate.set()
    await finished(result)
    assert (cooking.trail, result.attempts) == (["ribs"], 1)


# The end of a process


async def test_at_the_end_what_runs_is_given_back_and_named(database, settings, caplog):
    settings.ASYNCVIEWS = {"DRAIN_TIMEOUT": 0.1, "MAX_RUNNING": 1}
    results = [await cooking.hold.aenqueue(number) for number in range(3)]
    async with lifespan(run_stored_tasks=True):
        await until(lambda: cooking.trail)
    assert cooking.trail == [0]
    statuses = [(await row(result)).status for result in results]
    assert statuses == [Status.READY] * 3
    lines = [r.getMessage() for r in caplog.records if r.name == "asyncviews.durable"]
    assert any(results[0].id in line and "is left to the next process" in line for line in lines)
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []
    assert await Worker.objects.using(store.database()).acount() == 0
    cooking.gate.set()
    async with lifespan(run_stored_tasks=True):
        for result in results:
            assert (await finished(result)).status == TaskResultStatus.SUCCESSFUL
    assert sorted(cooking.trail) == [0, 0, 1, 2]


async def test_a_process_that_ends_at_once_gives_back_what_it_runs(database):
    """And it is not counted as interrupted."""
    results = [await cooking.hold.aenqueue(number) for number in range(2)]
    async with lifespan(run_stored_tasks=True):
        await until(lambda: len(cooking.trail) == 2)
        began = time.monotonic()
        await asyncio.to_thread(health.hurry)
        assert time.monotonic() - began < worker.GIVE_BACK_TIMEOUT
        rows = [await row(result) for result in results]
        cooking.gate.set()
    assert {(stored.status, stored.interruptions) for stored in rows} == {(Status.READY, 0)}
    assert await Worker.objects.using(store.database()).acount() == 0


async def test_during_the_drain_nothing_new_is_claimed(database, caplog):
    first = await cooking.hold.aenqueue("first")

    async def later():
        await asyncio.sleep(0.1)
        late = await cooking.note.aenqueue("late")
        await asyncio.sleep(0.3)
        cooking.gate.set()
        return late

    async with lifespan(run_stored_tasks=True):
        await until(lambda: cooking.trail)
        enqueueing = asyncio.create_task(later())
        await asyncio.sleep(0.05)
    late = await enqueueing
    assert (await row(first)).status == Status.SUCCESSFUL
    assert (await row(late)).status == Status.READY
    assert caplog.text.count("ERROR") == 0


# The database goes away


async def test_a_database_that_goes_away_comes_back_and_nothing_is_lost(
    serving, monkeypatch, caplog
):
    result = await cooking.hold.aenqueue("ribs")
    await until(lambda: cooking.trail)

    def unreachable(*args, **kwargs):
        raise OperationalError("the server is restarting")

    monkeypatch.setattr(worker, "RETRY_INTERVAL", 0.05)
    with monkeypatch.context() as patch:
        for name in ("save", "show_life", "beats", "claim", "cancel_requests", "prune"):
            patch.setattr(store, name, unreachable)
        cooking.gate.set()
        await until(lambda: not runner.unfinished())
        await asyncio.sleep(0.3)
        assert (await row(result)).status == Status.RUNNING
    await finished(result)
    assert result.return_value == "ribs"
    assert cooking.trail == ["ribs"]
    assert caplog.text.count("The database of the tasks cannot be used: the server is") == 1
    await until(lambda: caplog.text.count("can be used again") == 1)


@pytest.mark.parametrize("name", ["claim", "save"])
async def test_a_commit_whose_answer_never_comes_loses_nothing(serving, monkeypatch, caplog, name):
    function = getattr(store, name)
    cut_off = []

    def committed_and_cut_off(*args, **kwargs):
        done = function(*args, **kwargs)
        if not cut_off and (name == "save" or done):
            cut_off.append(name)
            raise OperationalError("terminating connection")
        return done

    monkeypatch.setattr(worker, "RETRY_INTERVAL", 0.05)
    monkeypatch.setattr(store, name, committed_and_cut_off)
    while not cut_off:  # what was under way when it was replaced goes by
        result = await finished(await cooking.asmoke.aenqueue("ribs"))
        assert result.return_value == "ribs with none"
        assert len(result.worker_ids) == 1
    if name == "claim":  # the other is written once more at once
        await until(lambda: "can be used again" in caplog.text)
    assert "lost its lease" not in caplog.text


async def test_tables_that_are_missing_are_one_clear_line_at_the_start(database, caplog):
    migrate = sync_to_async(call_command)
    await migrate("migrate", "asyncviews_durable", "zero", database=database, verbosity=0)
    with pytest.raises(
        StartupFailed, match=r'TASKS\["default"\]: the database "tasks_\w+" cannot hold'
    ):
        async with lifespan(run_stored_tasks=True):
            pass
    assert caplog.text == ""


async def test_what_the_database_does_not_take_is_a_failure_not_a_loop(serving):
    """PostgreSQL has no NUL in JSON, SQLite has."""
    good = await cooking.asmoke.aenqueue("ribs")
    bad = await cooking.returns_nul.aenqueue()
    await finished(bad)
    takes_it = connections[store.database()].vendor == "sqlite"
    assert bad.status == (TaskResultStatus.SUCCESSFUL if takes_it else TaskResultStatus.FAILED)
    assert (await finished(good)).status == TaskResultStatus.SUCCESSFUL
    burnt = await finished(await cooking.burns_with_nul.aenqueue())
    assert "burned \\x00" in burnt.errors[0].traceback


# Code that has changed


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("tests.tasks.gone.task", "ModuleNotFoundError"),
        ("tests.tasks.cooking.gone", "ImportError"),
        ("tests.tasks.cooking.logger", "is not a task"),
    ],
)
async def test_a_task_whose_code_is_gone_has_failed_at_last(
    serving, path, error, caplog, monkeypatch
):
    monkeypatch.setattr(task, "MAX_MISSES", 3)
    monkeypatch.setattr(task, "LONGEST_MISS", 0.1)
    await store.tasks().acreate(
        id="old", backend="default", queue_name="default", task_path=path,
        args=[], kwargs={}, priority=0, enqueued_at=timezone.now(),
    )  # fmt: skip
    async with asyncio.timeout(5):
        while (stored := await store.tasks().aget(id="old")).status != Status.FAILED:
            await asyncio.sleep(0.01)
    assert error in stored.errors[0]["exception_class_path"] + stored.errors[0]["traceback"]
    assert caplog.text.count(f"Task {path} (old) cannot be run by this process") == 2
    assert caplog.text.count(f"Task {path} (old) cannot be run.") == 1


# To cancel, to retry, to prune


async def test_waiting_and_running_tasks_can_be_cancelled(serving, settings):
    settings.ASYNCVIEWS = {"MAX_RUNNING": 1}
    running = await cooking.hold.aenqueue("running")
    await until(lambda: cooking.trail)
    waiting = await cooking.hold.aenqueue("waiting")
    backend = task_backends["default"]
    for result in (waiting, running):
        assert await sync_to_async(backend.cancel)(result.id)
        await finished(result)
        assert result.status == TaskResultStatus.FAILED
        assert result.errors[0].exception_class is asyncio.CancelledError
        assert not await sync_to_async(backend.cancel)(result.id)
    assert cooking.trail == ["running"]


async def test_a_cancellation_outlasts_the_process_that_should_have_heard_of_it(database):
    result = await cooking.note.aenqueue(1)
    await store.tasks().filter(id=result.id).aupdate(cancel_requested=True)
    async with lifespan(run_stored_tasks=True):
        await finished(result)
    assert result.status == TaskResultStatus.FAILED
    assert cooking.trail == []


async def test_a_failed_task_can_be_run_again(serving):
    backend = task_backends["default"]
    result = await finished(await cooking.burns.aenqueue())
    assert await sync_to_async(backend.retry)(result.id)
    await finished(result)

    async def twice() -> bool:
        await result.arefresh()
        return result.attempts == 2 and result.is_finished

    async with asyncio.timeout(5):
        while not await twice():
            await asyncio.sleep(0.01)
    assert len(result.errors) == 2
    fine = await finished(await cooking.asmoke.aenqueue("ribs"))
    assert not await sync_to_async(backend.retry)(fine.id)


async def test_old_results_are_pruned_and_nothing_else(serving, settings):
    fresh = await finished(await cooking.asmoke.aenqueue("fresh"))
    old = await finished(await cooking.asmoke.aenqueue("old"))
    long_ago = timezone.now() - timedelta(days=8)
    await store.tasks().filter(id=old.id).aupdate(finished_at=long_ago)
    waiting = await cooking.note.using(run_after=timezone.now() + timedelta(days=9)).aenqueue(1)
    await store.tasks().filter(id=waiting.id).aupdate(enqueued_at=long_ago)
    assert await sync_to_async(store.prune)("default", 7 * 24 * 3600) == 1
    left = {task_id async for task_id in store.tasks().values_list("id", flat=True)}
    assert left == {fresh.id, waiting.id}


# Limits


async def test_a_queue_takes_no_more_than_it_may_and_leaves_the_rest_to_others(database, settings):
    configure(settings, QUEUES={"slow": {"MAX_RUNNING": 2}})
    held = [await cooking.hold.aenqueue(number) for number in range(5)]
    async with lifespan(run_stored_tasks=True):
        assert (await finished(await cooking.asmoke.aenqueue("ribs"))).return_value
        assert len(cooking.trail) == 2
        statuses = [(await row(result)).status for result in held]
        assert statuses.count(Status.RUNNING) == 2
        cooking.gate.set()
        for result in held:
            await finished(result)


async def test_a_function_takes_no_more_than_it_may(serving):
    held = [await cooking.one_at_a_time.aenqueue(number) for number in range(4)]
    assert (await finished(await cooking.asmoke.aenqueue("ribs"))).return_value
    await asyncio.sleep(0.2)
    assert len(cooking.trail) == 1
    statuses = [(await row(result)).status for result in held]
    assert sorted(statuses) == [Status.READY] * 3 + [Status.RUNNING]
    cooking.gate.set()
    for result in held:
        await finished(result)
    assert len(cooking.trail) == 4


async def test_it_takes_no_more_than_the_runner_has_room_for(database, settings):
    settings.ASYNCVIEWS = {"MAX_RUNNING": 3, "MAX_WAITING": 0}
    results = [await cooking.hold.aenqueue(number) for number in range(10)]
    async with lifespan(run_stored_tasks=True):
        await until(lambda: len(cooking.trail) == 3)
        await asyncio.sleep(0.2)
        assert len(cooking.trail) == 3
        running = await store.tasks().filter(status=Status.RUNNING).acount()
        assert running == 3
        cooking.gate.set()
        for result in results:
            await finished(result)
    assert sorted(cooking.trail) == list(range(10))


# Configuration


def test_without_the_app_it_says_what_to_do(settings):
    settings.INSTALLED_APPS = ["asyncviews"]
    (error,) = task_backends["default"].check()
    assert '"asyncviews.durable" in INSTALLED_APPS' in error.msg


async def test_without_the_app_nothing_starts(settings):
    settings.INSTALLED_APPS = ["asyncviews"]
    with pytest.raises(StartupFailed, match=r'"asyncviews\.durable" in INSTALLED_APPS'):
        async with lifespan(run_stored_tasks=True):
            pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"LEASE": 0}, "LEASE: Input should be greater"),
        ({"ENQUEUE_ON_COMMIT": False}, "ENQUEUE_ON_COMMIT: unknown"),
        ({"POLL_INTERVAL": 0, "MAX_INTERRUPTIONS": 0}, "POLL_INTERVAL: .*; MAX_INTERRUPTIONS"),
    ],
)
def test_options_that_cannot_be_used_are_refused(settings, options, message):
    configure(settings, **options)
    (error,) = task_backends["default"].check()
    assert error.id == "asyncviews.E004"
    assert re.search(message, error.msg)
    with pytest.raises(InvalidTaskBackend, match=message):
        _ = task_backends["default"].durable_options


def test_the_defaults_are_those_of_the_documentation():
    options = DurableOptions()
    assert (options.lease, options.poll_interval, options.history_age) == (30, 1, 604800)
    assert issubclass(InvalidTaskBackend, ImproperlyConfigured)
