"""Requests to real servers, on 127.0.0.1: one worker each, on a processor of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from tests.benchmarks import contenders

PROJECT = Path(__file__).parents[2]
FACTORY = "tests.benchmarks.contenders:application"
SERVERS = {
    "hypercorn": ["hypercorn", f"asgi:{FACTORY}()", "--bind", "127.0.0.1:{port}"],
    "uvicorn": ["uvicorn", "--factory", FACTORY, "--port", "{port}", "--no-access-log",
                "--log-level", "warning", "--loop", "asyncio", "--http", "h11"],
    "granian": ["granian", "--interface", "asgi", "--factory", FACTORY, "--port", "{port}",
                "--workers", "1", "--no-ws", "--log-level", "warning"],
}  # fmt: skip
SERVED = (
    "bare", "starlette", "fastapi", "litestar",
    "function@django", "function@asyncviews", "asyncview@django", "asyncview@asyncviews",
)  # fmt: skip


@dataclass(frozen=True)
class Server:
    """A server that runs, and answers on `port`."""

    port: int
    process: subprocess.Popen[bytes]
    errors: IO[bytes]

    def last_errors(self, lines: int = 3) -> str:
        """Return the last lines that it has written to stderr."""
        self.errors.seek(0)
        return "\n".join(self.errors.read().decode(errors="replace").splitlines()[-lines:])


@contextlib.contextmanager
def serving(server: str, contender: str, middleware: str) -> Iterator[tuple[int, int]]:
    """Serve a contender; yield port and process id."""
    environment = {"CONTENDER": contender, "MIDDLEWARE": middleware}
    with running(SERVERS[server], environment) as started:
        yield started.port, busiest(started.process.pid)


@contextlib.contextmanager
def running(command: Sequence[str], environment: dict[str, str]) -> Iterator[Server]:
    """Run a Python module that serves, on one processor, and have this process use another one.

    "{port}" in `command` stands for a free port.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processors = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryFile() as errors:
        os.sched_setaffinity(0, processors[:1])  # what is started now inherits it
        process = subprocess.Popen(
            [sys.executable, "-m", *(part.format(port=port) for part in command)],
            cwd=PROJECT,
            env=os.environ | {"PYTHONPATH": str(PROJECT)} | environment,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        os.sched_setaffinity(0, processors[-1:])
        server = Server(port, process, errors)
        try:
            wait_for(server)
            yield server
        finally:
            os.sched_setaffinity(0, processors)
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for(server: Server) -> None:
    deadline = time.monotonic() + 30
    while True:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", server.port), 1),
        ):
            return
        if server.process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(server.last_errors(20))
        time.sleep(0.05)


def busiest(pid: int) -> int:
    """Return the process that serves: a child of the one that was started, if it has any."""
    return max(family(pid), key=memory)


