from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections
from django.test import AsyncClient

from tests.conftest import Postgres, missing
from tests.generic import twins
from tests.generic.twins import Answer, Router


def _migrated(options: dict[str, Any], django_db_blocker: Any) -> Iterator[str]:
    alias = f"generic_{uuid.uuid4().hex[:8]}"
    connections.settings[alias] = connections.settings["default"] | options
    with django_db_blocker.unblock():
        call_command("migrate", database=alias, run_syncdb=True, verbosity=0)
        twins.fill(alias)
        yield alias
        connections[alias].close()
    del connections.settings[alias]


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any) -> Iterator[str]:
    """The alias of a SQLite database that has the tables of all apps, and what `fill()` stores."""
    name = str(tmp_path_factory.mktemp("generic") / "db.sqlite3")
    yield from _migrated({"ENGINE": "django.db.backends.sqlite3", "NAME": name}, django_db_blocker)


@pytest.fixture(scope="session")
def postgresql(django_db_blocker: Any) -> Iterator[str]:
    """The same on PostgreSQL."""
    address = Postgres.address
    try:
        server = psycopg.connect(**address, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError as exc:
        missing(f"no PostgreSQL at 127.0.0.1:5432: {exc}")
    name = f"asyncviews_generic_{uuid.uuid4().hex[:8]}"
    server.execute(f"CREATE DATABASE {name}")
    options = {"HOST": address["host"], "USER": address["user"], "NAME": name}
    yield from _migrated({"ENGINE": "django.db.backends.postgresql", **options}, django_db_blocker)
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    server.close()


@pytest.fixture
def templates(settings: Any) -> None:
    """The templates of these tests, pages for 403 and 404 among them."""
    settings.TEMPLATES = deepcopy(settings.TEMPLATES)
    settings.TEMPLATES[0]["DIRS"] = [Path(__file__).parent / "templates"]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(
    request: pytest.FixtureRequest, settings: Any, templates: None, django_db_blocker: Any
) -> Iterator[str]:
    """The alias of the database that all models are in, once of either kind."""
    Router.alias = request.getfixturevalue(request.param)
    settings.DATABASE_ROUTERS = [f"{Router.__module__}.Router"]
    with django_db_blocker.unblock():
        yield Router.alias


@pytest.fixture
def compare(database: str, settings: Any, tmp_path: Path) -> Callable[..., list[Answer]]:
    """See `twins.compare()`."""
    settings.MEDIA_ROOT = tmp_path

    def compare(*args: Any, **kwargs: Any) -> list[Answer]:
        return twins.compare(database, settings, *args, **kwargs)

    return compare


@pytest.fixture
def visit(database: str, settings: Any) -> Callable[..., list[Answer]]:
    """How an asynchronous view answers."""

    def visit(*args: Any, **kwargs: Any) -> list[Answer]:
        return twins.visit(database, settings, *args, client=AsyncClient(), **kwargs)[0]

    return visit
