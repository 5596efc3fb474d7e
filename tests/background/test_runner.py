"""One runner in each process: order, limits, contexts, threads, and its end."""

from __future__ import annotations

import asyncio
import contextvars
import os
import subprocess
import sys
import textwrap
import threading

import pytest
from asgiref.sync import sync_to_async
from django.test import override_settings
from django.utils import translation

from asyncviews import BackgroundQueueClosed, add_background_task
from asyncviews.asgi import lifespan
from asyncviews.background import State, runner
from tests.conftest import until

trace = contextvars.ContextVar("trace", default="none")


@override_settings(ASYNCVIEWS={"MAX_RUNNING": 2})
async def test_tasks_start_first_in_first_out_and_no_more_than_may_run(app_lifespan):
    order: list[int] = []
    gates = [asyncio.Event() for _ in range(6)]

    async def works(number: int) -> None:
        order.append(number)
        await gates[number].wait()

    tasks = [add_background_task(works, number) for number in range(6)]
    await until(lambda: order == [0, 1])
    assert [task.state for task in tasks[:3]] == [State.RUNNING, State.RUNNING, State.QUEUED]
    gates[1].set()
    await until(lambda: order == [0, 1, 2])
    for gate in gates:
        gate.set()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4, 5]


@override_settings(ASYNCVIEWS={"BACKGROUND_THREADS": 2})
async def test_synchronous_functions_share_a_bounded_pool(app_lifespan):
    gate = threading.Event()
    running: list[int] = []

    def works() -> None:
        running.append(threading.get_ident())
        gate.wait(5)

    tasks = [add_background_task(works) for _ in range(6)]
    await until(lambda: len(running) == 2)
    assert runner.threads.waiting == 4
    gate.set()
    await asyncio.gather(*tasks)
    assert len(set(running)) == 2


@override_settings(ASYNCVIEWS={"BACKGROUND_THREADS": 2})
async def test_waiting_tasks_do_not_keep_the_threads_they_used(app_lifespan):
    """Many tasks that query and then wait long get along with two threads."""
    gate = asyncio.Event()
    queried: list[int] = []

    async def works() -> int:
        queried.append(await sync_to_async(threading.get_ident)())
        await gate.wait()
        return await sync_to_async(threading.get_ident)()

    tasks = [add_background_task(works) for _ in range(10)]
    await until(lambda: len(queried) == 10)
    gate.set()
    assert set(await asyncio.gather(*tasks)) <= set(queried)
    assert len(set(queried)) <= 2


@override_settings(ASYNCVIEWS={"BACKGROUND_THREADS": 4})
async def test_80_tasks_that_query_need_no_more_connections_than_threads(app_lifespan, postgres):
    postgres.set(CONN_MAX_AGE=60)  # one that is closed is a while still among those of the server
    most = []

    def query() -> None:
        postgres.query("SELECT pg_sleep(0.01)")
        most.append(postgres_sessions())

    def postgres_sessions() -> int:
        sql = f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{postgres.name}'"
        return postgres.query(sql)[0]

    await asyncio.gather(*(add_background_task(query) for _ in range(80)))
    assert len(most) == 80
    assert max(most) <= 4


@override_settings(ASYNCVIEWS={"BACKGROUND_THREADS": 4})
async def test_without_conn_max_age_80_tasks_leave_no_connection(app_lifespan, postgres):
    await asyncio.gather(*(add_background_task(postgres.query) for _ in range(80)))
    await until(lambda: postgres.sessions() == 0)


async def test_a_task_has_the_context_of_where_it_was_added(app_lifespan):
    async def works() -> tuple[str, str]:
        return trace.get(), translation.get_language()

    token = trace.set("abc")
    with translation.override("de"):
        task = add_background_task(works)
    trace.reset(token)
    assert await task == ("abc", "de")
    assert trace.get() == "none"


async def test_what_a_task_changes_in_its_context_stays_there(app_lifespan):
    async def works() -> None:
        trace.set("changed")

    await add_background_task(works)
    assert trace.get() == "none"


async def test_sys_exit_in_a_task_ends_the_task_only(app_lifespan, caplog):
    async def works() -> None:
        sys.exit(3)

    with pytest.raises(SystemExit):
        await add_background_task(works)
    assert "SystemExit: 3" in caplog.text


async def test_a_task_may_start_another(app_lifespan):
    async def outer() -> int:
        return await add_background_task(int, "7")

    assert await add_background_task(outer) == 7


async def test_a_cancelled_task_takes_no_further_step(app_lifespan):
    """Not even one that was due already: it has been reported as cut off."""
    gate = asyncio.get_running_loop().create_future()
    steps: list[str] = []

    async def works() -> None:
        steps.append("begins")
        await gate
        steps.append("goes on")

    task = add_background_task(works)
    await until(lambda: steps)
    gate.set_result(None)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["begins"]


async def test_after_a_drain_nothing_is_accepted(app_lifespan):
    await runner.drain(1)
    with pytest.raises(BackgroundQueueClosed, match="shutting down"):
        add_background_task(print)


