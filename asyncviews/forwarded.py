"""What trusted proxies say of a request that they have passed on: who sent it, how, and to which host.

Every client can send such headers. So they count only if the peer is a proxy that was named, and of
a list only its right end, which such proxies have added. What cannot be read is ignored.

`Forwarded` is of RFC 7239; the headers before it, ``X-Forwarded-*``, are in no standard. Hypercorn's
`ProxyFixMiddleware` believes every peer and counts hops; uvicorn's `ProxyHeadersMiddleware` knows no
Unix sockets, no hosts and no RFC 7239.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Self

Scope = MutableMapping[str, Any]
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNIX = "unix"
"""The name, among trusted proxies, of those that connect to a Unix socket."""

STANDARD = "forwarded"
HEADERS = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port")
DEFAULT_HEADERS = "x-forwarded-for,x-forwarded-proto"
"""What most proxies replace. Few replace the others, which then are still those of the client."""

MOST_HOPS = 20
"""Entries of a list that are looked at; more proxies in a row are none of this world."""

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_WEBSOCKET = {"http": "ws", "https": "wss"}
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

# Names and addresses as Django's `host_validation_re` has them.
_HOST = re.compile(r"([a-z0-9.-]+|\[[a-f0-9]*:[a-f0-9.:]+\])(?::([0-9]{1,5}))?", re.IGNORECASE)
# RFC 7239, section 6, where a port may have a name; and IPv6 as the older headers write it.
_PORT = r"(?::(?:(?P<port>[0-9]{1,5})|_[A-Za-z0-9._-]+))?"
_NODE = re.compile(
    rf"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<v4>[0-9.]+)){_PORT}|(?P<bare>[0-9A-Fa-f:.]+)"
)
# RFC 7239, section 4, with two liberties: colons and brackets need no quotes. Commas and semicolons
# are not understood in quotes, which no parameter of the RFC needs; so a quote that a client has left
# open spoils what the client has sent, and not what the proxy adds to it.
_PAIR = re.compile(
    r"(?P<name>[\w!#$%&'*+.^`|~-]+)="
    r'(?:(?P<token>[\w!#$%&\'*+.^`|~:\[\]-]+)|"(?P<quoted>(?:[^"\\]|\\.)*)")',
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Said:
    """What the headers say; None where they say nothing, or nothing that can be read."""

    client: tuple[str, int] | None = None
    scheme: str | None = None
    host: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """Whose headers are believed, and which of them: `HEADERS`, or `STANDARD` alone."""

    networks: tuple[Network, ...]
    unix: bool
    headers: frozenset[bytes]

    @classmethod
    def parse(cls, proxies: Sequence[str], headers: str = DEFAULT_HEADERS) -> Self:
        """Return those that these words name: addresses, networks or `UNIX`; and headers, with commas.

        Raises:
            ValueError: one of the words is none of these, as the message says.
        """
        names = {name.strip().lower() for name in headers.split(",")}
        if unknown := names - {*HEADERS, STANDARD}:
            known = ", ".join([*HEADERS, STANDARD])
            raise ValueError(f"{min(unknown)!r} is no header of proxies; there are {known}.")
        if STANDARD in names and len(names) > 1:
            raise ValueError(
                f"believe {STANDARD!r} or the x-forwarded headers: a proxy that sets the ones lets "
                "the others of a client through."
            )
        networks = tuple(_network(proxy) for proxy in proxies if proxy != UNIX)
        return cls(networks, UNIX in proxies, frozenset(name.encode() for name in names))

    def believe(self, scope: Scope) -> None:
        """Give a scope of ``http`` or ``websocket`` the values that a trusted peer has sent for it.

        That changes `client`, `scheme` and `server`, and the header `host`.
        """
        if not self._trusts_peer(scope.get("client")):
            return
        values: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            if name in self.headers:
                values.setdefault(name, []).append(value.decode("latin-1"))
        if values:
            _change(scope, self._read(values))

    def _trusts_peer(self, peer: Sequence[Any] | None) -> bool:
        if not peer:
            return self.unix
        with suppress(ValueError):
            return self._trusts(_plain(ip_address(peer[0])))
        return False

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self.networks)

    def _read(self, values: Mapping[bytes, Sequence[str]]) -> Said:
        if lines := values.get(STANDARD.encode()):
            client, element = self._walk(map(_element, _from_the_right(lines)))
            return Said(client, _scheme(element.get("proto")), _host(element.get("host")))
        forwarded_for, proto, host, port = (values.get(name.encode(), ()) for name in HEADERS)
        client, _ = self._walk({"for": entry} for entry in _from_the_right(forwarded_for))
        return Said(client, _scheme(_last(proto)), _host(_last(host)), _port(_last(port)))

    def _walk(
        self, elements: Iterator[Mapping[str, str] | None]
    ) -> tuple[tuple[str, int] | None, Mapping[str, str]]:
        """Return the nearest client that is not trusted, and the element that names it.

        `elements` come from the nearest on. Who cannot be read, or does not want to be known, is
        somebody behind the last one that can; with trusted ones only it is the farthest.
        """
        client: tuple[str, int] | None = None
        last: Mapping[str, str] = {}
        for element in elements:
            if element is None:
                break
            last = element
            node = _node(element.get("for", ""))
            if node is None:
                break
            client = (str(node[0]), node[1])
            if not self._trusts(node[0]):
                break
        return client, last


class BehindProxies:
    """An ASGI application with what its trusted proxies say in its scopes.

    They are changed, not copied: the server's access log is to have the client, too.
    """

    def __init__(
        self, application: Callable[..., Awaitable[None]], proxies: TrustedProxies
    ) -> None:
        self._application = application
        self._proxies = proxies

    def __call__(self, scope: Scope, receive: Any, send: Any) -> Awaitable[None]:
        if scope["type"] in {"http", "websocket"}:
            self._proxies.believe(scope)
        return self._application(scope, receive, send)


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as exc:
        reason = "its address has more bits than the network" if "host bits" in str(exc) else ""
        raise ValueError(
            f"{text!r} is no IP address or network such as 10.0.0.0/8, and not {UNIX!r}"
            + (f": {reason}." if reason else ".")
        ) from exc


def _plain(address: Address) -> Address:
    """Return an IPv4 address for one that is written as IPv6, as sockets for both have them."""
    return getattr(address, "ipv4_mapped", None) or address


def _from_the_right(lines: Sequence[str]) -> Iterator[str]:
    """Return the entries of a list, the last first, without empty ones (RFC 9110, section 5.6.1.2)."""
    entries = ",".join(lines).rsplit(",", MOST_HOPS)[-MOST_HOPS:]
    stripped = (entry.strip(" \t") for entry in reversed(entries))
    return (entry for entry in stripped if entry)


def _last(lines: Sequence[str]) -> str | None:
    return next(_from_the_right(lines), None)


def _element(text: str) -> Mapping[str, str] | None:
    """Return the parameters of a `forwarded-element`, or None if it is none."""
    pairs: dict[str, str] = {}
    for part in text.split(";"):
        if not (part := part.strip(" \t")):
            continue
        match = _PAIR.fullmatch(part)
        if match is None or (name := match["name"].lower()) in pairs:
            return None
        quoted = match["quoted"]
        pairs[name] = match["token"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
    return pairs


def _node(text: str) -> tuple[Address, int] | None:
    """Return an address and its port, 0 if there is none; None for ``unknown`` and the like."""
    match = _NODE.fullmatch(text)
    port = _port(match["port"] or "0") if match else None
    if match is None or port is None:
        return None
    try:
        return _plain(ip_address(match["v6"] or match["v4"] or match["bare"])), port
    except ValueError:
        return None


def _port(text: str | None) -> int | None:
    if text and re.fullmatch("[0-9]{1,5}", text) and int(text) <= 65535:
        return int(text)
    return None


def _scheme(text: str | None) -> str | None:
    return _SCHEMES.get(text.lower()) if text else None


def _host(text: str | None) -> str | None:
    return text if text and _split(text) else None


def _split(host: str) -> tuple[str, int | None] | None:
    match = _HOST.fullmatch(host)
    if match is None or (match[2] and _port(match[2]) is None):
        return None
    return match[1], _port(match[2])


def _change(scope: Scope, said: Said) -> None:
    if said.client:
        scope["client"] = said.client
    if said.scheme:
        websocket = scope["type"] == "websocket"
        scope["scheme"] = _WEBSOCKET[said.scheme] if websocket else said.scheme
    if said.scheme or said.host or said.port:
        _change_server(scope, said)


def _change_server(scope: Scope, said: Said) -> None:
    """Have the header `host` and `server` say where the client has sent its request.

    Without the default port in `host`: a browser leaves it out, and compares.
    """
    host = said.host or dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    parts = _split(host)
    if parts is None:
        return
    name, port = parts
    default = _PORTS.get(scope["scheme"])
    if said.port:
        port = said.port
    if said.host or said.port:
        new = name if port in {None, default} else f"{name}:{port}"
        others = [header for header in scope["headers"] if header[0] != b"host"]
        scope["headers"] = [(b"host", new.encode()), *others]
    scope["server"] = (name, port or default)
