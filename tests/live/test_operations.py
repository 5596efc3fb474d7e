"""What proxies, systemd and whoever operates ``manage.py serve`` have of it."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pytest

from tests.live.conftest import StartServer
from tests.live.server_process import SOON, ProjectServer, is_running, until, workers
from tests.live.test_restart import WORKERS, Crowd

pytestmark = [pytest.mark.live, pytest.mark.once_in_ci, pytest.mark.timeout(120)]

ALONE = ("django", "serve", "127.0.0.1:0")
FORWARDED = {"X-Forwarded-For": "6.6.6.6, 192.0.2.1", "X-Forwarded-Proto": "https"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "http.sock"


def ask(path: Path, **headers: str) -> dict[str, str | None]:
    """Return what the site knows of who asks over a Unix socket, for site.example."""
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
        return client.get("http://site.example/whoami/", headers=headers).json()


@pytest.mark.parametrize("count", ["1", "2"])
def test_a_proxy_at_a_unix_socket_is_believed_if_it_is_trusted(
    start_server: StartServer, path: Path, count: str
) -> None:
    """And who asks by TCP is not."""
    options = ("--trusted-proxy", "unix", "--workers", count, "--access-log")
    server = start_server(*ALONE, f"unix:{path}", *options)
    server.wait_for_output("Serving ")
    expected = {"address": "192.0.2.1", "url": "https://site.example/", "port": "443"}
    assert ask(path, **FORWARDED) == expected
    stranger = httpx.get(f"{server.url}/whoami/", headers=FORWARDED).json()
    assert stranger["address"] == "127.0.0.1"
    assert stranger["url"].startswith("http://")
    assert server.stop()[0] == 0
    assert [line.split()[0] for line in server.lines if '"GET /whoami/' in line] == [
        "192.0.2.1",
        "127.0.0.1",
    ]


def test_a_network_of_proxies_that_speak_the_standard(start_server: StartServer) -> None:
    trusted = ("--trusted-proxy", "127.0.0.0/8", "--forwarded-headers", "forwarded")
    server = start_server(*ALONE, *trusted)
    server.wait_for_output("Serving ")
    sent = {"Forwarded": 'for="[2001:db8::1]:4711";proto=https;host=www.example', **FORWARDED}
    assert httpx.get(f"{server.url}/whoami/", headers=sent).json() == {
        "address": "2001:db8::1",
        "url": "https://www.example/",
        "port": "443",
    }
    assert server.stop()[0] == 0


def test_over_a_unix_socket_nobody_is_believed_and_nothing_breaks(
    start_server: StartServer, path: Path
) -> None:
    server = start_server("django", "serve", f"unix:{path}", "--access-log-format", "json")
    server.wait_for_output("Serving ")
    expected = {"address": None, "url": "http://site.example/", "port": "0"}
    assert ask(path, **FORWARDED) == expected
    assert server.stop()[0] == 0
    [entry] = [json.loads(line) for line in server.lines if line.startswith("{")]
    assert (entry["client"], entry["path"], entry["status"]) == (None, "/whoami/", 200)


@pytest.mark.parametrize(
    ("text", "line"),
    [("common", '" 404 -$'), ("%(s)s <%({x-id}i)s> %(U)s", r'404 <\\x1b\[1m\\"> /none$')],
)
def test_the_format_of_the_access_log(start_server: StartServer, text: str, line: str) -> None:
    server = start_server(*ALONE, "--access-log-format", text)
    server.wait_for_output("Serving ")
    httpx.get(f"{server.url}/none", headers={"X-Id": '\x1b[1m"', "User-Agent": "none"})
    server.wait_for_output(f"(?m){line}")
    assert server.stop()[0] == 0


def test_workers_are_replaced_after_so_many_requests(start_server: StartServer) -> None:
    """No request fails; and each has somewhat more than it must."""
    server = start_server(*WORKERS, "--max-requests", "300", drain_timeout="20")
    server.wait_for_output("Serving ")
    old = workers(server)
    crowd = Crowd(server.url)
    with crowd.here():
        until(lambda: not any(is_running(pid) for pid in old), server, seconds=60)
    assert crowd.wrong == []
    assert min(crowd.answers.count(str(pid)) for pid in old) >= 300
    for pid in old:
        assert f"Worker {pid} has had --max-requests, and is replaced." in server.output
    assert server.stop()[0] == 0
    assert "ERROR" not in server.output


def test_a_stop_while_a_worker_is_replaced_is_a_stop(start_server: StartServer) -> None:
    server = start_server(*WORKERS, "--max-requests", "5")
    server.wait_for_output("Serving ")
    until(lambda: server.get() and "and is replaced" in server.output, server)
    assert server.stop()[0] == 0
    assert "ERROR" not in server.output


def test_a_connection_is_kept_for_as_long_as_is_said(start_server: StartServer) -> None:
    server = start_server(*ALONE, "--keep-alive", "0.5")
    server.wait_for_output("Serving ")
    address = httpx.URL(server.url)
    with closing(socket.create_connection((address.host, address.port or 0))) as connection:
        connection.settimeout(SOON)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert b"200" in connection.recv(1000)
        began = time.monotonic()
        while connection.recv(1000):
            pass
    assert 0.4 < time.monotonic() - began < 4  # by default it takes 5 seconds
    assert server.stop()[0] == 0


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_long_is_refused(start_server: StartServer, chunked: bool) -> None:
    """Before a view is called, and without its end, which may never come."""
    server = start_server(*ALONE, "--max-body", "1000")
    server.wait_for_output("Serving ")
    assert httpx.put(f"{server.url}/upload/", content=b"x" * 1000).json() == 1000
    address = httpx.URL(server.url)
    length = "Transfer-Encoding: chunked" if chunked else "Content-Length: 1000000"
    body = b"3e9\r\n" + b"x" * 1001 + b"\r\n" if chunked else b""
    with closing(socket.create_connection((address.host, address.port or 0))) as connection:
        connection.settimeout(SOON)
        head = f"PUT /upload/ HTTP/1.1\r\nHost: here\r\n{length}\r\n\r\n"
        connection.sendall(head.encode() + body)
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.lower().count(b"connection: close") == 1
    assert answer.endswith(b"The body must not have more than 1000 bytes.\n")
    assert server.notes.count("called") == 1
    assert server.stop()[0] == 0
    assert "ERROR" not in server.output


@pytest.fixture(params=["1", "2"])
def with_pid_file(request: pytest.FixtureRequest, start_server: StartServer, tmp_path: Path):
    def start(address: str = "127.0.0.1:0") -> ProjectServer:
        command = ("django", "serve", address, "--workers", request.param)
        return start_server(*command, "--pid-file", str(tmp_path / "pid"), drain_timeout="20")

    return start


def test_the_pid_file(with_pid_file: StartServer, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    server = with_pid_file()
    server.wait_for_output("Serving ")
    assert path.read_text() == f"{server.process.pid}\n"
    other = with_pid_file()
    assert other.wait() == 1
    assert other.lines[-1].endswith(
        f"{path} is held by process {server.process.pid}, which is running."
    )
    server.process.kill()
    server.wait()
    assert path.exists()
    server = with_pid_file()
    server.wait_for_output("Serving ")
    assert path.read_text() == f"{server.process.pid}\n"
    assert server.stop()[0] == 0
    assert not path.exists()


def test_the_pid_file_is_removed_by_force_too(with_pid_file: StartServer, tmp_path: Path) -> None:
    server = with_pid_file()
    server.wait_for_output("Serving ")
    server.open("/sleep/?seconds=60")
    server.wait_for_note("asleep")
    server.send(signal.SIGINT)
    server.wait_for_output("have 20 s to end")
    assert server.stop(signal.SIGINT)[0] == 1
    assert not (tmp_path / "pid").exists()


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(SOON)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "500000")
        yield listener


def next_of(systemd: socket.socket, *, but: str = "WATCHDOG=1") -> str:
    """Return the first line of the next datagram that is another one."""
    while (line := systemd.recv(1000).decode().splitlines()[0]) == but:
        pass
    return line


@pytest.mark.parametrize("count", ["1", "2"])
def test_systemd_is_told(start_server: StartServer, systemd: socket.socket, count: str) -> None:
    server = start_server(*ALONE, "--workers", count)
    assert next_of(systemd) == "READY=1"
    server.wait_for_output("Serving ")
    if count == "2":
        server.send(signal.SIGUSR2)
        assert next_of(systemd) == "RELOADING=1"
        assert next_of(systemd) == "READY=1"
        server.wait_for_output("All workers have been restarted")
    assert next_of(systemd, but="") == "WATCHDOG=1"
    assert next_of(systemd, but="") == "WATCHDOG=1"
    server.send(signal.SIGTERM)
    assert next_of(systemd) == "STOPPING=1"
    assert server.wait() == 0


def test_a_process_whose_loop_hangs_gives_no_sign_of_life(
    start_server: StartServer, systemd: socket.socket
) -> None:
    """Upon which systemd sends SIGABRT, and Python says what it did."""
    server = start_server(*ALONE)
    assert next_of(systemd) == "READY=1"
    server.open("/block/?seconds=60")
    server.wait_for_note("blocked")
    systemd.settimeout(0)
    with suppress(BlockingIOError):  # what has been sent before
        while systemd.recv(1000):
            pass
    systemd.settimeout(1)  # twice the interval
    with pytest.raises(TimeoutError):
        systemd.recv(1000)
    assert server.stop(signal.SIGABRT)[0] == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in server.output
    assert "urls.py" in server.output


def test_a_start_that_fails_is_never_ready(
    start_server: StartServer, systemd: socket.socket
) -> None:
    server = start_server(*ALONE, resources="project.resources.broken")
    assert server.wait() == 1
    systemd.settimeout(0)
    with pytest.raises(BlockingIOError):
        systemd.recv(1000)


def test_the_titles_of_processes(start_server: StartServer) -> None:
    server = start_server(*WORKERS)
    server.wait_for_output("Serving ")
    titles = [title(pid) for pid in (server.process.pid, *workers(server))]
    name = "asyncviews serve project.asgi.application"
    assert titles == [name, f"{name}, worker", f"{name}, worker"]
    assert server.stop()[0] == 0


def title(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()
