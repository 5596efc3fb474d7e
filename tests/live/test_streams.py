"""Streams and uploads through Hypercorn, in HTTP/1.1 and HTTP/2: when they begin, and how they end."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded

from tests.live.conftest import StartServer
from tests.live.server_process import ProjectServer, until

pytestmark = [pytest.mark.live, pytest.mark.timeout(90)]


@pytest.fixture
def server(start_server: StartServer, certificate: Path) -> ProjectServer:
    server = start_server("django", "serve", "127.0.0.1:0", "--certfile", str(certificate))
    server.wait_for_output("Serving ")
    return server


@pytest.fixture(params=["HTTP/1.1", "HTTP/2"])
def client(request, server: ProjectServer, certificate: Path) -> Iterator[httpx.Client]:
    trusted = ssl.create_default_context(cafile=certificate)
    with httpx.Client(
        base_url=server.url, http2=request.param == "HTTP/2", verify=trusted, timeout=20
    ) as client:
        assert client.get("/").http_version == request.param
        yield client


def test_an_event_arrives_before_the_next_one_is_made(client, server):
    with client.stream("GET", "/events/?pause=60", headers={"Last-Event-ID": "41"}) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        lines = response.iter_lines()
        assert [next(lines) for _ in range(3)] == ["id: 42", "data: x", ""]
        assert server.notes.count("event") == 1


def test_a_client_that_leaves_ends_the_stream(client, server):
    with client.stream("GET", "/events/?pause=0.01") as response:
        next(response.iter_lines())
    client.close()
    server.wait_for_note("ended")
    assert "Traceback" not in server.output


def test_a_stream_of_http_2_that_is_reset_ends_alone(server, certificate):
    trusted = ssl.create_default_context(cafile=certificate)
    trusted.set_alpn_protocols(["h2"])
    address = httpx.URL(server.url)
    with (
        socket.create_connection((address.host, address.port), timeout=20) as plain,
        trusted.wrap_socket(plain, server_hostname=address.host) as connection,
    ):
        protocol = H2Connection()
        protocol.initiate_connection()

        def read_until(event: type, stream: int) -> None:
            while True:
                connection.sendall(protocol.data_to_send())
                received = protocol.receive_data(connection.recv(65536))
                if any(isinstance(e, event) and e.stream_id == stream for e in received):
                    return

        def get(stream: int, path: str) -> None:
            names = (":method", ":path", ":scheme", ":authority")
            values = ("GET", path, "https", address.host)
            protocol.send_headers(stream, list(zip(names, values, strict=True)), end_stream=True)

        get(1, "/events/?pause=0.01")
        read_until(DataReceived, 1)
        protocol.reset_stream(1)
        get(3, "/")
        read_until(StreamEnded, 3)
        server.wait_for_note("ended")


def test_a_client_that_does_not_read_holds_the_events_back(client, server):
    """What is made stays within the buffers of the two kernels: some megabytes."""
    with client.stream("GET", "/events/?size=65536") as response:
        next(response.iter_lines())
        made = 0

        def has_stopped() -> bool:
            nonlocal made
            before, made = made, server.notes.count("event")
            time.sleep(0.5)
            return made == before

        until(has_stopped, server, seconds=40)
        assert made < 1000
    client.close()
    server.wait_for_note("ended")


def test_an_upload_is_read_in_chunks(client):
    response = client.put("/upload/", content=(b"x" * 65536 for _ in range(100)))
    assert response.json() == 100 * 65536


def test_a_client_that_leaves_in_the_middle_of_an_upload_is_forgotten(start_server):
    server = start_server("django", "serve", "127.0.0.1:0")
    server.wait_for_output("Serving ")
    address = httpx.URL(server.url)
    with socket.create_connection((address.host, address.port)) as connection:
        head = f"PUT /upload/ HTTP/1.1\r\nHost: {address.host}\r\nContent-Length: 1000000\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 500_000)
    assert httpx.put(f"{server.url}/upload/", content=b"x").json() == 1
    assert server.notes.count("called") == 1
    assert server.stop()[0] == 0
    assert "Traceback" not in server.output
