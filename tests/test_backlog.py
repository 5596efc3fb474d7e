"""What becomes of connections when their listening socket ends."""

from __future__ import annotations

import errno
import select
import socket
import sys
from collections.abc import Iterator

import pytest

from asyncviews.backlog import refuse
from asyncviews.server import listen

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it does nothing")


@pytest.fixture(params=["127.0.0.1:0", "[::1]:0", "[::]:0"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    with listen(request.param) as listener:
        yield listener


def connect(listener: socket.socket) -> socket.socket:
    host, port = listener.getsockname()[:2]
    return socket.create_connection((host, port), timeout=5)


def test_what_was_made_is_accepted_and_nothing_else(listener: socket.socket) -> None:
    listener.settimeout(5)
    with connect(listener) as before:
        refuse(listener.fileno())
        with socket.socket(listener.family) as late:
            late.setblocking(False)
            late.connect_ex(listener.getsockname()[:2])
            accepted, _ = listener.accept()
            with accepted:
                before.sendall(b"question")
                assert accepted.recv(100) == b"question"
                accepted.sendall(b"answer")
                assert before.recv(100) == b"answer"
            listener.setblocking(False)
            with pytest.raises(BlockingIOError):
                listener.accept()
            listener.close()
            select.select([], [late], [], 5)  # a second, until it asks again
            assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED


def test_a_socket_of_another_kind_is_left_alone(tmp_path) -> None:
    with listen(f"unix:{tmp_path}/socket") as listener, socket.socket(socket.AF_UNIX) as client:
        refuse(listener.fileno())
        client.connect(f"{tmp_path}/socket")
