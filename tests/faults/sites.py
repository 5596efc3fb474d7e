"""A site for each home of tasks: its processes, what it has accepted, and what became of that."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import httpx
import psycopg

from tests.faults import journal
from tests.live.kitchen.processes import AT_ONCE, Kitchen, delete_queue
from tests.live.proxy import Proxy
from tests.live.server_process import ServerProcess, is_running, until, workers
from tests.tasks.conftest import SERVER, postgresql, sqlite

ASYNCVIEWS = {"MAX_RUNNING": AT_ONCE, "MAX_WAITING": 5000, "DRAIN_TIMEOUT": 1}
BUSY = 5  # tasks at once
CELERY_PROCESSES = 2  # of each of the two workers
ERROR = re.compile(r"^(?:ERROR|CRITICAL) |: (?:ERROR|CRITICAL)/")  # Celery has a format of its own
CUT_OFF = re.compile(r"\bwith (\d+)\) .*shutting down")
FINISHED = {"SUCCESSFUL", "FAILED"}


class Accepted(NamedTuple):
    """A task that was enqueued: its result, and the process that has answered so."""

    result_id: str
    pid: int


class Site:
    """Two workers of ``serve``, which enqueue tasks and run them."""

    task_seconds = 0.3

    def __init__(self, kitchen: Kitchen, count: int) -> None:
        self.kitchen = kitchen
        kitchen.environment |= {
            "DJANGO_SETTINGS_MODULE": "tests.faults.project.settings",
            "KITCHEN_ASYNCVIEWS": json.dumps(ASYNCVIEWS),
            "FAULTS_SECONDS": str(self.task_seconds),
        }
        self.count = count
        """How many tasks it is to have; so many that the fault finds some of them waiting."""
        self.accepted: dict[int, Accepted] = {}
        self.refused = 0
        """How many requests to enqueue were not answered with 200."""
        self.poison: int | None = None
        """The task that ends its process."""
        self.victims: set[int] = set()
        """Processes that have been sent a signal."""
        self._numbers = 0

    # What runs

    def start(self) -> None:
        self.server = self.kitchen.serve("--workers", "2")

    def stop(self) -> None:
        """End all processes in an orderly way."""
        self.server.stop()

    def restart(self) -> None:
        """Replace all processes, as a deployment does; return when the old ones are gone."""
        old = workers(self.server)
        self.server.send(signal.SIGUSR2)
        until(lambda: not any(map(is_running, old)), self.server, seconds=40)

    def choose_victim(self) -> Callable[[signal.Signals], None]:
        """Return what sends a signal to a process in the middle of several tasks."""
        victim = until(self._busy_process, self.server)
        self.victims.add(victim)
        return lambda signum: os.kill(victim, signum)

    def _busy_process(self) -> int | None:
        living = workers(self.server)
        running: Counter[int] = Counter()
        for step in self.steps():
            if step.pid in living:
                running[step.pid] += {"begin": 1, "end": -1}.get(step.kind, 0)
        busiest = max(running, key=running.__getitem__)
        return busiest if running[busiest] >= BUSY else None

    def outage(self) -> AbstractContextManager[None]:
        """For the length of the block, take away what stores the tasks."""
        raise NotImplementedError

    # What is asked of it

    def enqueue(self, count: int = 1, *, poison: bool = False) -> bool:
        """Enqueue that many more tasks by one request; return whether they were accepted."""
        first, self._numbers = self._numbers, self._numbers + count
        query = {"first": first, "count": count, "poison": poison}
        try:
            response = httpx.post(f"{self.server.url}/enqueue/", params=query, timeout=20)
            answer = response.raise_for_status().json()
        except httpx.HTTPError:
            self.refused += 1
            return False
        for number, result_id in enumerate(answer["ids"], first):
            self.accepted[number] = Accepted(result_id, answer["pid"])
        self.poison = first if poison else self.poison
        return True

    def fill(self, count: int, *, requests: int) -> None:
        """Enqueue many tasks, by so many requests, so that each process gets some."""
        for _ in range(requests):  # one may go to a process that ends
            until(lambda: self.enqueue(count // requests), self.server)

    def steps(self) -> list[journal.Step]:
        return journal.read(self.kitchen.ledger)

    def ended(self) -> set[int]:
        """Return the tasks whose functions have returned."""
        return {step.number for step in self.steps() if step.kind == "end"}

    def statuses(self) -> dict[int, str]:
        """Return how the results stand of what was accepted; an empty string for an unknown one."""
        ids = [accepted.result_id for accepted in self.accepted.values()]
        try:
            response = httpx.post(f"{self.server.url}/statuses/", json={"ids": ids}, timeout=20)
        except httpx.TransportError:  # the process was killed, which it said to nobody
            return dict.fromkeys(self.accepted, "")
        return dict(zip(self.accepted, response.raise_for_status().json(), strict=True))

    @property
    def output(self) -> str:
        return self.kitchen.output

    def error_lines(self) -> list[str]:
        return [line for line in self.output.splitlines() if ERROR.search(line)]

    def may_be_lost(self) -> set[int]:
        """Return the tasks that this home does not promise to run to their end."""
        return set()


class MemorySite(Site):
    """Tasks run in the process that has enqueued them, and so do their results."""

    def statuses(self) -> dict[int, str]:
        found = {step.number: step.detail for step in self.steps() if step.kind == "finished"}
        return {number: found.get(number, "") for number in self.accepted}

    def may_be_lost(self) -> set[int]:
        """Return what was in processes that were killed, or is named in the log of a shutdown."""
        named = {int(number) for number in CUT_OFF.findall(self.output)}
        poisoned = {step.pid for step in self.steps() if step.number == self.poison}
        dead = {pid for pid in self.victims | poisoned if not is_running(pid)}
        return named | {n for n, accepted in self.accepted.items() if accepted.pid in dead}


class SQLiteSite(Site):
    @contextmanager
    def outage(self) -> Iterator[None]:
        """Keep everybody else from writing."""
        database = json.loads(self.kitchen.environment["KITCHEN_DATABASE"])["NAME"]
        with closing(sqlite3.connect(database, timeout=20, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield
            connection.execute("ROLLBACK")


class PostgreSQLSite(Site):
    @contextmanager
    def outage(self) -> Iterator[None]:
        """End all connections to the database, and accept no new one."""
        name = json.loads(self.kitchen.environment["KITCHEN_DATABASE"])["NAME"]
        with psycopg.connect(**SERVER, autocommit=True) as admin:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            yield
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


class CelerySite(Site):
    """Two workers of ``serve``, which enqueue tasks, and two of Celery, which run them."""

    task_seconds = 0.05

    def __init__(self, kitchen: Kitchen, count: int, proxy: Proxy) -> None:
        super().__init__(kitchen, count)
        self._proxy = proxy
        self._cooks: list[ServerProcess] = []

    def start(self) -> None:
        with ThreadPoolExecutor() as pool:
            cooks = [pool.submit(self.kitchen.celery_worker) for _ in range(2)]
            super().start()
        self._cooks = [cook.result() for cook in cooks]

    def stop(self) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(ServerProcess.stop, [self.server, *self._cooks]))

    def restart(self) -> None:
        for number, old in enumerate(self._cooks):
            self._cooks[number] = self.kitchen.celery_worker()
            old.stop()
        super().restart()

    def choose_victim(self) -> Callable[[signal.Signals], None]:
        return partial(self._cooks[0].send, group=True)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Cut the connections to the broker, and accept no new one."""
        self._proxy.close()
        yield
        self._proxy.open()

    def may_be_lost(self) -> set[int]:
        """Return the poison, which is delivered for ever."""
        return {self.poison} - {None}


