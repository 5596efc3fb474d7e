"""Bodies that are longer than the server takes: refused before anything reads or stores them.

Django writes each body to a temporary file before its view is called, however long it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class BodyLimit:
    """An ASGI application that is asked nothing with a body of more than `limit` bytes.

    A request that says how long its body is has its answer, 413, at once. One that does not is
    cancelled as if its client had left, when more has come; it has the answer if it has none yet.
    """

    def __init__(self, application: Callable[..., Awaitable[None]], limit: int) -> None:
        self._application = application
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._limit)
        if _declared(scope) > self._limit:
            await exchange.refuse()
        else:
            await self._application(scope, exchange.receive, exchange.send)


class _Exchange:
    """A request and its response, until the limit is passed."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        self._closes = scope.get("http_version", "2") < "2"
        self._receive, self._send, self._limit = receive, send, limit
        self._received = 0
        self._answered = False
        self._refused = False

    async def receive(self) -> Message:
        if self._refused:
            return {"type": "http.disconnect"}
        message = await self._receive()
        self._received += len(message.get("body", b""))
        if self._received > self._limit:
            await self.refuse()
            return {"type": "http.disconnect"}
        return message

    async def send(self, message: Message) -> None:
        if not self._refused:
            self._answered = True
            await self._send(message)

    async def refuse(self) -> None:
        self._refused = True
        if self._answered:
            return  # and what is left of the response is not sent: its client sees it cut off
        text = f"The body must not have more than {self._limit} bytes.\n".encode()
        headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(text)).encode())]
        if self._closes:
            headers.append((b"connection", b"close"))  # what is left of the body is not read
        await self._send({"type": "http.response.start", "status": 413, "headers": headers})
        await self._send({"type": "http.response.body", "body": text})


def _declared(scope: Scope) -> float:
    """Return how long a body is to be, 0 if that is not said."""
    value: bytes = dict(scope["headers"]).get(b"content-length", b"")
    if not value.isdigit():
        return 0
    return int(value) if len(value) < 20 else float("inf")
