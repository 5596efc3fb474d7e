"""What is told of a thread's connections."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections, transaction

from asyncviews.connections import Connections


@pytest.fixture(params=["sqlite", "postgres"])
def alias(request: pytest.FixtureRequest, tmp_path, django_db_blocker) -> Iterator[str]:
    if request.param == "postgres":
        yield request.getfixturevalue("postgres").alias
        return
    default = connections.settings["default"]
    connections.settings["file"] = default | {"NAME": str(tmp_path / "database")}
    with django_db_blocker.unblock():
        yield "file"
    del connections.settings["file"]


def test_what_django_sets_in_use_reconfigures_nothing(alias: str) -> None:
    """Or all requests behind synchronous middleware would keep their places to the end."""
    resources = Connections()

    def used() -> list[bool]:
        resources.tidy(shared=False)
        connection = connections[alias]
        found = [resources.reconfigured()]
        with transaction.atomic(using=alias), connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        found.append(resources.reconfigured())
        connection.tenant = "abc"
        found.append(resources.reconfigured())
        resources.close()
        return found

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(used).result(10) == [False, False, True]
