from __future__ import annotations

import asyncio
import gc
import os
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import DEFAULT, Mock

import psycopg
import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.db import connections
from django.utils import translation

from asyncviews.asgi import ASGIHandler, lifespan
from asyncviews.background import runner
from asyncviews.handler import request_threads
from tests.ci import is_ci, pytest_collection_modifyitems
from tests.demo.browser import CHROMIUM, Browser, Chromium

__all__ = ["pytest_collection_modifyitems"]

# Each new client of httpx reads the certificates of all authorities, which takes 25 ms of processor
# time. The tests and the servers that they start need none: this directory has none.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent)
# Nor do they need plugins of pydantic, for which each process would search all installed packages.
os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"


def pytest_collection_finish() -> None:
    """Have the garbage collector leave alone what has been collected and stays to the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def default_database(django_db_setup: None) -> None:
    """Make the test database before tests add others: Django would make test databases of those,
    too, and the name of theirs that of the default one, which then is a file."""


@pytest.fixture
async def app_lifespan() -> AsyncIterator[None]:
    """A lifespan around the test: resources open, background tasks on the test's event loop."""
    async with lifespan():
        yield


@pytest.fixture(autouse=True)
def no_background_task_left() -> Iterator[None]:
    """A test that leaves background tasks behind fails, and does not disturb the next one."""
    yield
    left = runner.unfinished()
    for task in left:
        task.cancel()
    assert left == []


@pytest.fixture(autouse=True)
def no_language_left() -> Iterator[None]:
    """As Django's handlers do, a request leaves its language active; tests share one context."""
    yield
    translation.deactivate()


@pytest.fixture
def get() -> Callable[..., Awaitable[list[dict[str, Any]]]]:
    """Send one request to a new handler; return the messages that it sends."""

    async def send(
        path: str = "/", *, query: str = "", method: str = "GET", handler: type = ASGIHandler
    ) -> list[dict]:
        scope = http_scope(path, query=query, method=method)
        communicator = ApplicationCommunicator(handler(), scope)
        await communicator.send_input({"type": "http.request", "body": b""})
        messages = [await communicator.receive_output(5)]
        while len(messages) == 1 or messages[-1].get("more_body"):
            messages.append(await communicator.receive_output(5))
        await communicator.wait(5)
        return messages

    return send


def http_scope(path: str, *, query: str = "", method: str = "GET") -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.1"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"testserver")],
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
    }


def failing_once(function: Callable[..., Any], failure: Exception) -> Mock:
    """Return a function that raises at its first call, and then does what `function` does."""
    return Mock(wraps=function, side_effect=chain([failure], repeat(DEFAULT)))


async def until(condition: Callable[[], object], *, seconds: float = 20) -> None:
    """Wait for `condition` to become true, which other tasks or threads will make it."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)


@asynccontextmanager
async def busy_thread() -> AsyncIterator[None]:
    """Have thread-sensitive code run for the length of a block."""
    began, ends = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        assert ends.wait(30)

    call = asyncio.ensure_future(sync_to_async(work)())
    try:
        await until(lambda: began.is_set() or call.done())
        yield
    finally:
        ends.set()
        await call


class Postgres:
    """A database alias on the PostgreSQL server of this machine, seen from outside, too."""

    alias = "postgres"
    address = {"host": "127.0.0.1", "port": 5432, "user": "postgres", "dbname": "postgres"}

    def __init__(self) -> None:
        self.name = f"asyncviews-test-{uuid.uuid4().hex[:12]}"
        self._monitor = psycopg.connect(**self.address, autocommit=True, connect_timeout=3)
        connections.settings[self.alias] = connections.settings["default"] | {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": self.address["host"],
            "NAME": "postgres",
            "USER": "postgres",
            "OPTIONS": {"application_name": self.name},
        }

    def set(self, **settings: Any) -> None:
        connections.settings[self.alias] |= settings

    def query(self, sql: str = "SELECT 1") -> Any:
        with connections[self.alias].cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()

    def sessions(self) -> int:
        """How many connections of ours the server has."""
        count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
        row = self._monitor.execute(count, [self.name]).fetchone()
        assert row is not None
        return row[0]

    def terminate(self) -> None:
        """End all connections of ours, as a restart of the server does."""
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
        self._monitor.execute(end, [self.name])

    def close(self) -> None:
        self.terminate()
        self._monitor.close()
        del connections.settings[self.alias]


@pytest.fixture
def postgres(django_db_blocker) -> Iterator[Postgres]:
    try:
        server = Postgres()
    except psycopg.OperationalError as exc:
        missing(f"no PostgreSQL at 127.0.0.1:5432: {exc}")
    with django_db_blocker.unblock():
        yield server
    for threads in (request_threads, runner.threads):
        threads.retire(timeout=5)  # they close their connections to it
    server.close()


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    if CHROMIUM is None:
        missing("no Chromium on this machine")
    with Chromium(tmp_path_factory.mktemp("chromium")) as chromium:
        yield chromium


@pytest.fixture
def browser(chromium: Chromium) -> Iterator[Browser]:
    """A page with cookies and a cache of its own."""
    with chromium.page() as page:
        yield page


def missing(reason: str) -> NoReturn:
    """Skip, but fail where everything must be there."""
    if is_ci():
        pytest.fail(reason)
    pytest.skip(reason)
