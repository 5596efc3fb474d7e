"""One indexed read, on Django's handler and on ours, with the same settings."""

from __future__ import annotations

import contextlib
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks import contenders
from tests.benchmarks.inprocess import request, side_by_side

SERVER = {"host": "127.0.0.1", "user": "postgres"}
PERSISTENCE: dict[str, dict[str, Any]] = {
    "CONN_MAX_AGE=0": {"CONN_MAX_AGE": 0},
    "CONN_MAX_AGE=60": {"CONN_MAX_AGE": 60},
}
POOL = {"CONN_MAX_AGE": 0, "OPTIONS": {"pool": {"min_size": 1, "max_size": 20}}}


@contextlib.contextmanager
def postgres() -> Iterator[dict[str, Any] | None]:
    """Yield the settings of a new database, None where there is no PostgreSQL."""
    import psycopg

    name = f"asyncviews_benchmark_{uuid.uuid4().hex[:8]}"
    try:
        server = psycopg.connect(**SERVER, dbname="postgres", autocommit=True, connect_timeout=3)
    except psycopg.OperationalError:
        yield None
        return
    with server:
        server.execute(f"CREATE DATABASE {name}")
        try:
            yield {
                "ENGINE": "django.db.backends.postgresql",
                "HOST": SERVER["host"],
                "USER": SERVER["user"],
                "NAME": name,
            }
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def reads(rounds: int) -> dict[str, float]:
    """Return the seconds of a request that reads one row by its key."""
    contenders.configure()
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, postgres() as on_postgres:
        sqlite = {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(Path(folder) / "db.sqlite3"),
        }
        for kind, options in PERSISTENCE.items():
            found |= await read(f"SQLite, {kind}", sqlite | options, rounds)
        if on_postgres is not None:
            for kind, options in {**PERSISTENCE, "psycopg's pool": POOL}.items():
                found |= await read(f"PostgreSQL, {kind}", on_postgres | options, rounds)
    return found


async def read(label: str, database: dict[str, Any], rounds: int) -> dict[str, float]:
    from asgiref.sync import sync_to_async
    from django.db import connections

    from asyncviews.handler import request_threads

    alias = f"case{len(connections.settings)}"
    add(alias, database)
    await sync_to_async(prepare)(alias)
    apps = {
        f"{handler}, {label}": (contenders.django_handler(handler, "none"), "/read/")
        for handler in contenders.DJANGO_HANDLERS
    }
    for app, path in apps.values():
        assert await request(app, path, alias.encode()) == (200, b"pit masters")
    found = await side_by_side(apps, rounds=rounds, query=alias.encode())
    request_threads.retire(timeout=5)
    if "pool" in database.get("OPTIONS", {}):
        connections[alias].close_pool()
    return found


def add(alias: str, database: dict[str, Any]) -> None:
    """Add a database to those of this process."""
    from django.db import connections

    databases = connections.configure_settings({"default": {}, alias: database})
    connections.settings[alias] = databases[alias]


def prepare(alias: str) -> None:
    from django.contrib.auth.models import Group
    from django.core.management import call_command
    from django.db import connections

    call_command("migrate", verbosity=0, database=alias)
    Group.objects.using(alias).update_or_create(pk=1, defaults={"name": "pit masters"})
    connections[alias].close()
