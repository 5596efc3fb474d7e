"""A migrated SQLite file for tests in which several threads use the database, as a server's do.

conftest.py imports the fixtures where they are needed.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.management import call_command
from django.db import connections

from asyncviews.background import runner
from tests.tasks.conftest import sqlite


class Router:
    """Sends everything to the database of the present test. Threads know it by its alias."""

    alias = ""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return self.alias

    db_for_write = db_for_read


@contextmanager
def added(directory: Path) -> Iterator[str]:
    alias = f"site_{uuid.uuid4().hex[:8]}"
    connections.settings[alias] = connections.settings["default"] | sqlite(directory)
    try:
        yield alias
    finally:
        connections[alias].close()
        del connections.settings[alias]


@pytest.fixture(scope="session")
def migrated_directory(tmp_path_factory, django_db_blocker) -> Path:
    directory = tmp_path_factory.mktemp("migrated")
    with django_db_blocker.unblock(), added(directory) as alias:
        call_command("migrate", database=alias, verbosity=0)
    return directory


@pytest.fixture
def site_alias(migrated_directory, tmp_path, settings, django_db_blocker) -> Iterator[str]:
    shutil.copytree(migrated_directory, tmp_path, dirs_exist_ok=True)
    settings.DATABASE_ROUTERS = [f"{__name__}.Router"]
    with django_db_blocker.unblock(), added(tmp_path) as alias:
        Router.alias = alias
        yield alias


def close_connection(alias: str) -> None:
    connections[alias].close()


@pytest.fixture
async def site_database(site_alias: str) -> AsyncIterator[str]:
    """The alias of an empty, migrated database that all models of the project use."""
    yield site_alias
    await sync_to_async(close_connection)(site_alias)  # of its thread
    runner.threads.retire(timeout=5)  # they close their connections to it
