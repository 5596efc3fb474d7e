"""A real server process: started on a free port, watched, and stopped."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx

T = TypeVar("T")

LIVE = Path(__file__).parent
PATIENCE = 40.0  # seconds to wait for what must happen
SOON = 10.0
"""Seconds that what happens at once takes at most, on a machine that does much else meanwhile.

What would be waited for otherwise takes longer: requests and tasks a minute, deadlines 20 seconds.
"""


class ServerProcess:
    """A ``python -m`` command that serves, in a process group of its own, and what it prints."""

    def __init__(
        self, command: Sequence[str], *, cwd: Path, environment: Mapping[str, str]
    ) -> None:
        self.lines: list[str] = []
        self.address = ""
        """Where it is reached, if it does not say so itself."""
        self._sockets: list[socket.socket] = []
        prefix, module = (command[:1], command[1:]) if command[0] == "nohup" else ((), command)
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", *module],
            cwd=cwd,
            env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for_output(self, pattern: str) -> re.Match[str]:
        return until(lambda: re.search(pattern, self.output), self)

    @property
    def url(self) -> str:
        return self.address or self.wait_for_output(r"https?://[\w.\[\]:]+:\d+").group()

    def get(self, path: str = "/", **query: Any) -> str:
        response = httpx.get(f"{self.url}{path}", params=query or None, timeout=PATIENCE)
        return response.raise_for_status().text

    def open(self, path: str) -> socket.socket:
        """Send a request, and leave it open."""
        address = httpx.URL(self.url)
        connection = socket.create_connection((address.host, address.port or 0))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {address.host}\r\n\r\n".encode())
        self._sockets.append(connection)
        return connection

    def send(self, signum: signal.Signals, *, group: bool = False) -> None:
        """Send a signal; to the whole process group, as a terminal does, if asked."""
        (os.killpg if group else os.kill)(self.process.pid, signum)

    def wait(self) -> int:
        """Wait for the end; return the exit code."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def stop(self, signum: signal.Signals = signal.SIGTERM, **how: bool) -> tuple[int, float]:
        """Stop it; return the exit code and the seconds that it took."""
        began = time.monotonic()
        self.send(signum, **how)
        code = self.process.wait(PATIENCE)
        elapsed = time.monotonic() - began
        self._reader.join(PATIENCE)
        return code, elapsed

    def close(self) -> None:
        """Kill whatever is left of it."""
        for connection in self._sockets:
            connection.close()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class ProjectServer(ServerProcess):
    """A server of the project in tests/live/project, and what that writes."""

    def __init__(self, *command: str, journal: Path, home: Path = LIVE, **settings: str) -> None:
        self._journal = journal
        environment = {
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "LIVE_JOURNAL": str(journal),
            "PYTHONPATH": os.pathsep.join([str(home), str(LIVE.parents[1])]),
        }
        environment |= {f"LIVE_{name.upper()}": value for name, value in settings.items()}
        super().__init__(command, cwd=home, environment=environment)

    def wait_for_note(self, note: str, *, times: int = 1) -> None:
        until(lambda: self.notes.count(note) >= times, self)

    @property
    def notes(self) -> list[str]:
        """What the project's views, tasks and resources have written."""
        return self._journal.read_text().splitlines() if self._journal.exists() else []


def until(
    condition: Callable[[], T], server: ServerProcess | None = None, *, seconds: float = PATIENCE
) -> T:
    """Wait until `condition` returns something true, and return that."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(server.output if server else condition)
        time.sleep(0.01)
    return result


def workers(server: ServerProcess) -> set[int]:
    """Return the ids of the worker processes of a ``serve`` command."""
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    commands = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    # Before and after it has a title; the other child is the resource tracker of multiprocessing.
    names = b"spawn_main", b", worker"
    return {child for child, cmd in commands.items() if any(name in cmd for name in names)}


def free_port() -> int:
    """Return a port on which a server can listen, now and again later.

    It is below those that the system gives to clients, and to servers that ask for any.
    """
    while True:
        port = random.SystemRandom().randrange(10_000, 32_768)  # the seed is that of all processes
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