# Each of them is open for the length of a block, in an empty directory, and leaves nothing behind.


@contextmanager
def in_memory(directory: Path, count: int) -> Iterator[Site]:
    with closing(Kitchen(directory, sqlite(directory), "memory")) as kitchen:
        yield MemorySite(kitchen, count)


@contextmanager
def on_sqlite(directory: Path, count: int) -> Iterator[Site]:
    database = sqlite(directory)
    database["OPTIONS"]["timeout"] = 1  # seconds until a lock is an error
    with closing(Kitchen(directory, database, "durable")) as kitchen:
        kitchen.migrate()
        yield SQLiteSite(kitchen, count)


@contextmanager
def on_postgresql(directory: Path, count: int) -> Iterator[Site]:
    name = f"asyncviews_faults_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(**SERVER, autocommit=True, connect_timeout=3) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        try:
            with closing(Kitchen(directory, postgresql(name), "durable")) as kitchen:
                kitchen.migrate()
                yield PostgreSQLSite(kitchen, count)
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def with_celery(directory: Path, count: int) -> Iterator[Site]:
    with closing(Proxy(5672)) as proxy:
        kitchen = Kitchen(directory, sqlite(directory), "celery")
        queue = kitchen.use_broker(proxy.port)
        try:
            yield CelerySite(kitchen, count, proxy)
        finally:
            kitchen.close()
            delete_queue(queue)


HOMES: dict[str, Callable[[Path, int], AbstractContextManager[Site]]] = {
    "memory": in_memory,
    "SQLite": on_sqlite,
    "PostgreSQL": on_postgresql,
    "Celery": with_celery,
}
