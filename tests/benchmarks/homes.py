"""``django.tasks`` in each home: what an enqueue costs, and how many tasks a process runs.

``python -m tests.benchmarks.homes COUNT SECONDS`` is the process that enqueues.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.live.kitchen.processes import Kitchen, delete_queue
from tests.live.server_process import ServerProcess

Start = Callable[[Kitchen], ServerProcess]


def start_db_worker(kitchen: Kitchen) -> ServerProcess:
    return kitchen.run("django", "db_worker", "--interval", "0.1", "--no-startup-delay")


HOMES: dict[str, tuple[str, str, Start]] = {
    "AsyncioBackend": ("memory", "SQLite", Kitchen.serve),
    "DurableBackend, SQLite": ("durable", "SQLite", Kitchen.serve),
    "django-tasks-db, SQLite": ("django-tasks-db", "SQLite", start_db_worker),
    "DurableBackend, PostgreSQL": ("durable", "PostgreSQL", Kitchen.serve),
    "django-tasks-db, PostgreSQL": ("django-tasks-db", "PostgreSQL", start_db_worker),
    "Celery, RabbitMQ": ("celery", "SQLite", Kitchen.celery_worker),
}


def enqueues(count: int) -> dict[str, float]:
    """Return the seconds that a synchronous process needs for an enqueue; nothing runs meanwhile."""
    found = {}
    for name, (home, database, _) in HOMES.items():
        with opened(home, database) as kitchen:
            found[name] = enqueue(kitchen, count, run_after=3600)
    return found


def runs(count: int) -> dict[str, float]:
    """Return the seconds between the ends of two tasks that do nothing, all enqueued before."""
    found = {}
    for name, (home, database, start) in HOMES.items():
        with opened(home, database) as kitchen:
            if home == "memory":  # what another process enqueues, runs there
                process = start(kitchen)
                process.get("/enqueue/", count=count, name="stamp")
            else:
                enqueue(kitchen, count)
                process = start(kitchen)
            kitchen.wait_for_lines(count, process, seconds=300)
            ends = sorted(float(line.split()[0]) for line in kitchen.lines())
            found[name] = (ends[-1] - ends[0]) / (len(ends) - 1)
    return found


@contextmanager
def opened(home: str, database: str) -> Iterator[Kitchen]:
    from tests.benchmarks.database import postgres
    from tests.tasks.conftest import sqlite

    with tempfile.TemporaryDirectory() as name, postgres() as on_postgres:
        directory = Path(name)
        settings: dict[str, Any] | None = sqlite(directory)
        if database == "PostgreSQL":
            settings = on_postgres
        kitchen = Kitchen(directory, settings, home)
        queue = kitchen.use_broker() if home == "celery" else None
        try:
            kitchen.migrate()
            yield kitchen
        finally:
            kitchen.close()
            if queue:
                delete_queue(queue)


def enqueue(kitchen: Kitchen, count: int, run_after: float = 0) -> float:
    process = kitchen.run("tests.benchmarks.homes", str(count), str(run_after))
    return float(process.wait_for_output(r"enqueued in (\S+) seconds")[1]) / count


def main() -> None:
    import django

    django.setup()
    from django.utils import timezone

    from tests.live.kitchen import tasks

    count, seconds = int(sys.argv[1]), float(sys.argv[2])
    task = tasks.stamp.using(run_after=timezone.now() + timedelta(seconds=seconds))
    task.enqueue(0)  # connections are made, modules imported
    began = time.perf_counter()
    for number in range(1, count + 1):
        task.enqueue(number)
    print(f"enqueued in {time.perf_counter() - began} seconds")


if __name__ == "__main__":
    main()
