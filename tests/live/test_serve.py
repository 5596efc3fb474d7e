"""``manage.py serve``: what it does with signals, workers, drains, and bad input."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from tests.live.conftest import StartServer
from tests.live.server_process import SOON, ProjectServer, is_running, until

pytestmark = pytest.mark.live

DRAIN = 2.0
SERVE = ("django", "serve", "127.0.0.1:0")


@pytest.fixture
def serve(start_server: StartServer) -> StartServer:
    def start(*options: str, under: Sequence[str] = (), **settings: str) -> ProjectServer:
        settings = {"drain_timeout": str(DRAIN), **settings}
        server = start_server(*under, *SERVE, *options, **settings)
        server.wait_for_output("Serving ")
        return server

    return start


def pids(server: ProjectServer, count: int) -> set[int]:
    """Return the ids of the processes that answer, once there are `count` of them."""
    seen: set[int] = set()

    def all_seen() -> bool:
        seen.add(int(server.get()))
        return len(seen) >= count

    until(all_seen, server)
    return seen


def test_an_idle_server_stops_at_once(serve: StartServer) -> None:
    """SIGTERM: exit code 0, resources closed, nothing waits for an idle connection."""
    server = serve(drain_timeout="50")
    with httpx.Client() as client:
        client.get(server.url).raise_for_status()
        code, elapsed = server.stop()
    assert (code, server.notes) == (0, ["opened", "closed"])
    assert elapsed < SOON


def test_the_drain_starts_at_once_while_a_long_request_is_open(serve: StartServer) -> None:
    """The task that fits the deadline is done, the other is named, and the process is gone."""
    server = serve()
    server.open("/sleep/?seconds=60")
    server.wait_for_note("asleep")
    server.get("/start/roast/", seconds=1)
    server.get("/start/simmer/", seconds=60)
    server.wait_for_note("roasting")
    code, elapsed = server.stop()
    assert code == 0
    assert DRAIN <= elapsed <= DRAIN + SOON
    assert server.notes[-2:] == ["roasted", "closed"]
    assert re.search(r"task project\.urls\.simmer .* is cut off", server.output)
    assert "urls.roast" not in server.output
    assert "GET /sleep/ is cut off" in server.output
    assert "Requests and background tasks have 2 s to end." in server.output
    assert "Traceback" not in server.output


def test_a_drain_ends_with_the_last_task(serve: StartServer) -> None:
    """It does not wait for the deadline, and not for the connections either."""
    server = serve(drain_timeout="20")
    server.get("/start/roast/", seconds=1)
    server.wait_for_note("roasting")
    code, elapsed = server.stop()
    assert code == 0
    assert elapsed < SOON
    assert server.notes[-2:] == ["roasted", "closed"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_terminal_that_is_closed_loses_no_task(serve: StartServer, workers: str) -> None:
    """The kernel sends SIGHUP to all processes of the terminal."""
    ours = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup
    try:
        server = serve("--workers", workers)
    finally:
        signal.signal(signal.SIGHUP, ours)
    server.get("/start/roast/", seconds=1)
    server.wait_for_note("roasting")
    code, _ = server.stop(signal.SIGHUP, group=True)
    assert code == 0
    assert "roasted" in server.notes


def test_under_nohup_it_goes_on(serve: StartServer) -> None:
    server = serve(under=["nohup"])
    assert server.get("/")
    server.send(signal.SIGHUP, group=True)
    assert server.get("/")
    assert server.stop()[0] == 0


def test_a_request_in_flight_is_answered(serve: StartServer) -> None:
    server = serve()
    connection = server.open("/sleep/?seconds=1")
    server.wait_for_note("asleep")
    assert server.stop()[0] == 0
    assert b"awake" in connection.recv(10_000)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_connection_is_accepted_during_the_drain(serve: StartServer, workers: str) -> None:
    server = serve("--workers", workers, drain_timeout="20")
    address = httpx.URL(server.url)
    server.get("/start/roast/", seconds=3)
    server.wait_for_note("roasting")
    server.send(signal.SIGTERM)

    def refused() -> bool:
        try:
            socket.create_connection((address.host, address.port or 0)).close()
        except ConnectionRefusedError:
            return True
        return False

    until(refused, server)
    assert "roasted" not in server.notes
    assert server.wait() == 0
    assert "roasted" in server.notes


class Newcomers:
    """Clients who come with a new connection each time, until they are refused."""

    def __init__(self, url: str) -> None:
        self.outcomes: Counter[str] = Counter()
        self._port = httpx.URL(url).port or 0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()

    def wait(self) -> None:
        self._thread.join(SOON)

    async def _run(self, count: int = 20) -> None:
        await asyncio.gather(*(self._come() for _ in range(count)))

    async def _come(self) -> None:
        while not self.outcomes["refused"]:
            self.outcomes[await self._visit()] += 1

    async def _visit(self) -> str:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except ConnectionRefusedError:
            return "refused"
        try:
            writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            status = await asyncio.wait_for(reader.readline(), SOON)
        except Exception as exc:  # noqa: BLE001 - the test says which
            return repr(exc)
        finally:
            writer.close()
        return "answered" if status == b"HTTP/1.1 200 \r\n" else repr(status)


@pytest.mark.parametrize(("workers", "group"), [("1", False), ("2", False), ("2", True)])
def test_new_connections_are_answered_or_refused(
    serve: StartServer, workers: str, group: bool
) -> None:
    """None is reset that the kernel has made, whoever gets the signal."""
    server = serve("--workers", workers)
    newcomers = Newcomers(server.url)
    until(lambda: newcomers.outcomes["answered"] > 50, server)
    server.send(signal.SIGTERM, group=group)
    newcomers.wait()
    assert newcomers.outcomes.keys() == {"answered", "refused"}
    assert server.wait() == 0


@pytest.mark.parametrize(("path", "expected"), [("/block/", 1), ("/sync_sleep/", 0)])
def test_a_view_that_blocks_cannot_delay_the_end(
    serve: StartServer, path: str, expected: int
) -> None:
    """Whether it blocks the event loop, which ends by force, or only its own thread."""
    server = serve()
    server.get("/start/roast/", seconds=60)
    server.wait_for_note("roasting")
    server.open(f"{path}?seconds=60")
    server.wait_for_note("blocked")
    code, elapsed = server.stop()
    assert code == expected
    assert DRAIN <= elapsed <= DRAIN + SOON
    assert re.search(r"task project\.urls\.roast .* is cut off", server.output)
    assert re.search(r"request GET \S+sleep/ is cut off|it did not stop within", server.output)


@pytest.mark.parametrize("path", ["/start/smoulder/?seconds=60", "/start/snore/?seconds=60"])
def test_what_cannot_be_cancelled_cannot_delay_the_end(serve: StartServer, path: str) -> None:
    """A task that swallows its cancellation, and one that sleeps in a thread."""
    server = serve()
    server.get(path)
    server.wait_for_note("hanging")
    _, elapsed = server.stop()
    assert DRAIN <= elapsed <= DRAIN + SOON
    assert re.search(r"task project\.urls\.(smoulder|snore) .* is cut off", server.output)


def test_a_second_signal_ends_at_once(serve: StartServer) -> None:
    """And says what is lost."""
    server = serve(drain_timeout="20")
    server.get("/start/roast/", seconds=60)
    server.wait_for_note("roasting")
    server.send(signal.SIGINT)
    server.wait_for_output("have 20 s to end")
    code, elapsed = server.stop(signal.SIGINT)
    assert code == 1
    assert elapsed < SOON
    assert re.search(r"task project\.urls\.roast .* is cut off", server.output)
    assert "told to end at once" in server.output


def test_workers_drain_together(serve: StartServer) -> None:
    """SIGTERM to all processes, as systemd sends it: tasks of both workers are done."""
    server = serve("--workers", "2", drain_timeout="50")
    workers = pids(server, 2)
    assert server.process.pid not in workers
    roasting: set[str] = set()
    while len(roasting) < 2:
        roasting.add(server.get("/start/roast/", seconds=1.5))
    server.wait_for_note("roasting", times=2)
    code, elapsed = server.stop(group=True)
    assert code == 0
    assert elapsed < SOON
    assert server.notes.count("roasted") == server.notes.count("roasting")
    assert server.notes.count("closed") == 2
    assert not any(is_running(pid) for pid in workers)


def test_plain_hypercorn_loses_what_workers_do(start_server: StartServer) -> None:
    """Why there is a server of our own."""
    command = ("hypercorn", "--workers", "2", "--bind", "127.0.0.1:0", "project.asgi:application")
    server = start_server(*command, drain_timeout="20")
    server.get("/start/roast/", seconds=1.5)
    server.wait_for_note("roasting")
    server.stop(group=True)
    assert "roasted" not in server.notes
    assert "is cut off" not in server.output


def test_a_killed_worker_is_replaced(serve: StartServer) -> None:
    """kill -9: the line in the log names it, and the server goes on answering."""
    server = serve("--workers", "2")
    killed, other = pids(server, 2)
    os.kill(killed, signal.SIGKILL)
    server.wait_for_output(rf"Worker {killed} has ended with signal 9")
    replaced = until(lambda: pids(server, 2) - {killed, other}, server)
    assert len(replaced) == 1
    assert server.stop()[0] == 0


def test_a_replacement_that_cannot_start_is_tried_again(serve: StartServer, tmp_path: Path) -> None:
    server = serve("--workers", "2", resources="project.resources.oven", oven=str(tmp_path))
    killed, other = pids(server, 2)
    (tmp_path / "broken").touch()
    os.kill(killed, signal.SIGKILL)
    server.wait_for_output(r"project\.resources\.oven could not be opened.* Another is started")
    assert int(server.get()) == other
    (tmp_path / "broken").unlink()
    until(lambda: pids(server, 2) - {killed, other}, server)
    assert server.stop()[0] == 0


def test_workers_do_not_outlive_their_parent(serve: StartServer) -> None:
    """kill -9 of the parent: the workers drain and end."""
    server = serve("--workers", "2")
    workers = pids(server, 2)
    server.get("/start/roast/", seconds=1)
    server.wait_for_note("roasting")
    server.process.kill()
    until(lambda: not any(is_running(pid) for pid in workers), server)
    assert "roasted" in server.notes
    assert server.notes.count("closed") == 2


def test_a_blocked_worker_cannot_delay_the_end(serve: StartServer) -> None:
    server = serve("--workers", "2")
    server.open("/block/?seconds=60")
    server.wait_for_note("blocked")
    code, elapsed = server.stop()
    assert code == 1
    assert DRAIN <= elapsed <= DRAIN + SOON


def test_a_second_signal_ends_workers_at_once(serve: StartServer) -> None:
    server = serve("--workers", "2", drain_timeout="20")
    server.get("/start/roast/", seconds=60)
    server.wait_for_note("roasting")
    server.send(signal.SIGINT, group=True)
    server.wait_for_output("have 20 s to end")
    code, elapsed = server.stop(signal.SIGINT, group=True)
    assert code == 1
    assert elapsed < SOON
    assert re.search(r"task project\.urls\.roast .* is cut off", server.output)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {"resources": "project.resources.journal project.resources.broken"},
            "The resource project.resources.broken could not be opened: RuntimeError('no oven')",
        ),
        ({"application": "nosuch.asgi.application"}, "No module named 'nosuch'"),
        ({"application": "project.asgi.nosuch"}, 'does not define a "nosuch" attribute'),
        ({"application": "project.broken.application"}, "No module named 'not_installed'"),
    ],
)
def test_a_failing_startup_ends_the_server(
    start_server: StartServer, workers: str, settings: dict[str, str], reason: str
) -> None:
    """Exit code 1, and the last line carries the reason."""
    server = start_server(*SERVE, "--workers", workers, **settings)
    assert server.wait() == 1
    assert reason in server.lines[-1]
    assert "Serving" not in server.output
    assert server.notes.count("opened") == server.notes.count("closed")


def test_an_application_that_knows_no_lifespan_is_served(serve: StartServer) -> None:
    """Django's own handler; its requests in flight have the deadline, too."""
    server = serve(application="project.asgi.django_application")
    connection = server.open("/sleep/?seconds=1")
    server.wait_for_note("asleep")
    assert server.stop()[0] == 0
    assert b"awake" in connection.recv(10_000)


