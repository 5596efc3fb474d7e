"""Resources open with the lifespan, close in reverse, and say where they are missing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from asyncviews import ResourceNotOpen, http_client, resource
from asyncviews.asgi import StartupFailed, lifespan

events: list[str] = []


@resource
async def smoker():
    """The smoker."""
    events.append("smoker lit")
    try:
        yield "smoker"
    finally:
        events.append("smoker out")


@resource
async def thermometer():
    events.append(f"thermometer in {smoker()}")
    yield 95
    events.append(f"thermometer out of {smoker()}")


@resource
async def broken():
    raise OSError("no wood")
    yield


not_a_resource = object()


def declared(*names: str):
    return override_settings(ASYNCVIEWS={"RESOURCES": [f"{__name__}.{name}" for name in names]})


@pytest.fixture(autouse=True)
def _no_events():
    events.clear()


@declared("smoker", "thermometer")
async def test_they_open_in_order_and_close_in_reverse():
    async with lifespan():
        assert smoker() == "smoker"
        assert thermometer() == 95
    assert events == [
        "smoker lit",
        "thermometer in smoker",
        "thermometer out of smoker",
        "smoker out",
    ]


@declared("smoker", "broken", "thermometer")
async def test_a_failing_one_is_named_and_those_before_it_are_closed():
    with pytest.raises(StartupFailed, match=rf"{__name__}\.broken .*OSError\('no wood'\)"):
        async with lifespan():
            pytest.fail("it must not start")
    assert events == ["smoker lit", "smoker out"]


def test_outside_a_lifespan_the_error_says_what_to_do():
    with pytest.raises(ResourceNotOpen) as caught:
        smoker()
    assert f"{__name__}.smoker is not open" in str(caught.value)
    assert 'ASYNCVIEWS["RESOURCES"]' in str(caught.value)


async def test_a_test_or_a_command_may_open_one_itself():
    async with smoker.open() as opened:
        assert smoker() == opened == "smoker"
    with pytest.raises(ResourceNotOpen):
        smoker()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", 'does not define a "missing"'),
        ("not_a_resource", "is not a resource but <object"),
    ],
)
async def test_a_wrong_path_is_named(name, message):
    with declared(name), pytest.raises(StartupFailed, match=message) as caught:
        async with lifespan():
            pytest.fail("it must not start")
    assert isinstance(caught.value.__cause__, ImproperlyConfigured)


def test_what_is_no_async_generator_function_is_refused():
    async def returns():
        return 95

    def yields():
        yield 95

    @asynccontextmanager
    async def manages():
        yield 95

    for function in (returns, yields, manages, lambda: 95, 95):
        name = getattr(function, "__qualname__", "95")
        expected = (
            rf"@resource of {re.escape(name)}: that is not an async generator function\. Make"
        )
        with pytest.raises(ImproperlyConfigured, match=expected):
            resource(function)


@resource
async def yields_twice():
    try:
        yield 1
        yield 2
    finally:
        events.append("closed")


@resource
async def yields_never():
    if events:
        yield 1


@resource
async def keeps_on():
    while True:
        try:
            yield 1
        except OSError:
            events.append("kept on")


@resource
async def forgives():
    try:
        yield 1
    except OSError:
        events.append("forgiven")


async def test_one_that_yields_twice_is_named_and_closed():
    with pytest.raises(
        ImproperlyConfigured, match=rf"^{__name__}\.yields_twice\(\) came to a second"
    ):
        async with yields_twice.open() as value:
            assert value == 1
    assert events == ["closed"]


async def test_one_that_goes_on_after_a_failure_is_named_with_the_failure():
    with pytest.raises(ImproperlyConfigured, match=r"keeps_on\(\) came to a second") as caught:
        async with keeps_on.open():
            raise OSError("no wood")
    assert isinstance(caught.value.__cause__, OSError)


async def test_a_failure_passes_through_unless_it_is_handled():
    async with forgives.open():
        raise OSError("no wood")
    assert events == ["forgiven"]
    with pytest.raises(ZeroDivisionError):
        async with smoker.open():
            raise ZeroDivisionError
    assert events == ["forgiven", "smoker lit", "smoker out"]


@declared("yields_never")
async def test_one_that_never_yields_is_named():
    with pytest.raises(
        StartupFailed, match=r"yields_never\(\) ended without a `yield`\. A resource"
    ):
        async with lifespan():
            pytest.fail("it must not start")


async def test_a_shared_http_client_is_open_by_default(app_lifespan):
    assert isinstance(http_client(), httpx.AsyncClient)
    assert http_client() is http_client()


def test_a_resource_keeps_its_name_and_doc():
    assert smoker.__doc__ == "The smoker."
    assert repr(smoker) == f"<Resource {__name__}.smoker>"


@pytest.fixture
async def upstream() -> AsyncIterator[str]:
    """The URL of a server that tells what it was sent, and sets a cookie; ``/away`` redirects."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                status = b"302 Found" if request.startswith(b"GET /away ") else b"200 OK"
                writer.write(
                    b"HTTP/1.1 %b\r\nLocation: /there\r\nSet-Cookie: session=secret; Path=/\r\n"
                    b"Content-Length: %d\r\n\r\n%b" % (status, len(request), request)
                )
        except asyncio.IncompleteReadError:  # the client has closed the connection
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    yield f"http://{host}:{port}"
    server.close()


async def test_the_shared_client_keeps_no_cookies(upstream):
    async with http_client.open() as client:
        first = await client.get(upstream)
        assert first.cookies == {"session": "secret"}  # whoever asked may read them
        second = await client.get(upstream)
    assert "secret" not in second.text
    assert not client.cookies


async def test_nor_between_the_steps_of_a_redirect(upstream):
    async with http_client.open() as client:
        response = await client.get(f"{upstream}/away", follow_redirects=True)
    assert response.url.path == "/there"
    assert "secret" not in response.text


async def test_cookies_and_credentials_of_one_request_are_sent_with_that_one_only(upstream):
    async with http_client.open() as client:
        first = await client.get(
            upstream, headers={"Cookie": "mine=1"}, auth=("ann", "password"), params={"q": "mine"}
        )
        second = await client.get(upstream)
    assert "mine=1" in first.text
    assert "authorization: basic" in first.text.lower()
    assert "mine" not in second.text
    assert "authorization" not in second.text.lower()


@pytest.mark.filterwarnings("ignore:Setting per-request cookies:DeprecationWarning")
async def test_so_are_those_that_httpx_is_given_in_its_old_way(upstream):
    async with http_client.open() as client:
        first = await client.get(upstream, cookies={"mine": "1"})
        second = await client.get(upstream)
    assert "mine=1" in first.text
    assert "mine" not in second.text


async def test_the_shared_client_takes_no_credentials_from_a_netrc(upstream, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ann password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with http_client.open() as client:
        response = await client.get(upstream)
    assert "authorization" not in response.text.lower()
