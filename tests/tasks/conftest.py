from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections

from tests.conftest import missing

SERVER = {"host": "127.0.0.1", "port": 5432, "user": "postgres", "dbname": "postgres"}


class Router:
    """Keeps durable tasks in a database of their own: a new one, and a new alias, for each test.

    Threads keep their connections, and know them by the alias.
    """

    alias = ""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return self.alias if model._meta.app_label == "asyncviews_durable" else None

    db_for_write = db_for_read


def sqlite(directory: Path) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(directory / "tasks.sqlite3"),
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        },
    }


def postgresql(name: str) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": SERVER["host"],
        "USER": SERVER["user"],
        "NAME": name,
    }


@pytest.fixture
def postgres_database() -> Iterator[str]:
    """An empty database on the PostgreSQL server of this machine."""
    try:
        server = psycopg.connect(**SERVER, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError as exc:
        missing(f"no PostgreSQL at 127.0.0.1:5432: {exc}")
    name = f"asyncviews_tasks_{uuid.uuid4().hex[:8]}"
    server.execute(f"CREATE DATABASE {name}")
    yield name
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path, settings, django_db_blocker) -> Iterator[str]:
    """The alias of a migrated database for durable tasks, once of either kind."""
    if request.param == "sqlite":
        options = sqlite(tmp_path)
    else:
        options = postgresql(request.getfixturevalue("postgres_database"))
    alias = Router.alias = f"tasks_{uuid.uuid4().hex[:8]}"
    connections.settings[alias] = connections.settings["default"] | options
    settings.DATABASE_ROUTERS = [f"{__name__}.Router"]
    with django_db_blocker.unblock():
        call_command("migrate", "asyncviews_durable", database=alias, verbosity=0)
        yield alias
        connections[alias].close()
    del connections.settings[alias]
