"""The benchmarks measure what they say, and tell when it cannot be measured."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf, nan

import psycopg
import pytest

from tests.benchmarks import concurrency, database, hops, rates, served
from tests.benchmarks.aims import Aim
from tests.conftest import missing

REQUEST = served.request_to("/")


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[tuple[int, list[int]]]:
    """Serve connections of one request each; yield the port, and the number of connections."""
    connections = [0]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections[0] += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers[min(connections[0], len(answers)) - 1])
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], connections


def response(body: bytes, status: int = 200, length: int | None = None) -> bytes:
    length = len(body) if length is None else length
    head = b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, length)
    return head + body


async def test_a_client_connects_again_when_the_server_closes() -> None:
    async with answering(response(b"right")) as (port, connections):
        answers, _ = await served.load(port, REQUEST, clients=2, seconds=0.2, answer=b"right")
    assert answers > 2
    assert connections[0] >= answers


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(response(b"wrong"), id="another body"),
        pytest.param(response(b"right", 500), id="an error"),
        pytest.param(response(b"right", length=9), id="half an answer"),
    ],
)
async def test_what_is_answered_wrong_is_not_measured(wrong: bytes) -> None:
    async with answering(response(b"right"), wrong) as (port, _):
        with pytest.raises(RuntimeError):
            await served.load(port, REQUEST, clients=1, seconds=5, answer=b"right")


@pytest.mark.parametrize(
    ("aim", "begins"),
    [
        (Aim("some", "ours", "theirs", at_most=2.0), "met"),
        (Aim("some", "ours", "theirs", at_most=1.9), "NOT met"),
        (Aim("some", "ours", "theirs", at_least=2.0), "met"),
        (Aim("some", "ours", "theirs", at_least=2.1), "NOT met"),
        (Aim("some", "ours", None, at_most=4.0), "met"),
        (Aim("some", "failed", "theirs", at_most=2.0), "NOT met"),
        (Aim("some", "failed", "theirs", at_least=2.0), "NOT met"),
    ],
)
def test_aim(aim: Aim, begins: str) -> None:
    found = {"ours": 4.0, "theirs": 2.0, "failed": nan}
    assert str(aim.verdict({"some": found})).strip().startswith(begins)


def test_an_aim_of_what_was_not_measured_has_no_verdict() -> None:
    assert Aim("some", "ours", None, at_most=1.0).verdict({}) is None
    assert Aim("some", "ours", "theirs", at_most=1.0).verdict({"some": {"ours": 1.0}}) is None


async def test_hops(monkeypatch: pytest.MonkeyPatch) -> None:
    called = 0

    async def hop() -> None:
        nonlocal called
        called += 1

    monkeypatch.setattr(hops, "hop", hop)
    monkeypatch.setattr(hops, "TIMES", 2)
    found = await hops.times(1)
    assert called == 2 * 2 * sum(hops.COUNTS)
    assert set(found) == {
        f"{way}, {which}"
        for way in ("bare", "asyncviews")
        for which in ("the first", "each further")
    }


async def test_requests_that_fail_are_not_concurrent(monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = iter([200, 200, 503])

    async def request(app: object, path: str) -> tuple[int, bytes]:
        return next(statuses), b""

    monkeypatch.setattr(concurrency, "request", request)
    case = concurrency.CASES[concurrency.NOTHING]
    assert await concurrency.seconds("asyncviews", 2, case) == inf


@pytest.mark.live
@pytest.mark.parametrize("name", ["gunicorn sync", "ours, uvicorn"])
def test_a_contender_is_measured(name: str) -> None:
    contender = rates.CONTENDERS[name]
    pytest.importorskip(contender.command[0], reason="needs the bench extra")
    try:
        psycopg.connect(**database.SERVER, dbname="postgres", connect_timeout=3).close()
    except psycopg.OperationalError as exc:
        missing(f"no PostgreSQL at 127.0.0.1:5432: {exc}")
    with rates.site() as environment:
        found = rates.measure(name, environment, seconds=0.1)
    assert all(found[row] > 0 for row in rates.ROWS)
    assert all(f"{row}, {rates.PROCESSOR}" in found for row in rates.ROWS)
