"""Which request the running code works for, as log lines name it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from asyncviews.text import printable

_request: ContextVar[tuple[str, str] | None] = ContextVar("asyncviews_origin", default=None)


@contextmanager
def of(scope: Mapping[str, Any]) -> Iterator[None]:
    """Let a block work for the request of an ASGI scope."""
    token = _request.set((scope.get("method", ""), scope.get("path", "")))
    try:
        yield
    finally:
        _request.reset(token)


def current() -> str | None:
    """Return method and path of the request, if there is one."""
    request = _request.get()
    return printable(" ".join(request)) if request else None
