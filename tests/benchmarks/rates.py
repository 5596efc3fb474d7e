"""Requests per second, as projects are deployed: our handler beside WSGI and other frameworks.

One process on one processor, PostgreSQL with persistent connections, ``startproject``'s middleware,
16 connections that are kept alive. Every contender has its turn in each round, so that what else the
machine does meanwhile meets all of them.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isnan, nan
from pathlib import Path
from statistics import median

from tests.benchmarks import database, grid, served

CLIENTS = 16
ROWS = {
    "sync, no query": "/sync/0/",
    "async, no query": "/async/0/",
    "sync, 1 get()": "/sync/1/",
    "async, 1 aget()": "/async/1/",
    "sync, 20 get()": "/sync/20/",
    "async, 20 aget()": "/async/20/",
}
ASYNC_ROWS = tuple(row for row in ROWS if row.startswith("async"))
SITE = "tests.benchmarks.site"
GUNICORN = ("gunicorn", f"{SITE}.wsgi:application", "--bind", "127.0.0.1:{port}",
            "--workers", "1", "--log-level", "error")  # fmt: skip
# More threads than these four made gunicorn and granian slower on one processor.
GTHREAD = (*GUNICORN, "--worker-class", "gthread", "--threads", "4")
GRANIAN = ("granian", "--port", "{port}", "--workers", "1", "--no-ws", "--log-level", "error")
GRANIAN_WSGI = (*GRANIAN, "--interface", "wsgi", "--blocking-threads", "4",
                f"{SITE}.wsgi:application")  # fmt: skip
# It takes uvloop and httptools where they are: `uvicorn[standard]` brings them, as in production.
UVICORN = ("uvicorn", "--port", "{port}", "--no-access-log", "--log-level", "error")
PROCESSOR = "processor"


@dataclass(frozen=True)
class Contender:
    """How something is served, and the rows in which it takes part."""

    command: tuple[str, ...]
    rows: tuple[str, ...] = tuple(ROWS)
    environment: dict[str, str] = field(default_factory=dict)
    requires: str | None = None
    """A package that not every version of Python and Django has."""


CONTENDERS = {
    "gunicorn sync": Contender(GUNICORN),
    "gunicorn gthread": Contender(GTHREAD),
    "granian WSGI": Contender(GRANIAN_WSGI),
    # Each of its requests has a new thread: persistent connections would be left behind with those,
    # and PostgreSQL soon refuse more. Django's documentation says to disable them.
    "Django's ASGIHandler, uvicorn": Contender(
        (*UVICORN, f"{SITE}.djangos_asgi:application"), environment={"BENCHMARK_CONN_MAX_AGE": "0"}
    ),
    "FastAPI, uvicorn": Contender((*UVICORN, f"{SITE}.others:fastapi"), ASYNC_ROWS),
    "Litestar, uvicorn": Contender((*UVICORN, f"{SITE}.others:litestar"), ASYNC_ROWS),
    "ours, manage.py serve": Contender(("django", "serve", "127.0.0.1:{port}")),
    "ours, uvicorn": Contender((*UVICORN, f"{SITE}.asgi:application")),
    "ours, granian": Contender((*GRANIAN, "--interface", "asgi", f"{SITE}.asgi:application")),
    "ours, async backend": Contender(
        (*UVICORN, f"{SITE}.asgi:application"),
        ("async, 1 aget()", "async, 20 aget()"),
        {"BENCHMARK_ASYNC_BACKEND": "1"},
        "django_async_backend",
    ),
}
BASE = "gunicorn gthread"


def names(count: int) -> list[str]:
    return [f"pit masters {number}" for number in range(1, count + 1)]


def rates(rounds: int, seconds: float) -> dict[str, float]:
    """Return the median requests per second, and processor seconds for each, of all."""
    contenders = [
        name
        for name, contender in CONTENDERS.items()
        if contender.requires is None or importlib.util.find_spec(contender.requires)
    ]
    found: dict[str, list[float]] = {}
    with site() as environment:
        for _ in range(rounds):
            for name in contenders:
                for key, value in measure(name, environment, seconds).items():
                    found.setdefault(f"{name}: {key}", []).append(value)
    return {
        key: nan if any(map(isnan, values)) else median(values) for key, values in found.items()
    }


@contextmanager
def site() -> Iterator[dict[str, str]]:
    """Make a database with the rows; yield the environment in which servers find it."""
    import psycopg

    with database.postgres() as settings:
        if settings is None:
            raise SystemExit(f"This needs a PostgreSQL server at {database.SERVER['host']}:5432.")
        environment = {
            "BENCHMARK_DATABASE": settings["NAME"],
            "DJANGO_SETTINGS_MODULE": f"{SITE}.settings",
        }
        subprocess.run(
            [sys.executable, "-m", "django", "migrate", "--verbosity", "0"],
            cwd=served.PROJECT,
            env=os.environ | environment | {"PYTHONPATH": str(served.PROJECT)},
            check=True,
        )
        with psycopg.connect(**database.SERVER, dbname=settings["NAME"]) as connection:
            insert = "INSERT INTO auth_group (name) VALUES (%s)"
            connection.cursor().executemany(insert, [(name,) for name in names(20)])
        yield environment


def measure(name: str, environment: dict[str, str], seconds: float) -> dict[str, float]:
    """Return the requests per second, and the processor seconds for each, of all rows.

    NaN where an answer was not the right one.
    """
    contender = CONTENDERS[name]
    found = {}
    with served.running(contender.command, environment | contender.environment) as server:
        for row in contender.rows:
            try:
                asyncio.run(load(server.port, row, seconds / 4))
                before = processor_seconds(server.process.pid)
                answers, taken = asyncio.run(load(server.port, row, seconds))
            except (OSError, RuntimeError) as exc:
                print(f"{name}: {row}: {exc}\n{server.last_errors()}", file=sys.stderr)
                found[row] = found[f"{row}, {PROCESSOR}"] = nan
                continue
            used = processor_seconds(server.process.pid) - before
            found[row] = answers / taken
            found[f"{row}, {PROCESSOR}"] = used / answers
    return found


async def load(port: int, row: str, seconds: float) -> tuple[int, float]:
    path = ROWS[row]
    answer = "\n".join(names(int(path.split("/")[-2]))).encode()
    request = served.request_to(path)
    return await served.load(port, request, clients=CLIENTS, seconds=seconds, answer=answer)


def processor_seconds(pid: int) -> float:
    """Return the seconds that a process and its children have had a processor."""
    ticks = 0
    for member in served.family(pid):
        fields = Path(f"/proc/{member}/stat").read_text().rpartition(") ")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # user and system time
    return ticks / os.sysconf("SC_CLK_TCK")


def table(found: dict[str, float]) -> str:
    """Return the rates, their ratios to gunicorn's threads, and the processor time, as text."""
    requests: grid.Cells = {}
    ratios: grid.Cells = {}
    processor: grid.Cells = {}
    for name, contender in CONTENDERS.items():
        for row in contender.rows:
            if (rate := found.get(f"{name}: {row}")) is None:
                continue
            requests[name, row] = f"{rate:.0f}"
            ratios[name, row] = f"{rate / found[f'{BASE}: {row}']:.2f}"
            processor[name, row] = f"{found[f'{name}: {row}, {PROCESSOR}'] * 1e6:.0f}"
    return "\n".join(
        [
            grid.text("requests per second", requests),
            grid.text(f"the same, as a ratio to {BASE}", ratios),
            grid.text("µs of the server's processor for each request", processor),
        ]
    )
