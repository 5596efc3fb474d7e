"""Views, tasks and transactions on the asynchronous connections of django-async-backend."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core import signals
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.urls import path

from asyncviews import AsyncView, BackgroundTaskMixin, async_database, in_transaction
from asyncviews.asgi import ASGIHandler, lifespan
from asyncviews.background import runner
from asyncviews.handler import request_threads
from tests.conftest import Postgres, http_scope, until

pytestmark = pytest.mark.urls(__name__)

if sys.version_info >= (3, 12):
    backend = pytest.importorskip("django_async_backend.db")
    if not hasattr(backend, "async_new_connection"):
        pytest.skip("django-async-backend 6.1 needs Django 6.1", allow_module_level=True)
else:
    pytest.skip("django-async-backend needs Python 3.12", allow_module_level=True)

pids: list[int] = []


@pytest.fixture(autouse=True)
def database(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Postgres]:
    """The database as both kinds of connections have it, and what an installed app would do.

    All but changing `Model`, which could not be undone.
    """
    pids.clear()
    postgres.set(ENGINE="django_async_backend.db.backends.postgresql")
    monkeypatch.setitem(
        vars(backend.async_connections), "settings", {"default": connections.settings["postgres"]}
    )
    assert not async_database.is_used()
    monkeypatch.setattr(async_database, "is_used", lambda: True)
    close = backend.close_old_async_connections
    for signal in (signals.request_started, signals.request_finished):
        signal.connect(close)
    yield postgres
    for signal in (signals.request_started, signals.request_finished):
        signal.disconnect(close)


async def pid() -> int:
    async with await backend.async_connections["default"].cursor() as cursor:
        await cursor.execute("SELECT pg_backend_pid()")
        (found,) = await cursor.fetchone()
        pids.append(found)
        return int(found)


async def execute(sql: str) -> list[Any]:
    async with await backend.async_connections["default"].cursor() as cursor:
        await cursor.execute(sql)
        return list(await cursor.fetchall()) if cursor.description else []


class Queries(AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        first = await pid()
        await asyncio.sleep(0)
        return HttpResponse("same" if await pid() == first else "another")


class Waits(AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        await pid()
        await asyncio.Event().wait()
        return HttpResponse()


class Adds(BackgroundTaskMixin, AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        await pid()
        self.add_background_task(pid)
        self.add_background_task(pid)
        return HttpResponse("added")


urlpatterns = [
    path("queries/", Queries.as_view()),
    path("waits/", Waits.as_view()),
    path("adds/", Adds.as_view()),
]


async def test_a_request_has_a_connection_of_its_own_and_no_thread(get, database):
    answers = await asyncio.gather(*(get("/queries/") for _ in range(10)))
    assert [body["body"] for _, body in answers] == [b"same"] * 10
    assert len(set(pids)) == 10
    assert request_threads.size == 0
    await until(lambda: database.sessions() == 0)


async def test_connections_of_a_pool_go_back_to_it(get, database, monkeypatch):
    settings = backend.async_connections.settings["default"]
    settings = settings | {
        "OPTIONS": settings["OPTIONS"] | {"pool": {"min_size": 1, "max_size": 2}}
    }
    monkeypatch.setitem(vars(backend.async_connections), "settings", {"default": settings})
    try:
        for _ in range(2):
            answers = await asyncio.gather(*(get("/queries/") for _ in range(10)))
            assert [body["body"] for _, body in answers] == [b"same"] * 10
        assert len(set(pids)) <= 2
        assert database.sessions() <= 2
    finally:
        async with backend.async_new_connection():
            await backend.async_connections["default"].close_pool()


async def test_one_whose_client_leaves_closes_it(database):
    application = ApplicationCommunicator(ASGIHandler(), http_scope("/waits/"))
    await application.send_input({"type": "http.request", "body": b""})
    await until(lambda: pids)
    assert database.sessions() == 1
    await application.send_input({"type": "http.disconnect"})
    await application.wait(5)
    await until(lambda: database.sessions() == 0)


async def test_background_tasks_have_their_own(get, database):
    """Not that of the request which has added them: that belongs to another asyncio task."""
    async with lifespan():
        await get("/adds/")
        await until(lambda: len(pids) == 3)
        assert len(set(pids)) == 3
        await until(lambda: not runner.unfinished())
    await until(lambda: database.sessions() == 0)


@pytest.fixture
async def table(database: Postgres) -> Any:
    name = "meats_" + database.name.rpartition("-")[2]
    async with backend.async_new_connection():
        await execute(f"CREATE TABLE {name} (name text)")
    yield name
    async with backend.async_new_connection():
        await execute(f"DROP TABLE {name}")


async def store(table: str, meat: str, *, fail: bool = False) -> str:
    await execute(f"INSERT INTO {table} VALUES ('{meat}')")
    if fail:
        raise ZeroDivisionError
    return meat


@backend.async_new_connection
async def test_a_transaction_may_be_asynchronous(table):
    assert await in_transaction(store, table, "ribs") == "ribs"
    with pytest.raises(ZeroDivisionError):
        await in_transaction(durable=True)(store, table, "brisket", fail=True)
    assert await execute(f"SELECT name FROM {table}") == [("ribs",)]


@backend.async_new_connection
async def test_a_cancellation_takes_it_back(table):
    began = asyncio.Event()

    async def work() -> None:
        await store(table, "brisket")
        began.set()
        await asyncio.Event().wait()

    async def in_own_task() -> None:
        async with backend.async_new_connection():
            await in_transaction(work)

    task = asyncio.create_task(in_own_task())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await execute(f"SELECT name FROM {table}") == []
