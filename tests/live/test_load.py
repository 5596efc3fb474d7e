"""Many clients at once, against few threads: nothing is mixed up, and nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.conftest import missing
from tests.live.server_process import SOON, ServerProcess, until

CLIENTS = 200
SECONDS = float(os.environ.get("LOAD_SECONDS", "4"))
BOUND = 8 + 4  # connections: those of requests, and of background tasks
PROJECT = Path(__file__).parents[2]
LANGUAGES = ("en", "de", "fr")

pytestmark = [pytest.mark.live, pytest.mark.timeout(SECONDS * 3 + 120)]


class Database:
    """A database of its own, and who is connected to it."""

    def __init__(self) -> None:
        self.name = f"asyncviews_load_{uuid.uuid4().hex[:8]}"
        self.most = 0
        self._server = psycopg.connect(
            host="127.0.0.1", user="postgres", dbname="postgres", autocommit=True, connect_timeout=3
        )
        self._server.execute(f"CREATE DATABASE {self.name}")

    def connections(self, state: str = "%") -> int:
        count = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND state LIKE %s"
        )
        row = self._server.execute(count, [self.name, state]).fetchone()
        assert row is not None
        return row[0]

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note how many connections there are at most."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.02):
                self.most = max(self.most, self.connections())

        watcher = threading.Thread(target=watch)
        watcher.start()
        yield
        ended.set()
        watcher.join()

    def close(self) -> None:
        self._server.execute(f"DROP DATABASE {self.name} WITH (FORCE)")
        self._server.close()


@pytest.fixture
def database() -> Iterator[Database]:
    try:
        database = Database()
    except psycopg.OperationalError as exc:
        missing(f"no PostgreSQL at 127.0.0.1:5432: {exc}")
    yield database
    database.close()


@contextmanager
def serving(database: Database, conn_max_age: int, **settings: str) -> Iterator[ServerProcess]:
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.live.load.settings",
        "LOAD_CONN_MAX_AGE": str(conn_max_age),
        "LOAD_DATABASE": database.name,
        **settings,
    }
    migrate = [sys.executable, "-m", "django", "migrate", "--run-syncdb", "--verbosity", "0"]
    paths = {"PYTHONPATH": str(PROJECT)}
    subprocess.run(migrate, cwd=PROJECT, env=os.environ | environment | paths, check=True)
    command = ["django", "serve", "127.0.0.1:0"]
    server = ServerProcess(command, cwd=PROJECT, environment=environment | paths)
    try:
        server.wait_for_output("Serving ")
        yield server
    finally:
        server.close()


class Client:
    """Sends one request after the other and compares each answer with what it must be."""

    def __init__(self, port: int, number: int, counts: Counter[str], wrong: list[str]) -> None:
        self.port = port
        self.token = f"client{number}"
        self.language = LANGUAGES[number % 3]
        self.urlconf = "ab"[number % 2]
        self.counts = counts
        self.wrong = wrong
        self.cookies: dict[str, str] = {}
        self._random = random.Random(number)
        self._fresh_until = 0.0
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run(self, until: float) -> None:
        await self.expect("/login/", method="POST")
        checks = [
            self.async_orm, self.sync_orm, self.session, self.user, self.stream, self.fails,
            self.times_out, self.gathers, self.background,
            self.leaves_a_view, self.leaves_a_stream, self.leaves_a_post, self.leaves_its_body,
        ]  # fmt: skip
        while time.monotonic() < until:
            check = self._random.choice(checks)
            self.counts[check.__name__] += 1
            try:
                await asyncio.wait_for(check(), 60)
            except Exception as exc:  # noqa: BLE001 - the test says which
                self.wrong.append(f"{self.token} {check.__name__}: {exc!r}")
                self.disconnect()
        self.disconnect()

    # What it asks for

    async def async_orm(self) -> None:
        await self.expect("/async_orm/", row=self.token, thread=self.token)

    async def sync_orm(self) -> None:
        await self.expect("/sync_orm/", row=self.token, thread=self.token)

    async def session(self) -> None:
        await self.expect("/session/", session=self.token)

    async def user(self) -> None:
        await self.expect("/user/", user=self.token)

    async def times_out(self) -> None:
        await self.expect("/times_out/", timeout=True)

    async def gathers(self) -> None:
        await self.expect("/gathers/", threads=[self.token])

    async def background(self) -> None:
        await self.expect("/background/")

    async def stream(self) -> None:
        status, body = await self.ask("GET", "/stream/")
        self.compare("/stream/", (status, body.split()), (200, [self.token.encode()] * 3))

    async def fails(self) -> None:
        status, _ = await self.ask("GET", "/fails/")
        self.compare("/fails/", status, 500)

    async def leaves_a_view(self) -> None:
        await self.leave("GET", "/waits/", after=self._random.random())

    async def leaves_a_stream(self) -> None:
        await self.leave("GET", "/endless_stream/", after=2 * self._random.random())

    async def leaves_a_post(self) -> None:
        await self.leave("POST", "/posts/", after=3 * self._random.random())

    async def leaves_its_body(self) -> None:
        await self.leave("POST", "/posts/", after=0, length=1000)

    async def uploads(self) -> None:
        status, _ = await self.ask("POST", "/uploads/", body=b"x" * 50_000)
        self.compare("/uploads/", status, 200)

    # How it asks

    async def expect(self, path: str, *, method: str = "GET", **more: Any) -> None:
        status, body = await self.ask(method, path)
        mine = {"token": self.token, "language": self.language, "urlconf": f"_{self.urlconf}"}
        self.compare(
            path, (status, json.loads(body) if status == 200 else body), (200, mine | more)
        )

    def compare(self, path: str, found: object, expected: object) -> None:
        if found != expected:
            self.wrong.append(f"{self.token} {path}: {found} instead of {expected}")

    async def ask(self, method: str, path: str, *, body: bytes = b"") -> tuple[int, bytes]:
        if time.monotonic() > self._fresh_until:  # the server closes it after 5 idle seconds
            self.disconnect()
        if self._connection is None:
            self._connection = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self._connection
        writer.write(self.head(method, path, len(body)) + body)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.splitlines()
        headers = [line.partition(": ")[::2] for line in lines[1:] if line]
        for name, value in headers:
            if name.lower() == "set-cookie":
                cookie, _, content = value.partition(";")[0].partition("=")
                self.cookies[cookie] = content
        lengths = [int(value) for name, value in headers if name.lower() == "content-length"]
        answer = await reader.readexactly(lengths[0]) if lengths else await self.chunks(reader)
        self._fresh_until = time.monotonic() + 3
        return int(lines[0].split()[1]), answer

    async def chunks(self, reader: asyncio.StreamReader) -> bytes:
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        return body

    def head(self, method: str, path: str, length: int) -> bytes:
        lines = [
            f"{method} {path} HTTP/1.1",
            "Host: 127.0.0.1",
            f"X-Token: {self.token}",
            f"X-Urlconf: {self.urlconf}",
            f"Accept-Language: {self.language}",
            f"Content-Length: {length}",
        ]
        if self.cookies:
            lines.append("Cookie: " + "; ".join("=".join(item) for item in self.cookies.items()))
        return "\r\n".join([*lines, "", ""]).encode()

    async def leave(self, method: str, path: str, *, after: float, length: int = 0) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(self.head(method, path, length) + b"x" * (length // 2))
        await asyncio.sleep(after)
        writer.transport.abort()

    def disconnect(self) -> None:
        if self._connection is not None:
            self._connection[1].transport.abort()
            self._connection = None


def load(url: str, seconds: float, clients: int = CLIENTS) -> tuple[Counter[str], list[str]]:
    """Return how often what was asked, and what was wrong."""
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    port = httpx.URL(url).port
    assert port

    async def run() -> None:
        until = time.monotonic() + seconds
        everybody = [Client(port, number, counts, wrong) for number in range(clients)]
        await asyncio.gather(*(client.run(until) for client in everybody))

    asyncio.run(run())
    return counts, wrong


REQUESTS = int(os.environ.get("LOAD_REQUESTS", "1600"))
"""How many requests are sent while nothing may grow."""


def send(url: str, requests: int) -> list[str]:
    """Send requests of all kinds that use a thread; return what was wrong."""
    wrong: list[str] = []
    port = httpx.URL(url).port
    assert port

    async def run(client: Client) -> None:
        await client.expect("/login/", method="POST")
        kinds = [
            client.sync_orm, client.async_orm, client.session, client.user, client.stream,
            client.uploads, client.gathers, client.background,
        ]  # fmt: skip
        for number in range(requests // 16):
            if number % 500 == 0:
                client.disconnect()  # Hypercorn closes a connection after 1000 requests
            await asyncio.wait_for(kinds[number % len(kinds)](), 60)
        client.disconnect()

    async def run_all() -> None:
        clients = [Client(port, number, Counter(), wrong) for number in range(16)]
        await asyncio.gather(*map(run, clients))

    asyncio.run(run_all())
    return wrong


def resident(server: ServerProcess) -> float:
    """Return the megabytes of memory that a server has."""
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def descriptors(server: ServerProcess) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
@pytest.mark.timeout(120 + REQUESTS / 40)
def test_memory_and_descriptors_stay_as_they_are(database: Database) -> None:
    """What of a request stays is 20 kB and more; a body may be as large as it likes."""
    # One arena: how many there are depends on which threads meet.
    with serving(database, 60, MALLOC_ARENA_MAX="1") as server:
        assert send(server.url, 1200) == []
        memory, files = resident(server), descriptors(server)
        assert send(server.url, REQUESTS) == []
        assert resident(server) - memory < 5
        until(lambda: descriptors(server) <= files, server)


def unexpected(server: ServerProcess) -> list[str]:
    """Return the lines of the log that tell of more than the views that fail deliberately."""
    levels = ("ERROR", "CRITICAL", "WARNING")
    return [line for line in server.lines if line.startswith(levels) and "/fails/" not in line]


@pytest.mark.parametrize(("conn_max_age", "seconds"), [(0, min(SECONDS, 4)), (60, SECONDS)])
def test_load(database: Database, conn_max_age: int, seconds: float) -> None:
    with serving(database, conn_max_age) as server:
        with database.watched():
            counts, wrong = load(server.url, seconds)
        assert wrong == []
        assert min(counts.values()) > 0
        assert 1 < database.most <= BOUND
        until(lambda: database.connections("active") == 0, server)
        assert database.connections("idle in transaction%") == 0
        began = time.monotonic()
        httpx.get(f"{server.url}/counts/", timeout=20).raise_for_status()
        assert time.monotonic() - began < SOON

        def all_ended() -> bool:
            """Whether nothing is lost of tasks, and of requests whose clients have left."""
            done = httpx.get(f"{server.url}/counts/", timeout=20).json()
            return done["task"] == 2 * counts["background"] and done["began"] == done["ended"] > 0

        until(all_ended, server)
        if conn_max_age == 0:
            until(lambda: database.connections() == 0, server)
        code, elapsed = server.stop()
        assert (code, unexpected(server)) == (0, []), server.output
        assert elapsed < 5 + SOON
        until(lambda: database.connections() == 0, server)


def test_too_many_at_once_are_refused_and_the_server_recovers(database: Database) -> None:
    with serving(database, 60, LOAD_QUEUE="2") as server:

        async def ask(client: httpx.AsyncClient) -> int:
            return (await client.get("/sync_orm/", headers={"X-Token": "x"})).status_code

        async def run() -> Counter[int]:
            limits = httpx.Limits(max_connections=100)
            async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=20) as client:
                return Counter(await asyncio.gather(*(ask(client) for _ in range(300))))

        answers = asyncio.run(run())
        assert set(answers) == {200, 503}
        assert httpx.get(f"{server.url}/sync_orm/", timeout=20).status_code == 200
