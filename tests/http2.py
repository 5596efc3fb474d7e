"""A client of HTTP/2 that does what others do not."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

import h2.config
import h2.connection
import h2.events
import h2.settings


class Answer:
    """A response of HTTP/2."""

    status = ""
    body = b""
    ended = False
    reset: int | None = None


class Client:
    """A client of HTTP/2 whose windows open only when that is asked for."""

    def __init__(self, connection: socket.socket, *, window: int = 65535) -> None:
        self.socket = connection
        self.answers: dict[int, Answer] = {}
        self.gone = False
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        values = {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window}
        self.h2.local_settings = h2.settings.Settings(client=True, initial_values=values)
        self.h2.initiate_connection()
        self.flush()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())

    def ask(
        self, path: str, method: str = "GET", *, end: bool = True, kind: str = "application/x"
    ) -> int:
        number = self.h2.get_next_available_stream_id()
        head = {":method": method, ":path": path, ":scheme": "https", ":authority": "127.0.0.1"}
        self.h2.send_headers(number, [*head.items(), ("content-type", kind)], end_stream=end)
        self.answers[number] = Answer()
        self.flush()
        return number

    def read(self) -> None:
        """Read once, and note what it was."""
        data = b""
        with suppress(ConnectionError, ssl.SSLError):
            data = self.socket.recv(65536)
        self.gone = not data
        for event in self.h2.receive_data(data):
            answer = self.answers.get(getattr(event, "stream_id", 0) or 0, Answer())
            if isinstance(event, h2.events.ResponseReceived):
                answer.status = dict(event.headers)[":status"]
            elif isinstance(event, h2.events.DataReceived):
                answer.body += event.data
            elif isinstance(event, h2.events.StreamEnded):
                answer.ended = True
            elif isinstance(event, h2.events.StreamReset):
                answer.reset = event.error_code
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.gone = True
        with suppress(ConnectionError, ssl.SSLError):
            self.flush()

    def wait(self, condition: Callable[[], object]) -> None:
        while not condition():
            assert not self.gone
            self.read()

    def wait_for_end(self) -> None:
        while not self.gone:
            self.read()

    def get(self, path: str) -> Answer:
        answer = self.answers[self.ask(path)]
        self.wait(lambda: answer.ended)
        return answer
