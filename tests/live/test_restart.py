"""``kill -USR2``: workers are replaced one after the other, and no client notices."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from asyncviews.server import KEEP_ALIVE_TIMEOUT
from tests.live.conftest import StartServer
from tests.live.server_process import is_running, until, workers

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]

WORKERS = ("django", "serve", "127.0.0.1:0", "--workers", "2")


class Visitor:
    """A client of HTTP/1.1 that uses a connection as long as the server lets it."""

    def __init__(self, port: int, path: str) -> None:
        self._port = port
        self._request = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"
        self._fresh_until = 0.0
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self) -> str:
        if time.monotonic() > self._fresh_until:  # the server closes it after 5 idle seconds
            self.leave()
        if self._connection is None:
            self._connection = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._connection
        writer.write(self._request.encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        body = (await reader.readuntil(b"\r\n0\r\n\r\n")).decode().splitlines()[1]
        self._fresh_until = time.monotonic() + 3
        if "connection: close" in head:
            self.leave()
        assert head.startswith("http/1.1 200"), head
        return body

    def leave(self) -> None:
        if self._connection is not None:
            self._connection[1].close()
            self._connection = None


class Crowd:
    """Visitors who ask without a pause; who answered, how often, and what went wrong."""

    def __init__(self, url: str, visitors: int = 20) -> None:
        self.answers: list[str] = []
        self.wrong: list[str] = []
        self._port = httpx.URL(url).port or 0
        self._visitors = visitors
        self._gone = threading.Event()

    @contextmanager
    def here(self) -> Iterator[None]:
        thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        thread.start()
        try:
            yield
        finally:
            self._gone.set()
            thread.join(60)

    async def _run(self) -> None:
        # Every third has a new connection each time; some requests are long, most are not.
        visits = [
            self._visit("/nap/?seconds=0.3" if number % 4 == 0 else "/", stays=number % 3 > 0)
            for number in range(self._visitors)
        ]
        await asyncio.gather(*visits)

    async def _visit(self, path: str, *, stays: bool) -> None:
        visitor = Visitor(self._port, path)
        while not self._gone.is_set():
            try:
                self.answers.append(await asyncio.wait_for(visitor.ask(), 60))
            except Exception as exc:  # noqa: BLE001 - the test says which
                self.wrong.append(f"{path}: {exc!r}")
                visitor.leave()
            if not stays:
                visitor.leave()
        visitor.leave()


def rest(connection: socket.socket) -> bytes:
    """Return what still comes, to the end of the connection."""
    return connection.makefile("rb").read()


def test_a_restart_under_load_fails_no_request(start_server: StartServer) -> None:
    """Requests that are not to be repeated, on connections that are kept and on new ones."""
    server = start_server(*WORKERS, drain_timeout="20")
    server.wait_for_output("Serving ")
    crowd = Crowd(server.url)
    with crowd.here():
        until(lambda: len(crowd.answers) > 100, server)
        old = workers(server)
        server.send(signal.SIGUSR2)
        server.wait_for_output("All workers have been restarted")
        until(lambda: not any(is_running(pid) for pid in old), server, seconds=60)
        count = len(crowd.answers)
        until(lambda: len(crowd.answers) > count + 100, server)
    assert crowd.wrong == []
    assert set(crowd.answers[-60:]) <= {str(pid) for pid in workers(server)} | {"rested"}
    assert server.notes.count("opened") == 4
    assert server.notes.count("closed") == 2
    assert server.stop()[0] == 0


def test_what_runs_in_an_old_worker_is_finished(start_server: StartServer) -> None:
    """A long request is answered, and a task done, while the new workers serve already."""
    server = start_server(*WORKERS, drain_timeout="20")
    server.wait_for_output("Serving ")
    old = workers(server)
    connection = server.open("/sleep/?seconds=7")
    server.wait_for_note("asleep")
    server.get("/start/roast/", seconds=7)
    server.wait_for_note("roasting")
    server.send(signal.SIGUSR2)
    server.wait_for_output("All workers have been restarted")
    until(lambda: int(server.get()) not in old, server)
    assert b"awake" in rest(connection)
    server.wait_for_note("roasted")
    until(lambda: not any(is_running(pid) for pid in old), server)
    assert server.stop()[0] == 0


def test_a_restart_that_fails_leaves_the_old_workers(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server(*WORKERS, resources="project.resources.oven", oven=str(tmp_path))
    server.wait_for_output("Serving ")
    old = workers(server)
    (tmp_path / "broken").touch()
    server.send(signal.SIGUSR2)
    server.wait_for_output(r"The restart has failed, and the old workers go on\. .* oven")
    until(lambda: workers(server) == old, server)
    (tmp_path / "broken").unlink()
    server.send(signal.SIGUSR2)
    server.wait_for_output("All workers have been restarted")
    until(lambda: int(server.get()) not in old, server)
    assert server.stop()[0] == 0


@pytest.mark.once_in_ci
def test_a_certificate_is_read_again(
    start_server: StartServer, certificate: Path, tmp_path: Path
) -> None:
    """One that cannot be used leaves the old workers."""
    own = tmp_path / "own.pem"
    own.write_text(certificate.read_text())
    server = start_server(*WORKERS, "--certfile", str(own))
    server.wait_for_output("Serving ")
    old = workers(server)
    context = ssl.create_default_context(cafile=str(certificate))
    seen: set[int] = set()

    def answered() -> set[int]:
        seen.add(int(httpx.get(server.url, verify=context).text))
        return seen

    until(lambda: answered() == old, server)  # until then they have not all read it
    own.write_text("nonsense")
    server.send(signal.SIGUSR2)
    server.wait_for_output(r"The restart has failed, and the old workers go on\. Cannot use the c")
    until(lambda: workers(server) == old, server)
    own.write_text(certificate.read_text())
    server.send(signal.SIGUSR2)
    server.wait_for_output("All workers have been restarted")
    until(lambda: int(httpx.get(server.url, verify=context).text) not in old, server)
    assert server.stop()[0] == 0


@pytest.mark.once_in_ci
def test_a_worker_that_dies_during_a_restart_leaves_none_too_many(
    start_server: StartServer,
) -> None:
    server = start_server(*WORKERS)
    server.wait_for_output("Serving ")
    old = workers(server)
    server.send(signal.SIGUSR2)
    until(lambda: len(workers(server)) == 3, server)
    os.kill(min(old), signal.SIGKILL)
    server.wait_for_output("All workers have been restarted")
    until(lambda: len(workers(server)) == 2 and not workers(server) & old, server)
    assert server.stop()[0] == 0


def test_a_stop_during_a_restart_is_a_stop(start_server: StartServer) -> None:
    """At once, although an old worker would have left its clients some time."""
    server = start_server(*WORKERS)
    server.wait_for_output("Serving ")
    server.send(signal.SIGUSR2)
    server.wait_for_output("takes no more connections")
    code, elapsed = server.stop()
    assert code == 0
    assert elapsed < KEEP_ALIVE_TIMEOUT
    assert server.notes.count("opened") == server.notes.count("closed")


def test_workers_ignore_the_signal(start_server: StartServer) -> None:
    server = start_server(*WORKERS)
    server.wait_for_output("Serving ")
    old = workers(server)
    for pid in old:
        os.kill(pid, signal.SIGUSR2)
    assert int(server.get()) in old
    assert server.stop()[0] == 0


def test_a_single_process_says_that_it_cannot(start_server: StartServer) -> None:
    server = start_server("django", "serve", "127.0.0.1:0")
    server.wait_for_output("Serving ")
    server.send(signal.SIGUSR2)
    server.wait_for_output("SIGUSR2 needs --workers 2 or more")
    assert server.get()
    assert server.stop()[0] == 0


def test_a_drain_tells_clients_to_leave(start_server: StartServer) -> None:
    """Who keeps a connection hears that it ends, before it ends."""
    server = start_server("django", "serve", "127.0.0.1:0")
    connection = server.open("/sleep/?seconds=1")
    server.wait_for_note("asleep")
    assert server.stop()[0] == 0
    assert b"connection: close" in rest(connection).lower()
