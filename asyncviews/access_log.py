"""The access log of `manage.py serve`: a line for each request, in a format that one can choose.

The atoms of a format are Hypercorn's, which are those of gunicorn. What clients send cannot break a
line, forge one, or leave its quotes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import hypercorn.config
from hypercorn.logging import AccessLogAtoms, Logger

from asyncviews.text import quotable

JSON = "json"
# Without query strings, which may hold secrets
COMMON = '%(h)s %(l)s %(l)s %(t)s "%(m)s %(U)s HTTP/%(H)s" %(s)s %(b)s'
COMBINED = COMMON + ' "%(f)s" "%(a)s"'
FORMATS = {"combined": COMBINED, "common": COMMON, JSON: JSON}

_CONVERSION = re.compile(
    r"%(?:%|\((?P<atom>[^()]*)\)[-#0 +]*[0-9]*(?:\.[0-9]+)?[diouxXeEfFgGcrsa])"
)
_OPEN_ATOM = re.compile(r"\{[^{}]+\}[ieo]")
_EXAMPLE: dict[str, Any] = {
    "type": "http",
    "http_version": "1.1",
    "scheme": "http",
    "method": "GET",
    "path": "/",
    "query_string": b"",
    "headers": [],
    "client": ("192.0.2.1", 0),
}


def parse_format(text: str) -> str:
    """Return the format that a name of `FORMATS`, or a format itself, stands for.

    Raises:
        ValueError: it is neither, as the message says.
    """
    if text in FORMATS:
        return FORMATS[text]
    found = [match["atom"] for match in _CONVERSION.finditer(text)]
    if "%" in _CONVERSION.sub("", text) or not any(found):
        raise ValueError(
            f"{text!r} is none of {', '.join(FORMATS)}, and no format with atoms such as %(h)s."
        )
    atoms = AccessLogAtoms(_EXAMPLE, {"status": 200, "headers": []}, 0.1)  # type: ignore[arg-type]
    known = [atom for atom in atoms if not atom.startswith("{")]
    for atom in found:
        if atom is not None and atom not in known and not _OPEN_ATOM.fullmatch(atom):
            raise ValueError(
                f"%({atom})s is no atom; there are {' '.join(known)}, and {{name}}i, {{name}}o and "
                "{name}e for headers of the request, of the response, and the environment."
            )
    try:
        text % atoms
    except (TypeError, ValueError) as exc:
        raise ValueError(f"{text!r} is no format: {exc}.") from exc
    return text


class AccessLogger(Logger):
    """Hypercorn's logger, whose lines no request can break or forge."""

    def __init__(self, config: hypercorn.config.Config) -> None:
        super().__init__(config)
        for handler in self.access_logger.handlers if self.access_logger else ():
            handler.setFormatter(None)  # the format has a time of its own

    async def access(self, request: Any, response: Any, request_time: float) -> None:
        if self.access_logger is None:
            return
        if self.access_log_format == JSON:
            self.access_logger.info("%s", _as_json(request, response, request_time))
        else:
            await super().access(request, response, request_time)

    def atoms(self, request: Any, response: Any, request_time: float) -> Mapping[str, str]:
        # Hypercorn decodes it, which raises for what a client of HTTP/2 may send.
        query = request["query_string"].decode("ascii", "backslashreplace")
        request = {**request, "query_string": query.encode()}
        atoms = AccessLogAtoms(request, response, request_time)
        atoms["h"] = _client(request) or "-"
        return _Quotable(atoms)


def _client(request: Mapping[str, Any]) -> str | None:
    """Return the address of who has sent a request; over a Unix socket there may be none."""
    return (request.get("client") or [""])[0] or None


def _as_json(request: Mapping[str, Any], response: Any, request_time: float) -> str:
    """Return a request as an object of JSON in ASCII, in which nothing is left that breaks lines."""
    asked = dict(request["headers"])
    headers = response.get("headers", ()) if response else ()  # which an application may leave out
    length = {name.lower(): value for name, value in headers}.get(b"content-length")
    entry = {
        "time": datetime.now().astimezone().isoformat(timespec="milliseconds"),
        "client": _client(request),
        "method": request.get("method", "GET"),
        "scheme": request["scheme"],
        "host": _text(asked.get(b"host")),
        "path": request["path"],
        "protocol": f"HTTP/{request.get('http_version', '1.1')}",
        "status": response["status"] if response else None,
        "bytes": int(length) if length and length.isdigit() else None,
        "seconds": round(request_time, 6),
        "referer": _text(asked.get(b"referer")),
        "user_agent": _text(asked.get(b"user-agent")),
    }
    return json.dumps(entry)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


class _Quotable(Mapping[str, Any]):
    """A mapping whose strings cannot leave the quotes that a format has around them."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        return quotable(value) if isinstance(value, str) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
