"""Clients that are slow, idle or hostile are ended; those that only take long are not."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pytest

from tests.http2 import Client
from tests.live.server_process import LIVE, ProjectServer

pytestmark = [pytest.mark.live, pytest.mark.timeout(60)]

LATE = "1"  # seconds by which a client may be late
KEEP_ALIVE = 5.0  # seconds
PATIENCE = 15.0  # seconds, for what must happen on a busy machine
HOST = b"Host: 127.0.0.1\r\n"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProjectServer]:
    yield from serve(tmp_path_factory, "--access-log")


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> Iterator[ProjectServer]:
    yield from serve(tmp_path_factory, "--certfile", str(certificate))


def serve(paths: pytest.TempPathFactory, *options: str) -> Iterator[ProjectServer]:
    journal = paths.mktemp("protocols") / "journal"
    command = ("django", "serve", "127.0.0.1:0", *options)
    server = ProjectServer(*command, journal=journal, home=LIVE, slow_client_timeout=LATE)
    try:
        server.wait_for_output("Serving ")
        yield server
        assert server.stop()[0] == 0
        assert "Traceback" not in server.output, server.output
    finally:
        server.close()


def connect(server: ProjectServer) -> socket.socket:
    address = httpx.URL(server.url)
    connection = socket.create_connection((address.host, address.port or 0))
    connection.settimeout(PATIENCE)
    return connection


def rest(connection: socket.socket) -> bytes:
    """Return all that comes until the server ends the connection."""
    received = b""
    with suppress(ConnectionError), closing(connection):
        while data := connection.recv(65536):
            received += data
    return received


def talk(server: ProjectServer, request: bytes) -> bytes:
    connection = connect(server)
    connection.sendall(request)
    return rest(connection)


def test_http2_without_tls_is_not_spoken(plain: ProjectServer) -> None:
    """An upgrade is not taken up, as RFC 9110 allows; who assumes HTTP/2 is told that it is none."""
    settings = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    answer = talk(plain, b"GET / HTTP/1.1\r\n" + HOST + settings.encode() + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
    assert talk(plain, preface).startswith(b"HTTP/1.1 505 ")
    assert talk(plain, b"GET / HTTP/3.0\r\n" + HOST + b"\r\n").startswith(b"HTTP/1.1 505 ")


def test_http2_without_tls_is_spoken_when_asked_for(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    for server in serve(tmp_path_factory, "--h2c"):
        with Client(connect(server)) as client:
            assert client.get("/").status == "200"


def test_a_websocket_is_refused(plain: ProjectServer) -> None:
    upgrade = (
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    answer = talk(plain, b"GET / HTTP/1.1\r\n" + HOST + upgrade.encode())
    assert answer.startswith(b"HTTP/1.1 403 ")


def test_no_line_of_the_access_log_is_forged(plain: ProjectServer) -> None:
    agent = b'User-Agent: \x1b[31m" forged\r\nConnection: close\r\n\r\n'
    talk(plain, b"GET /%0d%0aforged%1b HTTP/1.1\r\n" + HOST + agent)
    plain.wait_for_output(r'"GET /\\r\\nforged\\x1b HTTP/1.1" 404 - "-" "\\x1b\[31m\\" forged"')
    assert not [line for line in plain.lines if line.startswith("forged")]


def upload(server: ProjectServer, length: int) -> socket.socket:
    connection = connect(server)
    kind = f"Content-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n"
    connection.sendall(b"PUT /upload/ HTTP/1.1\r\n" + HOST + kind.encode())
    return connection


def test_a_body_that_does_not_come_ends_the_connection(plain: ProjectServer) -> None:
    connection = upload(plain, 1_000_000)
    connection.sendall(b"x" * 10)
    assert b"200" not in rest(connection)[:20]


def test_a_body_that_trickles_ends_the_connection(plain: ProjectServer) -> None:
    connection = upload(plain, 1_000_000)
    with pytest.raises(ConnectionError):
        trickle(connection, b"x")
    connection.close()


def trickle(connection: socket.socket, data: bytes) -> None:
    """Send a little ten times a second, for as long as the other side takes it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        connection.sendall(data)
        time.sleep(0.1)


def test_a_long_upload_that_makes_progress_is_answered(plain: ProjectServer) -> None:
    """Three times as long as a client may be late."""
    connection = upload(plain, 30_000)
    for _ in range(30):
        connection.sendall(b"x" * 1000)
        time.sleep(0.1)
    connection.shutdown(socket.SHUT_WR)
    assert b"30000" in rest(connection)


@pytest.mark.parametrize("path", ["/sleep/?seconds=3", "/events/?pause=3"])
def test_a_silent_response_is_not_cut(plain: ProjectServer, path: str) -> None:
    connection = plain.open(path)
    received = b""
    while b"awake" not in received and b"id: 2" not in received:
        data = connection.recv(65536)
        assert data
        received += data
    connection.close()


def test_a_client_that_takes_nothing_is_cut(plain: ProjectServer) -> None:
    ended = plain.notes.count("ended")
    connection = plain.open("/events/?size=1000000")
    plain.wait_for_note("ended", times=ended + 1)
    connection.close()


