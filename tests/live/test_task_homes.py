"""What becomes of tasks when processes are killed, and servers go away: in memory, in a database,
and with Celery. Each task leaves a line in a file when it ends, and lines are counted."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.conftest import missing
from tests.live.kitchen.processes import AT_ONCE, Kitchen, delete_queue
from tests.live.proxy import Proxy
from tests.live.server_process import SOON, ServerProcess, until
from tests.tasks.conftest import SERVER, postgresql, sqlite

pytestmark = [pytest.mark.live, pytest.mark.timeout(150)]

COUNT = 400
FEW = 120
"""For Celery, which runs two at once."""


@contextmanager
def postgres_database() -> Iterator[tuple[str, psycopg.Connection]]:
    try:
        server = psycopg.connect(**SERVER, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError as exc:
        missing(f"no PostgreSQL at 127.0.0.1:5432: {exc}")
    name = f"asyncviews_kitchen_{uuid.uuid4().hex[:8]}"
    server.execute(f"CREATE DATABASE {name}")
    yield name, server
    server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def durable(request, tmp_path) -> Iterator[Kitchen]:
    """A kitchen whose tasks are in a database, once of either kind."""
    with ExitStack() as stack:
        database = sqlite(tmp_path)
        if request.param == "postgresql":
            database = postgresql(stack.enter_context(postgres_database())[0])
        kitchen = stack.enter_context(closing(Kitchen(tmp_path, database, "durable")))
        kitchen.migrate()
        yield kitchen


@pytest.fixture
def memory(tmp_path) -> Iterator[Kitchen]:
    with closing(Kitchen(tmp_path, sqlite(tmp_path), "memory")) as kitchen:
        yield kitchen


def expected(count: int = COUNT) -> set[str]:
    return {str(number) for number in range(count)}


def kill(process: ServerProcess) -> None:
    process.send(signal.SIGKILL, group=True)
    process.process.wait(10)


# In memory


def test_memory_a_killed_process_loses_its_tasks_and_runs_none_twice(memory):
    server = memory.serve()
    assert len(server.get("/enqueue/", count=COUNT).split(",")) == COUNT
    memory.wait_for_lines(100, server)
    kill(server)
    done = memory.lines()
    assert len(done) < COUNT
    memory.serve()
    time.sleep(1)
    assert memory.lines() == done
    assert set(done.values()) == {1}


@pytest.mark.once_in_ci
@pytest.mark.parametrize("door", ["enqueue", "add"])
def test_memory_sigterm_under_load_names_what_could_not_end(memory, door):
    server = memory.serve()
    server.get(f"/{door}/", count=1000)
    connection = server.open("/sleep/?seconds=60")
    time.sleep(0.3)  # it has to get there
    memory.wait_for_lines(100, server)
    code, elapsed = server.stop()
    assert (code, elapsed < 2 + SOON) == (0, True)
    connection.close()
    named = re.findall(
        r"task tests\.live\.kitchen\.tasks\.(?:cook|smoke) \(\w+(?:, started by [^,]+)?, with (\d+)\)"
        r" (?:is cut off|never starts): the process is shutting down",
        server.output,
    )
    done = memory.lines()
    assert set(done.values()) == {1}
    assert len(named) == len(set(named))
    assert done.keys() | set(named) == expected(1000)
    assert not done.keys() & set(named)
    assert "request GET /sleep/ is cut off" in server.output


@pytest.mark.once_in_ci
def test_memory_a_flood_is_refused_and_what_was_accepted_ends(memory):
    settings = json.dumps({"MAX_RUNNING": 10, "MAX_WAITING": 50})
    server = memory.serve(KITCHEN_ASYNCVIEWS=settings)
    answers = Counter(
        httpx.get(f"{server.url}/enqueue/", params={"count": 1, "first": number}).status_code
        for number in range(20)
    )
    assert answers == {200: 20}
    memory.wait_for_lines(20, server)
    response = httpx.get(f"{server.url}/add/", params={"count": 500}, timeout=20)
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "5"
    memory.wait_for_lines(60, server)
    assert server.get("/enqueue/", count=1) == "0"


# In a database


def test_durable_a_killed_process_loses_nothing(durable):
    server = durable.serve()
    server.get("/enqueue/", count=COUNT)
    durable.wait_for_lines(100, server)
    kill(server)
    before = durable.lines()
    assert len(before) < COUNT
    began = time.monotonic()
    server = durable.serve()
    durable.wait_for_lines(COUNT, server)
    assert time.monotonic() - began < 60
    done = durable.lines()
    assert done.keys() == expected()
    assert sum(done.values()) <= COUNT + AT_ONCE + 1
    code, _ = server.stop()
    assert code == 0
    assert "ERROR" not in server.output


@pytest.mark.once_in_ci
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("durable", ["sqlite"], indirect=True)
def test_durable_a_second_signal_gives_back_what_runs(durable, workers, tmp_path):
    server = durable.serve("--workers", workers)
    server.get("/enqueue/", count=COUNT)
    durable.wait_for_lines(20, server)
    server.send(signal.SIGTERM)
    assert server.stop(signal.SIGINT)[0] == 1
    with closing(sqlite3.connect(tmp_path / "tasks.sqlite3")) as database:
        rows = database.execute("SELECT status FROM asyncviews_durable_storedtask").fetchall()
    assert {status for (status,) in rows} == {"READY", "SUCCESSFUL"}


@pytest.mark.once_in_ci
def test_durable_the_other_worker_takes_over_what_a_killed_one_held(durable):
    server = durable.serve("--workers", "2")
    server.get("/enqueue/", count=COUNT)
    durable.wait_for_lines(50, server)
    victim = children(server.process.pid)[0]
    os.kill(victim, signal.SIGKILL)
    durable.wait_for_lines(COUNT, server)
    done = durable.lines()
    assert done.keys() == expected()
    assert sum(done.values()) <= COUNT + AT_ONCE + 1


@pytest.mark.once_in_ci
def test_durable_two_processes_share_the_tasks_and_run_none_twice(durable):
    first, second = durable.serve(), durable.serve()
    first.get("/enqueue/", count=COUNT)
    durable.wait_for_lines(COUNT, second)
    time.sleep(0.5)
    assert durable.lines() == dict.fromkeys(expected(), 1)
    for server in (first, second):
        assert server.stop()[0] == 0
        assert "ERROR" not in server.output


@pytest.mark.once_in_ci
def test_durable_sigterm_under_load_leaves_the_rest_to_the_next_process(durable):
    server = durable.serve("--workers", "2")
    server.get("/enqueue/", count=COUNT)
    connection = server.open("/sleep/?seconds=60")
    time.sleep(0.3)  # it has to get there
    durable.wait_for_lines(100, server)
    code, elapsed = server.stop()
    connection.close()
    assert (code, elapsed < 2 + SOON) == (0, True)
    before = durable.lines()
    assert len(before) < COUNT
    assert set(before.values()) == {1}
    server = durable.serve()
    durable.wait_for_lines(COUNT, server, seconds=30)
    assert durable.lines() == dict.fromkeys(expected(), 1)


@pytest.mark.once_in_ci
def test_durable_a_task_that_kills_its_process_is_given_up_and_no_other(durable):
    """Of 200 healthy ones, those that were interrupted are so once: from then on they run alone."""
    server = durable.serve("--workers", "2")
    with suppress(httpx.TransportError):  # it may have ended before it could answer
        server.get("/poison/", count=200)
    until_seconds(lambda: "was interrupted too often, and has failed" in server.output, 90, server)
    durable.wait_for_lines(201, server)
    assert durable.lines()["5000"] == 5
    assert stored(durable, "status, count(*)", group="status") == [
        ("FAILED", 1),
        ("SUCCESSFUL", 200),
    ]
    assert stored(durable, "max(interruptions)", where="status = 'SUCCESSFUL'") in ([(0,)], [(1,)])


@pytest.mark.once_in_ci
def test_durable_attempts_are_counted_though_the_process_is_killed(durable):
    server = durable.serve()
    server.get("/enqueue/", count=1, first=7, name="burns")
    until_seconds(lambda: durable.lines()["7 burned"] == 2, 20, server)
    kill(server)
    server = durable.serve()
    until_seconds(lambda: "failed." in server.output, 30, server)
    assert durable.lines()["7 burned"] in {5, 6}  # and the one that was interrupted, if one was


@pytest.mark.once_in_ci
def test_durable_after_an_outage_longer_than_a_lease_nobody_is_buried(tmp_path):
    with (
        postgres_database() as (name, admin),
        closing(Kitchen(tmp_path, postgresql(name), "durable")) as kitchen,
    ):
        kitchen.migrate()
        servers = [
            kitchen.serve(KITCHEN_ASYNCVIEWS=json.dumps({"MAX_RUNNING": 2})) for _ in range(3)
        ]
        servers[0].get("/enqueue/", count=6, name="simmer")
        kitchen.wait_for_lines(6, servers[0])
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        time.sleep(5)
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        kitchen.wait_for_lines(12, servers[0])
        assert set(kitchen.lines().values()) == {1}
        for server in servers:
            until(lambda server=server: "can be used again" in server.output, server)
            assert "ended without a word" not in server.output
            assert "lost its lease" not in server.output


@pytest.mark.once_in_ci
def test_durable_processes_that_were_stopped_together_do_not_bury_each_other(durable):
    servers = [durable.serve(KITCHEN_ASYNCVIEWS=json.dumps({"MAX_RUNNING": 3})) for _ in range(2)]
    servers[0].get("/enqueue/", count=6, name="simmer")
    durable.wait_for_lines(6, servers[0])
    for signum, pause in ((signal.SIGSTOP, 5), (signal.SIGCONT, 0)):
        for server in servers:
            server.send(signum)
        time.sleep(pause)
    durable.wait_for_lines(12, servers[0])
    assert set(durable.lines().values()) == {1}
    assert not any("ended without a word" in server.output for server in servers)


@pytest.mark.once_in_ci
def test_durable_a_process_whose_loop_is_blocked_loses_its_tasks(durable):
    blocked = durable.serve()
    blocked.open("/enqueue/?count=1&name=blocks_once")  # it may block before it can answer
    until_seconds(lambda: durable.lines()["0 blocks"] == 1, 20, blocked)
    other = durable.serve()
    until_seconds(lambda: durable.lines()["0 blocks"] == 2, 40, other)
    until_seconds(lambda: "ended without a word; 1 tasks of it are run" in other.output, 20, other)
    until_seconds(lambda: "The event loop has been blocked for" in blocked.output, 20, blocked)
    until_seconds(lambda: "lost its lease when it ended here" in blocked.output, 20, blocked)
    assert durable.lines()["0"] == 2
    assert stored(durable, "status, count(*)", group="status") == [("SUCCESSFUL", 1)]


@pytest.mark.once_in_ci
def test_durable_a_database_that_restarts_costs_no_task(tmp_path):
    """All connections end, and for two seconds none is accepted."""
    with (
        postgres_database() as (name, admin),
        closing(Kitchen(tmp_path, postgresql(name), "durable")) as kitchen,
    ):
        kitchen.migrate()
        server = kitchen.serve()
        server.get("/enqueue/", count=COUNT)
        kitchen.wait_for_lines(50, server)
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        time.sleep(2)
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        kitchen.wait_for_lines(COUNT, server)
        done = kitchen.lines()
        assert done.keys() == expected()
        assert sum(done.values()) == COUNT
        until(lambda: "The database of the tasks can be used again" in server.output, server)
        assert server.output.count("The database of the tasks cannot be used") == 1
        assert "lost its lease" not in server.output


@pytest.mark.once_in_ci
def test_durable_80_tasks_that_query_get_along_with_60_connections(tmp_path):
    with postgres_database() as (name, admin):
        role = f"{name}_cook"
        admin.execute(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 60")
        admin.execute(f"ALTER DATABASE {name} OWNER TO {role}")
        database = postgresql(name) | {"USER": role}
        try:
            with closing(Kitchen(tmp_path, database, "durable")) as kitchen:
                kitchen.migrate()
                settings = json.dumps({"MAX_RUNNING": 80})
                server = kitchen.serve("--workers", "2", KITCHEN_ASYNCVIEWS=settings)
                server.get("/enqueue/", count=80, name="query")
                kitchen.wait_for_lines(80, server)
                assert "too many connections" not in server.output
                assert kitchen.lines() == dict.fromkeys(expected(80), 1)
                assert server.stop()[0] == 0
        finally:  # the role goes last: it owns the database
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
            admin.execute(f"DROP ROLE {role}")


# With Celery


@pytest.fixture
def celery(tmp_path) -> Iterator[Kitchen]:
    """A kitchen that gives its tasks to Celery, over RabbitMQ and a proxy, with results in Redis."""
    require_port(5672, "RabbitMQ")
    require_port(6379, "Redis")
    with (
        closing(Proxy(5672)) as proxy,
        closing(Kitchen(tmp_path, sqlite(tmp_path), "celery")) as kitchen,
    ):
        queue = kitchen.use_broker(proxy.port)
        kitchen.proxy = proxy
        yield kitchen
    delete_queue(queue)


def require_port(port: int, name: str) -> None:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=3).close()
    except OSError as exc:
        missing(f"no {name} at 127.0.0.1:{port}: {exc}")


@pytest.mark.once_in_ci
def test_celery_a_killed_worker_loses_nothing(celery):
    server = celery.serve()
    first = celery.celery_worker()
    server.get("/enqueue/", count=FEW)
    celery.wait_for_lines(20, first)
    kill(first)
    assert len(celery.lines()) < FEW
    second = celery.celery_worker()
    celery.wait_for_lines(FEW, second)
    done = celery.lines()
    assert done.keys() == expected(FEW)
    assert sum(done.values()) <= FEW + 4


@pytest.mark.once_in_ci
def test_celery_sigterm_under_load_leaves_the_rest_to_the_next_worker(celery):
    server = celery.serve()
    first = celery.celery_worker()
    server.get("/enqueue/", count=FEW)
    celery.wait_for_lines(20, first)
    code, _ = first.stop()
    before = celery.lines()
    assert (code, len(before) < FEW) == (0, True)
    celery.wait_for_lines(FEW, celery.celery_worker())
    assert celery.lines() == dict.fromkeys(expected(FEW), 1)


@pytest.mark.once_in_ci
def test_celery_a_broker_that_restarts_loses_nothing_that_was_accepted(celery):
    server = celery.serve()
    cook = celery.celery_worker()
    server.get("/enqueue/", count=FEW)
    celery.wait_for_lines(20, cook)
    celery.proxy.close()
    refused = httpx.get(f"{server.url}/enqueue/", params={"count": 1, "first": 9000}, timeout=30)
    assert refused.status_code == 500
    celery.proxy.open()
    until_seconds(lambda: accepts(server), 30, server)
    celery.wait_for_lines(FEW + 1, cook)
    done = celery.lines()
    assert expected(FEW) | {"9001"} <= done.keys()


def accepts(server: ServerProcess) -> bool:
    response = httpx.get(f"{server.url}/enqueue/", params={"count": 1, "first": 9001}, timeout=30)
    return response.status_code == 200


@pytest.mark.once_in_ci
def test_celery_beat_starts_what_is_scheduled(celery):
    process = celery.celery_worker("--beat")
    until(lambda: celery.lines()["tick"] >= 2, process)


# What holds in each


CONTRACT = {
    "enqueued": ["READY", [1.5], {"times": 2}, True],
    "known at once": [True, [1.5], {"times": 2}],
    "succeeded": ["SUCCESSFUL", 3.0, []],
    "times": ["enqueued_at", "started_at", "finished_at"],
    "failed": ["FAILED", "builtins.ValueError", True],
    "context": [1, True, "RUNNING", []],
    "deferred": True,
    "priority": 50,
    "returned a set": ["FAILED", True],
    "given a set": "TypeError",
    "unknown": "TaskResultDoesNotExist",
}
ADAPTER = {
    "known at once": False,
    "times": ["finished_at"],
    "priority": 0,
    "given a set": "EncodeError",
}
"""Where django-tasks-fennel 0.1 differs, with results in Redis: docs/how-to/tasks.md says so."""


def test_memory_keeps_the_contract(memory):
    assert json.loads(memory.serve().get("/contract/")) == CONTRACT


def test_durable_keeps_the_contract(durable):
    assert json.loads(durable.serve().get("/contract/")) == CONTRACT


@pytest.mark.once_in_ci
def test_celery_keeps_the_contract(celery):
    celery.celery_worker()
    assert json.loads(celery.serve().get("/contract/")) == CONTRACT | ADAPTER


def stored(kitchen: Kitchen, select: str, *, where: str = "1 = 1", group: str = "") -> list[Any]:
    """Ask the database of a kitchen for its tasks."""
    database = json.loads(kitchen.environment["KITCHEN_DATABASE"])
    query = f"SELECT {select} FROM asyncviews_durable_storedtask WHERE {where}"
    query += f" GROUP BY {group} ORDER BY {group}" if group else ""
    if database["ENGINE"].endswith("sqlite3"):
        with closing(sqlite3.connect(database["NAME"])) as connection:
            return connection.execute(query).fetchall()
    with psycopg.connect(**SERVER | {"dbname": database["NAME"]}) as connection:
        return connection.execute(query).fetchall()


# Processes


def children(pid: int) -> list[int]:
    """Return the worker processes of a `serve` command."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    workers = [
        int(child)
        for child in found
        if b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
    assert workers
    return workers


def until_seconds(condition: Any, seconds: float, process: ServerProcess) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, process.output[-3000:]
        time.sleep(0.05)