async def test_while_it_drains_a_task_may_start_another(caplog):
    go, ended = asyncio.Event(), []

    async def outer() -> None:
        await go.wait()
        add_background_task(ended.append, 1)

    async with lifespan():
        add_background_task(outer)
        asyncio.get_running_loop().call_later(0.02, go.set)  # when the block has ended
    assert ended == [1]
    assert caplog.text == ""


async def test_after_the_lifespan_the_runner_works_without_it():
    async with lifespan():
        pass
    assert await add_background_task(int, "7") == 7


async def test_a_task_that_ignores_cancellation_is_reported_not_waited_for(caplog):
    gate = asyncio.Event()

    async def stubborn() -> None:
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue

    with override_settings(ASYNCVIEWS={"DRAIN_TIMEOUT": 0}):
        async with lifespan():
            task = add_background_task(stubborn)
            await until(lambda: task._asyncio_task)
    assert f"{task.id}) is cut off" in caplog.text
    assert f"{task.id}) does not stop; it ends with the process" in caplog.text
    gate.set()
    await task


async def test_a_synchronous_task_that_hangs_does_not_hold_up_the_end(caplog):
    gate = threading.Event()
    with override_settings(ASYNCVIEWS={"DRAIN_TIMEOUT": 0.05}):
        async with lifespan():
            task = add_background_task(gate.wait, 5)
            await until(lambda: runner.threads.busy == 1)
    assert f"{task.id}, with 5) is cut off" in caplog.text
    assert task.state is State.ABANDONED
    gate.set()


def test_a_loop_that_ends_without_a_drain_is_noticed(caplog):
    """As when a startup fails after a resource has started a task."""
    tasks = []

    async def server() -> None:
        with runner.attached(asyncio.get_running_loop()):
            tasks.append(add_background_task(asyncio.Event().wait))
            await until(lambda: tasks[0]._asyncio_task)

    asyncio.run(server())
    (task,) = tasks
    assert f"{task.id}) is cut off: its event loop ends" in caplog.text
    assert task.state is State.CANCELLED


def test_without_a_lifespan_tasks_run_on_a_loop_of_the_runners_own():
    async def where() -> str:
        return threading.current_thread().name

    assert asyncio.run(_wait_for(add_background_task(where))) == "asyncviews-loop"


async def _wait_for(task):
    return await task


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"} | environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


threads_at_exit = pytest.mark.skipif(
    (3, 12, 0) <= sys.version_info < (3, 12, 2),
    reason="CPython 3.12.0 and 3.12.1 start no thread at exit (gh-113964)",
)


@threads_at_exit
def test_a_command_ends_only_when_its_background_tasks_have():
    """At exit the loop of its own is drained, while executors and look-ups still work."""
    ended = python("""
        import asyncio, logging, socket, threading
        import django; django.setup()
        from asyncviews import add_background_task
        logging.basicConfig(level=logging.INFO)

        async def works():
            await asyncio.to_thread(threading.main_thread().join, 0.5)
            await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80)
            await asyncio.to_thread(logging.info, "finished async")

        add_background_task(works)
        add_background_task(logging.info, "finished sync")
        logging.info("main ends")
        """)
    assert ended.returncode == 0
    lines = ended.stderr.splitlines()
    assert {"INFO:root:finished sync", "INFO:root:finished async"} <= set(lines)
    assert lines.index("INFO:root:main ends") < lines.index("INFO:root:finished async")


def test_a_command_loses_no_task_without_a_word():
    """Not even where CPython starts no thread at exit: then the task fails, and that is logged."""
    ended = python("""
        import logging
        import django; django.setup()
        from asyncviews import add_background_task
        logging.basicConfig(level=logging.INFO)
        add_background_task(logging.info, "finished")
        """)
    assert ended.returncode == 0
    finished = "INFO:root:finished" in ended.stderr
    failed = "logging.info" in ended.stderr and ") failed.\nTraceback" in ended.stderr
    assert finished != failed


@threads_at_exit
def test_a_command_names_what_outlasts_the_deadline():
    ended = python("""
        import asyncio, logging, time
        import django; django.setup()
        from django.test import override_settings
        override_settings(ASYNCVIEWS={"DRAIN_TIMEOUT": 0.1}).enable()
        from asyncviews import add_background_task
        logging.basicConfig()
        add_background_task(asyncio.sleep, 60)
        add_background_task(time.sleep, 60)
        """)
    assert ended.returncode == 0
    assert ended.stderr.count("is cut off: the process is shutting down.") == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork()")
def test_a_forked_child_has_a_runner_of_its_own():
    ended = python("""
        import asyncio, os, warnings
        import django; django.setup()
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads, which is the point
        from asyncviews import add_background_task
        from asyncviews.background import runner
        add_background_task(asyncio.sleep, 0.2)
        if pid := os.fork():
            _, status = os.waitpid(pid, 0)
            raise SystemExit(os.waitstatus_to_exitcode(status))
        assert runner.unfinished() == []
        async def wait_for(task):
            await task
        asyncio.run(wait_for(add_background_task(print, "from the child", flush=True)))
        """)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "from the child\n", "")
