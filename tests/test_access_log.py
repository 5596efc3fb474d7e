"""Lines of the access log, in each format."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

import pytest

from asyncviews import server
from asyncviews.access_log import AccessLogger, parse_format
from tests.conftest import http_scope

TIME = r"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"
RESPONSE = {"status": 200, "headers": [(b"Content-Length", b"12")]}


async def line(
    capsys: pytest.CaptureFixture[str], name: str, response: Any = RESPONSE, **changes: Any
) -> str:
    """Return what is written for a request."""
    config = server.configure([], certfile=None, keyfile=None)
    config.accesslog, config.access_log_format = "-", parse_format(name)
    scope = {**http_scope("/a", query="secret=1"), **changes}
    await AccessLogger(config).access(scope, response, 0.25)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("client", "host"), [(None, "-"), (("127.0.0.1", 50000), "127.0.0.1"), (("",), "-")]
)
async def test_the_combined_format(
    client: tuple[Any, ...] | None, host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With one time, and without a port; over a Unix socket there may be no client."""
    expected = rf'{host} - - {TIME} "GET /a HTTP/1\.1" 200 12 "-" "-"\n'
    assert re.fullmatch(expected, await line(capsys, "combined", client=client))


async def test_the_common_format(capsys: pytest.CaptureFixture[str]) -> None:
    expected = rf'127\.0\.0\.1 - - {TIME} "GET /a HTTP/1\.1" 200 12\n'
    assert re.fullmatch(expected, await line(capsys, "common"))


async def test_a_format_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    headers = [(b"x-request-id", b'a"b\x1b'), (b"host", b"here")]
    text = '%(h)s "%({X-Request-ID}i)s" %({content-length}o)s %(s)4s %(D)d 100%% %({nothing}i)s'
    written = await line(capsys, text, headers=headers)
    assert written == '127.0.0.1 "a\\"b\\x1b" 12  200 250000 100% -\n'


async def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    headers = [(b"host", b"here"), (b"user-agent", b'\x1b[31m"'), (b"referer", b"http://there/")]
    written = await line(capsys, "json", headers=headers, path="/a\r\n\u2028")
    entry = json.loads(written)
    assert datetime.fromisoformat(entry.pop("time")).tzinfo
    assert entry == {
        "client": "127.0.0.1",
        "method": "GET",
        "scheme": "http",
        "host": "here",
        "path": "/a\r\n\u2028",
        "protocol": "HTTP/1.1",
        "status": 200,
        "bytes": 12,
        "seconds": 0.25,
        "referer": "http://there/",
        "user_agent": '\x1b[31m"',
    }
    assert written.isascii()
    assert written[:-1].isprintable()


@pytest.mark.parametrize("name", ["combined", "common", "json"])
async def test_a_request_without_a_response(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its client has left, or it is a handshake of a WebSocket, over a Unix socket."""
    handshake = {**http_scope("/chat"), "type": "websocket", "scheme": "ws", "client": None}
    del handshake["method"]
    for response in (None, {"status": 101}):  # whose headers are optional
        written = await line(capsys, name, response, **handshake)
        assert "/chat" in written
        if name == "json":
            entry = json.loads(written)
            assert (entry["client"], entry["bytes"]) == (None, None)
            assert entry["status"] == (101 if response else None)


@pytest.mark.parametrize("name", ["combined", "json", "%(q)s %(R)s"])
async def test_a_query_that_is_not_ascii_is_logged(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Clients of HTTP/2 can send that; Hypercorn would end their connection."""
    written = await line(capsys, name, query_string=b"a=\xff\n")
    assert len(written.splitlines()) == 1


@pytest.mark.parametrize("length", [b"x", b"\xb2", b""])
async def test_a_wrong_length_of_the_application_is_logged(
    length: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    response = {"status": 200, "headers": [(b"content-length", length)]}
    assert json.loads(await line(capsys, "json", response))["bytes"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is none of combined, common, json, and no format"),
        ("clf", "'clf' is none of combined"),
        ("%s", "'%s' is none of"),
        ("%(h)", r"'%\(h\)' is none of"),
        ("100% %(h)s", "is none of"),
        ("%%", "is none of"),
        ("%(host)s", r"%\(host\)s is no atom; there are h l t r R s"),
        ("%({Host})s", "is no atom"),
        ("%()s", "is none of"),
        ("%(h)d", "is no format: %d format"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_format(text)
