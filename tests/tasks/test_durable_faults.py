"""Stored tasks that crash, fail, cannot be run or written, and workers that cannot work."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from types import FunctionType

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connections
from django.utils import timezone

from asyncviews import health, origin
from asyncviews.asgi import lifespan
from asyncviews.background import State, runner
from asyncviews.durable import outbox, store, task, watch, worker
from asyncviews.durable.models import Status, StoredTask, Worker
from asyncviews.tasks.compat import TaskResultStatus, signals
from asyncviews.tasks.workers import open_workers
from asyncviews.threads import ThreadPool
from tests.conftest import until
from tests.tasks import cooking
from tests.tasks.cooking import task_backends
from tests.tasks.test_durable import configure, finished, row


@pytest.fixture(autouse=True)
def _tasks(settings):
    configure(settings)
    cooking.trail.clear()
    cooking.gate.clear()
    yield
    cooking.gate.set()


@pytest.fixture
async def serving(database):
    async with lifespan(run_stored_tasks=True):
        yield


@pytest.fixture
def ends():
    """What `task_finished` tells of, as ids."""
    heard = []

    def receive(sender, task_result, **kwargs):
        assert sender.__name__ == "DurableBackend"
        heard.append((task_result.id, str(task_result.status)))

    signals.task_finished.connect(receive)
    yield heard
    signals.task_finished.disconnect(receive)


async def held_by(worker_id: str, task_id: str, name: str = "note", **values) -> StoredTask:
    """Store a task as if another process had claimed it."""
    values = {"begun": True, "needs_thread": False} | values
    return await store.tasks().acreate(
        id=task_id, backend="default", queue_name="default", priority=0,
        task_path=f"tests.tasks.cooking.{name}", args=[task_id], kwargs={},
        status=Status.RUNNING, leased_by=worker_id, enqueued_at=timezone.now(), **values,
    )  # fmt: skip


async def ended(task_id: str, *, seconds: float = 8) -> StoredTask:
    async with asyncio.timeout(seconds):
        while True:
            stored = await store.tasks().aget(id=task_id)
            if stored.status in {Status.FAILED, Status.SUCCESSFUL}:
                return stored
            await asyncio.sleep(0.01)


def bury(worker_id: str) -> list[StoredTask]:
    return store.bury(worker_id, -1, max_interruptions=2) or []


# What a process held when it died


async def test_what_never_began_is_not_charged(database):
    await held_by("dead", "running")
    await held_by("dead", "waiting", begun=False)
    await sync_to_async(bury)("dead")
    found = {task.id: task async for task in store.tasks()}
    assert {task.status for task in found.values()} == {Status.READY}
    assert (found["running"].interruptions, found["waiting"].interruptions) == (1, 0)
    assert (found["running"].worker_ids, found["waiting"].worker_ids) == (["dead"], [])


async def test_nothing_fails_for_an_end_that_something_else_may_have_caused(database):
    for task_id in ("culprit", "neighbour"):
        await held_by("dead", task_id, interruptions=7)
    await sync_to_async(bury)("dead")
    assert [task.status async for task in store.tasks()] == [Status.READY] * 2
    await store.tasks().aupdate(status=Status.RUNNING, leased_by="dead", begun=True)
    await store.tasks().filter(id="neighbour").adelete()
    await sync_to_async(bury)("dead")
    assert (await store.tasks().aget()).status == Status.FAILED


async def test_what_was_interrupted_begins_alone_and_others_when_it_has_proved_harmless(
    database, settings, monkeypatch
):
    monkeypatch.setattr("asyncviews.durable.task.PROBATION", 0.5)
    configure(settings, POLL_INTERVAL=0.02)
    names = [(await cooking.hold.aenqueue(number)).id for number in range(3)]
    suspects = store.tasks().filter(id__in=names[:2])
    await suspects.aupdate(interruptions=1)
    async with lifespan(run_stored_tasks=True):
        await until(lambda: cooking.trail == [0])
        await asyncio.sleep(0.2)
        assert cooking.trail == [0]
        await until(lambda: cooking.trail == [0, 1])
        await asyncio.sleep(0.2)
        assert cooking.trail == [0, 1]
        await until(lambda: cooking.trail == [0, 1, 2])
        cooking.gate.set()
        for name in names:
            await ended(name)


async def test_a_last_chance_is_had_in_a_process_with_nothing_else(database, settings, monkeypatch):
    monkeypatch.setattr("asyncviews.durable.task.PROBATION", 0.1)
    configure(settings, POLL_INTERVAL=0.02)
    suspect = await cooking.hold.aenqueue("suspect")
    await store.tasks().aupdate(interruptions=4)
    async with lifespan(run_stored_tasks=True):
        await until(lambda: cooking.trail == ["suspect"])
        other = await cooking.note.aenqueue("other")
        await asyncio.sleep(0.4)
        assert cooking.trail == ["suspect"]
        cooking.gate.set()
        await finished(suspect)
        await finished(other)


async def test_a_last_chance_does_not_stop_a_process_that_is_busy_for_long(
    serving, settings, monkeypatch
):
    monkeypatch.setattr("asyncviews.durable.task.PROBATION", 0.1)
    await cooking.hold.aenqueue("long")
    await until(lambda: cooking.trail == ["long"])
    suspect = await cooking.asmoke.aenqueue("ribs")
    await store.tasks().filter(id=suspect.id).aupdate(status=Status.READY, interruptions=4)
    await asyncio.sleep(0.2)
    await finished(await cooking.note.aenqueue("other"))
    cooking.gate.set()
    await ended(suspect.id)


async def test_a_buried_task_is_announced_and_logged(serving, caplog, ends):
    await held_by("dead", "poison", interruptions=4)
    await ended("poison")
    await until(lambda: ends == [("poison", "FAILED")])
    assert "Task tests.tasks.cooking.note (poison) was interrupted too often" in caplog.text
    assert cooking.trail == []


# Threads and slots


async def test_no_more_is_claimed_than_there_are_threads(database, settings):
    settings.ASYNCVIEWS = {"BACKGROUND_THREADS": 2}
    naps = [await cooking.naps.aenqueue(0.3) for _ in range(6)]
    most = 0
    async with lifespan(run_stored_tasks=True):
        result = await cooking.asmoke.aenqueue("ribs")
        assert (await finished(result)).return_value == "ribs with none"
        while not all([(await row(nap)).status == Status.SUCCESSFUL for nap in naps]):
            most = max(most, await store.tasks().filter(status=Status.RUNNING).acount())
            await asyncio.sleep(0.01)
    assert most == 2


async def test_one_may_wait_for_a_thread_that_others_use(serving, settings):
    settings.ASYNCVIEWS = {"BACKGROUND_THREADS": 1}
    lease, ends = runner.threads.lease(), threading.Event()
    lease.submit(ends.wait, 10)
    result = await cooking.where.aenqueue()
    async with asyncio.timeout(5):
        while (await row(result)).status != Status.RUNNING:
            await asyncio.sleep(0.01)
    ends.set()
    lease.release()
    assert (await finished(result)).status == TaskResultStatus.SUCCESSFUL


async def test_what_waits_in_the_runner_has_not_begun(database, settings):
    configure(settings, POLL_INTERVAL=60, LEASE=300)  # it looks for tasks only when it is woken
    settings.ASYNCVIEWS = {"MAX_RUNNING": 1}
    release = asyncio.Event()
    with runner.attached(asyncio.get_running_loop()):
        task = runner.accept(cooking_task(release.wait))
        runner.start([task])
        await until(lambda: task.state is State.RUNNING)
        async with open_workers():  # now, so that its first search finds the slot taken
            result = await cooking.asmoke.aenqueue("ribs")
            async with asyncio.timeout(5):
                while (stored := await row(result)).status != Status.RUNNING:
                    await asyncio.sleep(0.01)
            assert (stored.begun, stored.started_at) == (False, None)
            release.set()
            await finished(result)


def cooking_task(func):
    from asyncviews.background import BackgroundTask

    return BackgroundTask(func)


# Attempts


async def test_a_retry_waits_in_the_database_and_its_slot_is_free(serving, settings, caplog):
    settings.ASYNCVIEWS = {"MAX_RUNNING": 1}
    result = await cooking.burns_slowly.aenqueue()
    async with asyncio.timeout(5):
        while (stored := await row(result)).retry_at is None:
            await asyncio.sleep(0.005)
    assert (stored.status, stored.attempts, stored.leased_by) == (Status.READY, 1, "")
    assert 0 < (stored.retry_at - stored.last_attempted_at).total_seconds() < 0.7
    assert runner.get(result.id).state is State.RETRIED
    other = await finished(await cooking.asmoke.aenqueue("ribs"))
    assert other.return_value == "ribs with none"
    assert cooking.trail == ["burned"]
    await finished(result)
    assert cooking.trail == ["burned"] * 2
    assert result.attempts == 2
    assert len(result.errors) == 2
    assert "failed at attempt 1 of 2 and is tried again: ValueError" in caplog.text
    last = [record for record in caplog.records if record.getMessage().endswith("failed.")]
    assert [(record.levelname, record.task_attempt) for record in last] == [("ERROR", 2)]


async def test_attempts_are_counted_over_processes(database):
    result = await cooking.burns_often.aenqueue()
    for attempts in range(1, 5):
        async with lifespan(run_stored_tasks=True):
            await until(partial(lambda count: len(cooking.trail) >= count, attempts))
    async with lifespan(run_stored_tasks=True):
        await finished(result)
    assert cooking.trail == ["burned"] * 5
    backend = task_backends["default"]
    assert await sync_to_async(backend.retry)(result.id)
    assert (await row(result)).attempts == 0


async def test_what_was_never_called_has_not_failed(serving, monkeypatch):
    """Where no thread can be started, say."""
    monkeypatch.setattr(task, "LONGEST_MISS", 0.05)
    refused = []

    def lease(**kwargs):
        if len(refused) < 2:
            refused.append(1)
            raise RuntimeError("can't start new thread")
        return ThreadPool.lease(runner.threads, **kwargs)

    monkeypatch.setattr(runner.threads, "lease", lease)
    result = await finished(await cooking.smoke.aenqueue("ribs"))
    assert (result.return_value, result.attempts) == ("ribs with none", 1)
    assert ((await row(result)).misses, len(result.errors)) == (2, 2)


@pytest.mark.parametrize("pause", [30.0, timedelta(seconds=30)])
async def test_a_function_may_say_when_to_try_again(serving, monkeypatch, pause):
    policy = cooking.burns_often.func._asyncviews_policy
    changed = policy.model_copy(update={"retry_on": lambda exc: pause})
    monkeypatch.setattr(cooking.burns_often.func, "_asyncviews_policy", changed)
    result = await cooking.burns_often.aenqueue()
    async with asyncio.timeout(5):
        while (stored := await row(result)).retry_at is None:
            await asyncio.sleep(0.005)
    assert 25 < (stored.retry_at - timezone.now()).total_seconds() <= 30
    await store.tasks().adelete()


async def test_what_waits_for_another_attempt_can_be_cancelled(serving, monkeypatch, ends):
    policy = cooking.burns_often.func._asyncviews_policy
    changed = policy.model_copy(update={"retry_on": lambda exc: 30})
    monkeypatch.setattr(cooking.burns_often.func, "_asyncviews_policy", changed)
    result = await cooking.burns_often.aenqueue()
    async with asyncio.timeout(5):
        while (await row(result)).retry_at is None:
            await asyncio.sleep(0.005)
    assert await sync_to_async(task_backends["default"].cancel)(result.id)
    await finished(result)
    classes = [error.exception_class for error in result.errors]
    assert classes == [ValueError, asyncio.CancelledError]
    await until(lambda: ends == [(result.id, "FAILED")])


# Code that this process does not have, and that ends it


IMPORTS = {
    "builtins.SystemExit": "raise SystemExit(3)",
    "django.db.utils.OperationalError": (
        "from django.db import OperationalError; raise OperationalError('too many connections')"
    ),
}


@pytest.mark.parametrize("error", IMPORTS)
async def test_an_end_or_an_outage_at_import_is_tried_again_and_fails_no_worker(
    serving, error, monkeypatch, tmp_path, ends
):
    name = f"ends_at_import_{len(error)}"
    (tmp_path / f"{name}.py").write_text(IMPORTS[error])
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(task, "MAX_MISSES", 2)
    monkeypatch.setattr(task, "LONGEST_MISS", 0.05)
    await held_by("", "exits")
    await store.tasks().aupdate(status=Status.READY, begun=False, task_path=f"{name}.task")
    stored = await ended("exits")
    assert (stored.errors[0]["exception_class_path"], stored.misses) == (error, 1)
    await until(lambda: ends == [("exits", "FAILED")])
    assert (await finished(await cooking.asmoke.aenqueue("ribs"))).return_value


async def test_a_function_that_is_unknown_here_goes_back_until_a_process_knows_it(
    serving, monkeypatch, caplog
):
    monkeypatch.setattr(task, "LONGEST_MISS", 0.05)
    await held_by("", "new")
    new = "tests.tasks.cooking.brand_new"
    await store.tasks().aupdate(status=Status.READY, begun=False, task_path=new)
    await until(lambda: "(new) cannot be run by this process, and goes back" in caplog.text)
    assert (await store.tasks().aget()).status != Status.FAILED
    function = FunctionType(cooking.note.func.__code__, vars(cooking), "brand_new")
    monkeypatch.setattr(cooking, "brand_new", cooking.task(function), raising=False)
    assert (await ended("new")).status == Status.SUCCESSFUL
    assert cooking.trail == ["new"]


async def test_a_cancelled_task_is_announced_even_if_its_code_is_gone(serving, ends):
    await held_by("", "gone", run_after=timezone.now() + timedelta(hours=1))
    await store.tasks().aupdate(status=Status.READY, task_path="nowhere.to_be.found")
    assert await sync_to_async(task_backends["default"].cancel)("gone")
    await until(lambda: ends == [("gone", "FAILED")])


async def test_a_task_cancelled_before_its_first_step_is_announced(serving, settings, ends):
    settings.ASYNCVIEWS = {"MAX_RUNNING": 1}
    release = asyncio.Event()
    task = runner.accept(cooking_task(release.wait))
    runner.start([task])
    await until(lambda: task.state is State.RUNNING)
    result = await cooking.asmoke.aenqueue("ribs")
    await until(lambda: runner.task(result.id))
    assert await sync_to_async(task_backends["default"].cancel)(result.id)
    await finished(result)
    release.set()
    await task
    await until(lambda: ends == [(result.id, "FAILED")])


# What the database does not take


def refuse_results(alias: str) -> None:
    """Have the database refuse one result with an error that an outage has, too."""
    with connections[alias].cursor() as cursor:
        if connections[alias].vendor == "sqlite":
            cursor.execute(
                "CREATE TRIGGER refuse BEFORE UPDATE ON asyncviews_durable_storedtask "
                """WHEN NEW.return_value LIKE '"refused%' BEGIN SELECT RAISE(ABORT, 'no'); END"""
            )
            return
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "IF NEW.return_value::text LIKE '\"refused%' THEN "
            "RAISE EXCEPTION 'no' USING ERRCODE = '54000'; END IF; RETURN NEW; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER refuse BEFORE UPDATE ON asyncviews_durable_storedtask "
            "FOR EACH ROW EXECUTE FUNCTION refuse()"
        )


async def test_a_result_that_is_refused_fails_its_task_and_no_other(
    serving, database, caplog, ends
):
    await sync_to_async(refuse_results)(database)
    refused = await cooking.smoke.aenqueue("refused")
    others = [await cooking.smoke.aenqueue(str(number)) for number in range(10)]
    for other in others:
        assert (await finished(other)).status == TaskResultStatus.SUCCESSFUL
    await finished(refused)
    assert refused.status == TaskResultStatus.FAILED
    assert "no" in refused.errors[0].traceback
    assert f"What task {refused.id} returned cannot be stored." in caplog.text
    assert "cannot be used" not in caplog.text
    assert (await finished(await cooking.asmoke.aenqueue("ribs"))).return_value


def test_an_outcome_that_is_refused_for_the_moment_stays(monkeypatch):
    """Whether that is so, another write tells."""
    calls = []

    def save(outcomes, max_interruptions):
        calls.append(list(outcomes))
        if len(calls) < 5:
            raise OperationalError("database is locked")
        return []

    def locked():
        raise OperationalError("database is locked")

    monkeypatch.setattr(store, "save", save)
    box = outbox.Outbox(max_interruptions=5, probe=locked)
    box.add(store.Outcome("1", "me", {"status": "SUCCESSFUL"}))
    for _ in range(2):
        with pytest.raises(OperationalError, match="locked"):
            box.write()
    box.write()
    assert len(box) == 0
    assert calls[-1][0].values == {"status": "SUCCESSFUL"}


# Workers


async def test_a_worker_that_ends_says_so_and_has_its_process_replaced(
    database, monkeypatch, caplog
):
    class Gone(BaseException):
        pass

    def breaks(*args):
        raise Gone("away")

    reasons = []
    with health.replacing(reasons.append):
        async with lifespan(run_stored_tasks=True):
            monkeypatch.setattr(store, "beats", breaks)
            await until(lambda: reasons)
            assert not health.is_ready()
    assert reasons == ["The worker of TASKS[\"default\"] has failed: Gone('away')"]
    assert "The worker of durable tasks has ended." in caplog.text


async def test_a_worker_that_fails_for_a_lease_is_not_ready(serving, monkeypatch):
    assert health.is_ready()
    with monkeypatch.context() as patch:
        patch.setattr(store, "beats", lambda alias: 1 / 0)
        await until(lambda: not health.is_ready())
    await until(health.is_ready)


async def test_a_retiring_process_claims_nothing(serving):
    first = await cooking.hold.aenqueue("first")
    await until(lambda: cooking.trail == ["first"])
    health.retire()
    second = await cooking.note.aenqueue("second")
    await asyncio.sleep(0.2)
    assert (await row(second)).status == Status.READY
    cooking.gate.set()
    await finished(first)
    assert (await row(second)).status == Status.READY
    await store.tasks().adelete()


async def test_a_process_shows_no_life_while_its_loop_is_blocked(database, caplog):
    result = await cooking.hold.aenqueue("ribs")
    async with lifespan(run_stored_tasks=True):
        await until(lambda: cooking.trail == ["ribs"])
        beats = await sync_to_async(lambda: list(block_for(1.0, database)))()
        assert beats[-1] - beats[0] <= 1
        assert caplog.text.count("The event loop has been blocked for") == 1
        beat = beats[-1]
        async with asyncio.timeout(5):
            while (await Worker.objects.using(database).aget()).beat <= beat:
                await asyncio.sleep(0.01)
        cooking.gate.set()
        await finished(result)


def block_for(seconds: float, database: str) -> Iterator[int]:
    """Block the event loop of the caller; yield the beats of the only worker meanwhile."""
    loop = runner._loop
    assert loop is not None
    loop.call_soon_threadsafe(time.sleep, seconds)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline - 0.1:
        yield Worker.objects.using(database).get().beat
        time.sleep(0.02)
    connections[database].close()


class Clock:
    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(watch.time, "monotonic", lambda: self.now)


def test_a_worker_is_dead_after_two_thirds_of_a_lease_without_a_beat(monkeypatch):
    clock, looks = Clock(monkeypatch), watch.Watch(30)
    for _ in range(4):
        assert list(looks.look({"dead": 7, "new": clock.now})) == []
        clock.now += 5
    assert list(looks.look({"dead": 7, "new": clock.now})) == [("dead", 7)]


@pytest.mark.parametrize("how", ["pause", "outage"])
def test_who_was_away_itself_gives_others_a_whole_lease(monkeypatch, how):
    clock, looks = Clock(monkeypatch), watch.Watch(30)
    for _ in range(3):
        assert list(looks.look({"other": 7})) == []
        clock.now += 5
    if how == "outage":
        looks.interrupt()
    clock.now += 60 if how == "pause" else 1
    back = clock.now
    while not list(looks.look({"other": 7})):
        clock.now += 5
    assert clock.now - back == 30


async def test_the_pulse_of_a_loop_stops_while_it_is_blocked():
    pulse = watch.LoopPulse(asyncio.get_running_loop())
    assert pulse.silence() == 0
    time.sleep(0.05)  # noqa: ASYNC251 - it is what is tested
    assert pulse.silence() >= 0.05
    await asyncio.sleep(0)
    assert pulse.silence() == 0
    closed = asyncio.new_event_loop()
    closed.close()
    pulse = watch.LoopPulse(closed)
    pulse.silence()
    assert pulse.silence() > 0


# Where a task comes from


async def test_a_failure_is_logged_with_the_request_that_enqueued_the_task(serving, caplog):
    with origin.of({"method": "POST", "path": "/orders/\nERROR forged"}):
        result = await cooking.burns.aenqueue()
    await finished(result)
    (record,) = [r for r in caplog.records if r.name == "asyncviews.background"]
    assert record.levelno == logging.ERROR
    assert record.task_origin == r"POST /orders/\nERROR forged"
    assert "started by POST /orders/" in record.getMessage()
    assert origin.current() is None


async def test_one_failure_does_not_end_the_worker(serving, monkeypatch, caplog):
    """Of its own code, not of the database."""
    failures = iter([TypeError("once")])
    look = worker.DurableWorker._look_at_loop

    def failing(self):
        for failure in failures:
            raise failure
        look(self)

    monkeypatch.setattr(worker.DurableWorker, "_look_at_loop", failing)
    result = await cooking.asmoke.aenqueue("ribs")
    assert (await finished(result)).return_value == "ribs with none"
    told = [record.getMessage() for record in caplog.records if record.exc_info]
    assert told == ["The worker of durable tasks failed, and goes on."]