def test_an_open_request_of_such_an_application_is_cut(serve: StartServer) -> None:
    server = serve(application="project.asgi.django_application")
    server.open("/sleep/?seconds=60")
    server.wait_for_note("asleep")
    code, elapsed = server.stop()
    assert code == 1
    assert DRAIN <= elapsed <= DRAIN + SOON
    assert re.search(r"did not (drain|stop) within 2", server.output)  # a busy machine needs force


def test_a_port_in_use_is_one_clear_line(start_server: StartServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        server = start_server("django", "serve", address)
        assert server.wait() == 1
    assert server.output == f"CommandError: Cannot listen on {address}: Address already in use."


def test_the_access_log_is_optional(serve: StartServer) -> None:
    silent, talking = serve(), serve("--access-log")
    for server in (silent, talking):
        server.get()
        assert server.stop()[0] == 0
    assert '"GET / HTTP/1.1" 200' not in silent.output
    assert '"GET / HTTP/1.1" 200' in talking.output


def test_a_unix_socket_is_served_again_after_a_crash(
    start_server: StartServer, tmp_path: Path
) -> None:
    path = tmp_path / "socket"
    for _ in range(2):
        server = start_server("django", "serve", f"unix:{path}")
        server.wait_for_output(f"Serving .* on unix:{path}")
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
            assert client.get("http://localhost/").text == str(server.process.pid)
        server.process.kill()
        server.wait()
    server = start_server("django", "serve", f"unix:{path}")
    server.wait_for_output("Serving")
    other = start_server("django", "serve", f"unix:{path}")
    assert other.wait() == 1
    assert "Address already in use" in other.output


def test_several_addresses(start_server: StartServer) -> None:
    server = start_server(*SERVE, "[::1]:0")
    found = server.wait_for_output(r"on (http://127\.0\.0\.1:\d+), (http://\[::1\]:\d+) with 1")
    for url in found.groups():
        assert httpx.get(url).text == str(server.process.pid)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_tls_brings_http2(serve: StartServer, certificate: Path, workers: str) -> None:
    server = serve("--certfile", str(certificate), "--workers", workers)
    assert server.url.startswith("https://")
    context = ssl.create_default_context(cafile=str(certificate))
    with httpx.Client(http2=True, verify=context) as client:
        response = client.get(server.url)
    assert response.http_version == "HTTP/2"
    assert server.stop()[0] == 0
