"""Bodies that are too long never reach an application; tests/live has them of real clients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from asyncviews.body_limit import BodyLimit
from tests.conftest import http_scope


class Exchange:
    """A request whose body comes in these pieces, and what is sent for it."""

    def __init__(self, *pieces: bytes, length: bytes | None = None, version: str = "1.1") -> None:
        self.scope = http_scope("/", method="POST") | {"http_version": version}
        if length is not None:
            self.scope["headers"].append((b"content-length", length))
        self.sent: list[dict[str, Any]] = []
        self.seen: list[Any] = []
        self._messages = self._come(pieces)

    def _come(self, pieces: tuple[bytes, ...]) -> Iterator[dict[str, Any]]:
        for number, piece in enumerate(pieces, 1):
            yield {"type": "http.request", "body": piece, "more_body": number < len(pieces)}

    async def receive(self) -> dict[str, Any]:
        return next(self._messages)

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return next(m["status"] for m in self.sent if m["type"] == "http.response.start")

    async def application(self, scope: Any, receive: Any, send: Any) -> None:
        """Read all, and answer whatever has come."""
        more = True
        while more:
            message = await receive()
            self.seen.append(message.get("body", message["type"]))
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    async def ask(self, application: Any = None) -> None:
        limited = BodyLimit(application or self.application, 10)
        await limited(self.scope, self.receive, self.send)


@pytest.mark.parametrize("length", [b"10", b"0", b"", b"-1", b"\xb2", None])
async def test_a_body_that_fits_is_passed_on(length: bytes | None) -> None:
    exchange = Exchange(b"12345", b"67890", length=length)
    await exchange.ask()
    assert exchange.seen == [b"12345", b"67890"]
    assert exchange.status == 200
    assert exchange.sent[-1]["body"] == b"done"


@pytest.mark.parametrize("length", [b"11", b"0011", b"9" * 5000])
@pytest.mark.parametrize(("version", "closes"), [("1.1", True), ("2", False)])
async def test_one_that_is_said_to_be_longer_is_refused_unread(
    length: bytes, version: str, closes: bool
) -> None:
    """HTTP/2 has no `Connection` header (RFC 9113, section 8.2.2)."""
    exchange = Exchange(b"12345678901", length=length, version=version)
    await exchange.ask()
    assert exchange.seen == []
    assert exchange.status == 413
    assert exchange.sent[1]["body"] == b"The body must not have more than 10 bytes.\n"
    assert ((b"connection", b"close") in exchange.sent[0]["headers"]) == closes


@pytest.mark.parametrize("length", [None, b"5"])
async def test_one_that_turns_out_to_be_longer_is_refused(length: bytes | None) -> None:
    """The application hears that its client has left, and its answer is nobody's."""
    exchange = Exchange(b"12345", b"678901", b"2", length=length)
    await exchange.ask()
    assert exchange.seen == [b"12345", "http.disconnect"]
    assert exchange.status == 413
    assert len(exchange.sent) == 2


async def test_a_response_that_has_begun_is_cut_off() -> None:
    exchange = Exchange(b"12345", b"678901", b"2")

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await exchange.application(scope, receive, send)
        exchange.seen.append((await receive())["type"])

    await exchange.ask(application)
    assert exchange.seen == [b"12345", "http.disconnect", "http.disconnect"]
    assert [message["type"] for message in exchange.sent] == ["http.response.start"]


async def test_what_is_no_http_is_left_alone() -> None:
    seen = []

    async def application(*what: Any) -> None:
        seen.append(what)

    await BodyLimit(application, 10)({"type": "websocket"}, "receive", "send")
    assert seen == [({"type": "websocket"}, "receive", "send")]