def family(pid: int) -> list[int]:
    """Return a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def memory(pid: int) -> int:
    """Return the bytes that a process has in memory."""
    match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(match[1]) * 1024 if match else 0


class Client(asyncio.Protocol):
    """Sends the same request again as soon as it has its answer, which is to be the right one.

    It keeps its connection, and makes a new one when the server has closed that after an answer.
    """

    def __init__(self, port: int, request: bytes, answer: bytes | None = None) -> None:
        self.port = port
        self.request = request
        self.answer = answer
        self.answers = 0
        self.until: float | None = None
        self.ended = asyncio.get_running_loop().create_future()
        self._received = b""

    async def connect(self) -> None:
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self.port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if self.until is not None:
            self.transport.write(self.request)

    def start(self, until: float) -> None:
        self.until = until
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator or not complete(head, body):
            return
        self._received = b""
        right = self.answer is None or body == self.answer
        if not (right and head.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200"))):
            self._end(RuntimeError(f"not the answer: {head[:15]!r} … {body[:80]!r}"))
            return
        self.answers += 1
        if time.monotonic() >= cast("float", self.until):
            self._end()
        elif not CLOSE.search(head):
            self.transport.write(self.request)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._received:
            self._end(RuntimeError(f"the connection was lost within an answer: {exc!r}"))
        elif not self.ended.done():
            self._connecting = asyncio.create_task(self.connect())
            self._connecting.add_done_callback(self._connected)

    def _connected(self, connecting: asyncio.Task[None]) -> None:
        if failure := connecting.exception():
            self._end(failure)

    def _end(self, failure: BaseException | None = None) -> None:
        if not self.ended.done():
            if failure is None:
                self.ended.set_result(None)
            else:
                self.ended.set_exception(failure)
        self.transport.close()


CLOSE = re.compile(rb"^connection: *close", re.IGNORECASE | re.MULTILINE)
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def complete(head: bytes, body: bytes) -> bool:
    """Whether a response is all there."""
    if match := LENGTH.search(head):
        return len(body) >= int(match[1])
    return body.endswith(b"0\r\n\r\n")


def request_to(path: str, query: bytes = b"") -> bytes:
    return b"GET %s?%s HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n" % (path.encode(), query)


async def load(
    port: int, request: bytes, *, clients: int, seconds: float, answer: bytes | None = None
) -> tuple[int, float]:
    """Have so many clients, once all are connected, send; return answers, and seconds taken."""
    connections = [Client(port, request, answer) for _ in range(clients)]
    for connection in connections:
        await connection.connect()
    await asyncio.sleep(0.2)  # the server has accepted them
    began = time.monotonic()
    for connection in connections:
        connection.start(began + seconds)
    await asyncio.wait_for(asyncio.gather(*(c.ended for c in connections)), seconds + 30)
    return sum(c.answers for c in connections), time.monotonic() - began


def seconds_each(port: int, request: bytes, *, clients: int, seconds: float) -> float:
    """Return the seconds that the server takes for one request while so many clients send."""
    answers, taken = asyncio.run(load(port, request, clients=clients, seconds=seconds))
    return taken / answers


def path_of(contender: str) -> str:
    return (
        "/smoke/" if contender in contenders.OTHERS else f"/{contender.split('@', maxsplit=1)[0]}/"
    )


def throughput(middleware: str, *, seconds: float, clients: int = 32) -> dict[str, float]:
    """Return the seconds that a server takes for one request, for each server and contender."""
    found = {}
    for server in SERVERS:
        for contender in SERVED:
            with serving(server, contender, middleware) as (port, _):
                request = request_to(path_of(contender), contenders.QUERY)
                seconds_each(port, request, clients=clients, seconds=0.5)
                found[f"{server}, {contender}"] = seconds_each(
                    port, request, clients=clients, seconds=seconds
                )
    return found


def clients(seconds: float) -> dict[str, float]:
    """Return the seconds that Hypercorn takes for one request, as clients grow 1 to 1,000."""
    found = {}
    for contender in ("asyncview@django", "asyncview@asyncviews"):
        with serving("hypercorn", contender, "startproject") as (port, _):
            request = request_to("/asyncview/", contenders.QUERY)
            for count in (1, 10, 100, 1000):
                found[f"{contender}, {count} clients"] = seconds_each(
                    port, request, clients=count, seconds=seconds
                )
    return found


def waiting(count: int = 1000) -> dict[str, float]:
    """Return the seconds until so many requests, each of which waits one second, are answered."""
    found = {}
    for server in SERVERS:
        for contender in ("bare", "starlette", "function@django", "function@asyncviews"):
            with serving(server, contender, "startproject") as (port, _):
                wait = load(port, request_to("/wait/"), clients=count, seconds=0)
                _, found[f"{server}, {contender}"] = asyncio.run(wait)
    return found


def streams(count: int) -> dict[str, float]:
    """Return the bytes of memory that an idle event stream takes."""
    found = {}
    for server in ("hypercorn", "uvicorn"):
        for contender in ("starlette", "function@django", "function@asyncviews"):
            with serving(server, contender, "startproject") as (port, pid):
                before = memory(pid)
                found[f"{server}, {contender}"] = (
                    asyncio.run(memory_of_streams(port, pid, count)) - before
                ) / count
    return found


async def memory_of_streams(port: int, pid: int, count: int) -> int:
    """Open so many streams; return the memory of the process when each has had an event."""
    connections = []
    for _ in range(count // 100):
        opened = [asyncio.open_connection("127.0.0.1", port) for _ in range(100)]
        for reader, writer in await asyncio.gather(*opened):
            writer.write(request_to("/stream/"))
            connections.append((reader, writer))
    for reader, _ in connections:
        await asyncio.wait_for(reader.readuntil(b"tick"), 60)
    needed = memory(pid)
    for _, writer in connections:
        writer.transport.abort()
    return needed