def test_a_client_that_takes_it_slowly_gets_it_all(plain: ProjectServer) -> None:
    """For three times as long as a client may be late, while more waits to be sent."""
    connection = plain.open("/events/?size=1000000")
    end = time.monotonic() + 3
    while time.monotonic() < end:
        assert connection.recv(20_000)
        time.sleep(0.01)
    connection.close()


def seconds_open(connection: socket.socket) -> float:
    began = time.monotonic()
    rest(connection)
    return time.monotonic() - began


def test_idle_connections_end(plain: ProjectServer) -> None:
    """New ones, and those that are kept after a request."""
    fresh, kept = connect(plain), connect(plain)
    kept.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
    assert KEEP_ALIVE - 1 < seconds_open(kept) < PATIENCE
    assert rest(fresh) == b""


def test_a_head_that_trickles_ends_the_connection(plain: ProjectServer) -> None:
    connection = connect(plain)
    connection.sendall(b"GET / HTTP/1.1\r\n" + HOST)
    with pytest.raises(ConnectionError):
        trickle(connection, b"X-A: b\r\n")
    connection.close()


def connect_tls(server: ProjectServer, certificate: Path) -> socket.socket:
    context = ssl.create_default_context(cafile=str(certificate))
    context.set_alpn_protocols(["h2"])
    return context.wrap_socket(connect(server), server_hostname="127.0.0.1")


@pytest.fixture
def client(secure: ProjectServer, certificate: Path) -> Iterator[Client]:
    with Client(connect_tls(secure, certificate)) as client:
        yield client


def test_http2_with_tls(client: Client) -> None:
    assert client.get("/").status == "200"


def test_a_body_of_http2_that_does_not_come_ends_the_connection(client: Client) -> None:
    number = client.ask("/upload/", "PUT", end=False)
    client.h2.send_data(number, b"x" * 10)
    client.flush()
    client.wait_for_end()
    assert client.answers[number].status == ""


def test_a_long_upload_of_http2_that_makes_progress_is_answered(client: Client) -> None:
    number = client.ask("/upload/", "PUT", end=False)
    for count in range(30):
        client.h2.send_data(number, b"x" * 1000, end_stream=count == 29)
        client.flush()
        time.sleep(0.1)
    client.wait(lambda: client.answers[number].ended)
    assert json.loads(client.answers[number].body) == 30_000


def test_a_silent_response_of_http2_is_not_cut(client: Client) -> None:
    assert client.get("/sleep/?seconds=3").body == b"awake"


def test_a_window_that_stays_closed_ends_the_connection(
    secure: ProjectServer, certificate: Path
) -> None:
    """The view is told, too."""
    ended = secure.notes.count("ended")
    with Client(connect_tls(secure, certificate), window=0) as client:
        for _ in range(5):
            client.ask("/events/?size=1000000")
        client.wait_for_end()
    secure.wait_for_note("ended", times=ended + 5)


def test_idle_connections_of_http2_end(client: Client) -> None:
    assert client.get("/").status == "200"
    began = time.monotonic()
    client.wait_for_end()
    assert KEEP_ALIVE - 1 < time.monotonic() - began < PATIENCE


def test_requests_that_are_reset_at_once_are_bounded(
    secure: ProjectServer, certificate: Path
) -> None:
    """By the connection, which ends after a hundred; others are answered meanwhile."""
    before = secure.notes.count("asleep")
    with Client(connect_tls(secure, certificate)) as client:
        with suppress(ConnectionError, ssl.SSLError):
            for _ in range(6000):
                client.h2.reset_stream(client.ask("/sleep/?seconds=60"), error_code=8)
        with Client(connect_tls(secure, certificate)) as other:
            assert other.get("/").status == "200"
        client.wait_for_end()
    assert secure.notes.count("asleep") - before < 300


def test_requests_that_are_reset_with_them_are_not_started(
    secure: ProjectServer, client: Client
) -> None:
    """A hundred of them are borne: a browser that leaves a page does that."""
    before = secure.notes.count("blocked")
    requests = b""
    for _ in range(100):
        number = client.h2.get_next_available_stream_id()
        head = [(":method", "GET"), (":path", "/block/?seconds=60"), (":scheme", "https")]
        client.h2.send_headers(number, [*head, (":authority", "here")], end_stream=True)
        client.h2.reset_stream(number)
        requests += client.h2.data_to_send()
    client.socket.sendall(requests)
    assert client.get("/").status == "200"
    assert secure.notes.count("blocked") == before


@pytest.mark.parametrize("header", [(":path", "/\xff"), (":method", "G\xcb\x9bT")])
def test_requests_that_hypercorn_cannot_read_end_the_connection(
    secure: ProjectServer, client: Client, header: tuple[str, str]
) -> None:
    """With a line in the log, and no traceback."""
    head = {":method": "GET", ":path": "/", ":scheme": "https", ":authority": "here"}
    head |= [header]
    number = client.h2.get_next_available_stream_id()
    client.h2.send_headers(number, [(k, v.encode("latin-1")) for k, v in head.items()])
    client.flush()
    client.wait_for_end()
    secure.wait_for_output(
        "A connection is ended: Hypercorn cannot go on with it: UnicodeDecodeError"
    )
