"""What is believed of proxies, and what is not."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncviews.forwarded import STANDARD, UNIX, BehindProxies, TrustedProxies
from tests.conftest import http_scope

ALL = "x-forwarded-for,x-forwarded-proto,x-forwarded-host,x-forwarded-port"
PROXY = ("10.0.0.1", 40000)
PROXIES = ["10.0.0.0/8", "2001:db8:ffff::/48", UNIX]


def scope_from(
    *headers: tuple[str, str], client: tuple[str, int] | None = PROXY, kind: str = "http"
) -> dict[str, Any]:
    sent = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    scope = http_scope("/")
    scheme = "http" if kind == "http" else "ws"
    scope |= {"type": kind, "scheme": scheme, "client": client, "server": ("10.0.0.9", 8000)}
    return scope | {"headers": [(b"host", b"site.example"), *sent]}


def believed(
    *headers: tuple[str, str], names: str = ALL, proxies: list[str] = PROXIES, **how: Any
) -> dict[str, Any]:
    scope = scope_from(*headers, **how)
    TrustedProxies.parse(proxies, names).believe(scope)
    return scope


def client_of(value: str, name: str = "x-forwarded-for", **how: Any) -> Any:
    names = STANDARD if name == STANDARD else ALL
    return believed((name, value), names=names, **how)["client"]


@pytest.mark.parametrize("client", [("192.0.2.9", 1), ("2001:db8::9", 1), ("", 0), ("nonsense", 1)])
@pytest.mark.parametrize("names", [ALL, STANDARD])
def test_a_stranger_is_not_believed(client: tuple[str, int], names: str) -> None:
    headers = [
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-port", "1"),
        ("forwarded", "for=1.2.3.4;proto=https;host=evil.example"),
    ]
    assert believed(*headers, names=names, client=client) == scope_from(*headers, client=client)


@pytest.mark.parametrize(
    ("client", "proxies", "trusted"),
    [
        (PROXY, ["10.0.0.1"], True),
        (PROXY, ["10.0.0.2"], False),
        (PROXY, ["10.0.0.0/30", "192.0.2.0/24"], True),
        (PROXY, [UNIX], False),
        (None, [UNIX], True),
        (None, ["0.0.0.0/0", "::/0"], False),
        (("::ffff:10.0.0.1", 1), ["10.0.0.0/8"], True),  # on a socket for IPv4 and IPv6
        (("2001:db8::1", 1), ["2001:db8::/32"], True),
        (("fe80::1%eth0", 1), ["fe80::/10"], True),
    ],
)
def test_who_is_trusted(client: tuple[str, int] | None, proxies: list[str], trusted: bool) -> None:
    found = client_of("192.0.2.1", client=client, proxies=proxies)
    assert found == (("192.0.2.1", 0) if trusted else client)


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("192.0.2.1", ("192.0.2.1", 0)),
        ("192.0.2.1:4711", ("192.0.2.1", 4711)),
        ("2001:db8::1", ("2001:db8::1", 0)),
        ("[2001:DB8:0::1]", ("2001:db8::1", 0)),
        ("[2001:db8::1]:4711", ("2001:db8::1", 4711)),
        ("::ffff:192.0.2.1", ("192.0.2.1", 0)),
        ("6.6.6.6, 192.0.2.1", ("192.0.2.1", 0)),  # what the client has made up
        ("6.6.6.6, 192.0.2.1, 10.0.0.2,10.1.1.1 ", ("192.0.2.1", 0)),
        ("10.0.0.3, 10.0.0.2", ("10.0.0.3", 0)),  # a client among the proxies
        ("nonsense, 192.0.2.1", ("192.0.2.1", 0)),
        (" , 192.0.2.1, ,", ("192.0.2.1", 0)),
        # Who cannot be read is somebody behind the last that can.
        ("6.6.6.6, nonsense, 10.0.0.2", ("10.0.0.2", 0)),
        ("6.6.6.6, unknown", PROXY),
        ("192.0.2.1:99999", PROXY),
        ("192.0.2.256", PROXY),
        ("192.0.2.1:", PROXY),
        ("fe80::1%<b>", PROXY),
        ("[::1", PROXY),
        ("192.0.2.1\xa0", PROXY),
        ("\xb2.0.2.1", PROXY),
        ("", PROXY),
        (", ,", PROXY),
    ],
)
def test_x_forwarded_for(value: str, client: tuple[str, int]) -> None:
    assert client_of(value) == client


def test_several_lines_are_one_list() -> None:
    """RFC 9110, section 5.3."""
    lines = [("x-forwarded-for", "6.6.6.6, 192.0.2.1"), ("x-forwarded-for", "10.0.0.2")]
    assert believed(*lines)["client"] == ("192.0.2.1", 0)


@pytest.mark.parametrize(
    ("value", "client", "scheme", "host"),
    [
        # The examples of RFC 7239, sections 4 and 7.1
        ('For="[2001:db8:cafe::17]:4711"', ("2001:db8:cafe::17", 4711), "http", "site.example"),
        ("for=192.0.2.60;proto=https;by=10.0.0.1", ("192.0.2.60", 0), "https", "site.example"),
        ("for=192.0.2.43, for=10.0.0.17", ("192.0.2.43", 0), "http", "site.example"),
        (
            "for=192.0.2.43, for=10.0.0.60;proto=http;by=10.0.0.61;host=example.com",
            ("192.0.2.43", 0),
            "http",
            "site.example",
        ),
        ("for=_gazonk", PROXY, "http", "site.example"),
        ('for=unknown;proto=https;host="a.example:8443"', PROXY, "https", "a.example:8443"),
        ('for="192.0.2.1:_port"', ("192.0.2.1", 0), "http", "site.example"),
        # What a client has made up, before what the proxies add
        ("for=6.6.6.6;host=evil.example, for=192.0.2.1", ("192.0.2.1", 0), "http", "site.example"),
        ('for="6.6.6.6, for=192.0.2.1;proto=https', ("192.0.2.1", 0), "https", "site.example"),
        ('x="\\, for="[2001:db8::1]"', ("2001:db8::1", 0), "http", "site.example"),
        # Each parameter once (section 4), and no others that can be mistaken
        ("for=192.0.2.1;for=192.0.2.2", PROXY, "http", "site.example"),
        ("for=192.0.2.1;proto=javascript;host=a:b", ("192.0.2.1", 0), "http", "site.example"),
        ("for= 192.0.2.1", PROXY, "http", "site.example"),
        ("nonsense", PROXY, "http", "site.example"),
        # Two liberties
        ("for=192.0.2.1:4711;host=a.example:81", ("192.0.2.1", 4711), "http", "a.example:81"),
        ('for="192.0.2.1" ; proto=HTTPS;', ("192.0.2.1", 0), "https", "site.example"),
        ('for="\\1\\9\\2.0.2.1"', ("192.0.2.1", 0), "http", "site.example"),
    ],
)
def test_forwarded(value: str, client: tuple[str, int], scheme: str, host: str) -> None:
    scope = believed((STANDARD, value), names=STANDARD)
    assert (scope["client"], scope["scheme"]) == (client, scheme)
    assert dict(scope["headers"])[b"host"] == host.encode()


@pytest.mark.parametrize(
    ("headers", "scheme"),
    [
        (["https"], "https"),
        (["HTTPS"], "https"),
        (["wss"], "https"),
        (["https, http"], "http"),  # what the nearest proxy says
        (["https", "http"], "http"),
        (["javascript"], "http"),
        ([""], "http"),
    ],
)
def test_x_forwarded_proto(headers: list[str], scheme: str) -> None:
    lines = [("x-forwarded-proto", header) for header in headers]
    assert believed(*lines)["scheme"] == scheme


@pytest.mark.parametrize(("value", "scheme"), [("https", "wss"), ("wss", "wss"), ("http", "ws")])
def test_the_scheme_of_a_websocket(value: str, scheme: str) -> None:
    assert believed(("x-forwarded-proto", value), kind="websocket")["scheme"] == scheme


@pytest.mark.parametrize(
    ("proto", "host", "port", "expected", "server"),
    [
        ("", "", "", b"site.example", ("10.0.0.9", 8000)),
        ("https", "", "", b"site.example", ("site.example", 443)),
        ("http", "", "", b"site.example", ("site.example", 80)),
        ("https", "www.example", "", b"www.example", ("www.example", 443)),
        ("https", "www.example:8443", "", b"www.example:8443", ("www.example", 8443)),
        ("https", "evil.example, www.example", "", b"www.example", ("www.example", 443)),
        ("https", "", "443", b"site.example", ("site.example", 443)),
        ("https", "", "8443", b"site.example:8443", ("site.example", 8443)),
        ("https", "www.example:80", "8443", b"www.example:8443", ("www.example", 8443)),
        ("http", "[2001:db8::1]", "81", b"[2001:db8::1]:81", ("[2001:db8::1]", 81)),
        ("", "www.example/", "0", b"site.example", ("10.0.0.9", 8000)),
        ("", "www.example:99999", "99999", b"site.example", ("10.0.0.9", 8000)),
        ("", "user@www.example", "8 1", b"site.example", ("10.0.0.9", 8000)),
        ("", "www_1.example", "", b"site.example", ("10.0.0.9", 8000)),  # which Django refuses
    ],
)
def test_host_and_port(
    proto: str, host: str, port: str, expected: bytes, server: tuple[str, int]
) -> None:
    """A default port is left out, as a browser does in the `Origin` that Django compares."""
    given = {"x-forwarded-proto": proto, "x-forwarded-host": host, "x-forwarded-port": port}
    scope = believed(*((name, value) for name, value in given.items() if value))
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    assert (hosts, scope["server"]) == ([expected], server)


def test_a_request_without_a_host_keeps_its_server() -> None:
    scope = scope_from(("x-forwarded-proto", "https"), ("x-forwarded-port", "81"))
    scope["headers"] = scope["headers"][1:]
    TrustedProxies.parse(PROXIES, ALL).believe(scope)
    assert (scope["scheme"], scope["server"]) == ("https", ("10.0.0.9", 8000))


def test_what_is_not_named_is_not_believed() -> None:
    """By default nothing that nginx lets through."""
    headers = [
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-port", "1"),
        ("forwarded", "for=6.6.6.6;host=evil.example"),
    ]
    scope = scope_from(*headers)
    TrustedProxies.parse(PROXIES).believe(scope)
    assert scope == scope_from(*headers)


@pytest.mark.parametrize(
    ("proxies", "headers", "message"),
    [
        (["localhost"], ALL, "'localhost' is no IP address or network such as 10.0.0.0/8, and not"),
        (["10.0.0.1/8"], ALL, "'10.0.0.1/8' is .*: its address has more bits than the network"),
        ([""], ALL, "'' is no IP address"),
        (["10.0.0.1"], "x-real-ip", "'x-real-ip' is no header of proxies; there are x-forwarded-f"),
        (["10.0.0.1"], "", "'' is no header of proxies"),
        (["10.0.0.1"], "forwarded,x-forwarded-for", "believe 'forwarded' or the x-forwarded head"),
    ],
)
def test_mistakes(proxies: list[str], headers: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrustedProxies.parse(proxies, headers)


async def test_the_application_sees_it_and_the_lifespan_is_left_alone() -> None:
    seen = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(dict(scope))

    proxied = BehindProxies(application, TrustedProxies.parse(PROXIES))
    scope = scope_from(("x-forwarded-for", "192.0.2.1"))
    await proxied(scope, None, None)
    await proxied({"type": "lifespan"}, None, None)
    assert seen[0]["client"] == ("192.0.2.1", 0)
    assert scope["client"] == ("192.0.2.1", 0)  # for the access log
    assert seen[1] == {"type": "lifespan"}


@pytest.mark.parametrize("names", [ALL, STANDARD])
@given(value=st.text(st.sampled_from('for=pth;,"\\ \t[]:._-%1023456789abcdef/?#@')))
def test_any_value_gives_something_valid(names: str, value: str) -> None:
    headers = [(name, value) for name in names.split(",")]
    scope = believed(*headers, names=names)
    assert scope["scheme"] in {"http", "https"}
    assert isinstance(scope["client"][0], str)
    assert 0 <= scope["client"][1] <= 65535
    assert dict(scope["headers"])[b"host"].strip()


@pytest.mark.parametrize("entry", ["10.0.0.1,", 'for="\\,', "for=10.0.0.1;" * 8 + ",", ";" * 9])
def test_a_long_header_costs_little(entry: str) -> None:
    """As much as fits a head of HTTP/2: the event loop waits for it."""
    value = entry * (60_000 // len(entry))
    began = time.process_time()
    for name in (STANDARD, "x-forwarded-for"):
        client_of(value, name)
    assert time.process_time() - began < 0.1
