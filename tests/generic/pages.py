"""Pages, asked as browsers ask them: by Django's two test clients and by a server."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import User
from django.core.signals import got_request_exception
from django.db import connections
from django.test import AsyncClient, Client

from asyncviews.asgi import ASGIHandler
from asyncviews.handler import request_threads
from tests.conftest import http_scope
from tests.generic import twins
from tests.generic.models import Article, Author
from tests.generic.twins import Answer, Ask

TOKEN = "t" * 32
"""A token against CSRF, which a server wants to see."""

Send = Callable[[Ask], tuple[int, list[tuple[str, str]], SimpleCookie, bytes]]


def _by_client(client: Any, cookies: dict[str, str]) -> Send:
    client.cookies.load(cookies)

    def send(ask: Ask) -> Any:
        call = getattr(client, ask.method)
        call = async_to_sync(call) if isinstance(client, AsyncClient) else call
        response = call(ask.path, headers=_headers(ask), **_body(ask))
        return response.status_code, [*response.items()], response.cookies, response.content

    return send


def _by_server(cookies: dict[str, str]) -> Send:
    jar: SimpleCookie = SimpleCookie()
    jar.load(cookies)

    def send(ask: Ask) -> Any:
        path, _, query = ask.path.partition("?")
        scope = http_scope(path, query=query, method=ask.method.upper())
        cookie = "; ".join(f"{m.key}={m.coded_value}" for m in jar.values() if m["max-age"] != "0")
        body = urlencode(_body(ask).get("data", {}), doseq=True).encode()
        headers = _headers(ask) | {"cookie": cookie}
        if body:
            headers["content-type"] = "application/x-www-form-urlencoded"
            headers["content-length"] = str(len(body))
        scope["headers"] += [(n.lower().encode(), v.encode()) for n, v in headers.items()]
        status, found, content = asyncio.run(_served(scope, body))
        set_cookies: SimpleCookie = SimpleCookie()
        for name, value in found:
            if name == "Set-Cookie":
                set_cookies.load(value)
        jar.update(set_cookies)
        return status, [each for each in found if each[0] != "Set-Cookie"], set_cookies, content

    return send


async def _served(scope: dict[str, Any], body: bytes) -> Any:
    communicator = ApplicationCommunicator(ASGIHandler(), scope)
    await communicator.send_input({"type": "http.request", "body": body})
    start = await communicator.receive_output(10)
    content, more = b"", True
    while more:
        message = await communicator.receive_output(10)
        content += message.get("body", b"")
        more = message.get("more_body", False)
    if scope["method"] == "HEAD":
        content = b""  # a server sends none
    await communicator.wait(10)
    return start["status"], [(n.decode(), v.decode()) for n, v in start["headers"]], content


def _headers(ask: Ask) -> dict[str, str]:
    return {"Accept": "text/html", "X-CSRFToken": TOKEN, **ask.headers}


def _body(ask: Ask) -> dict[str, Any]:
    return {} if ask.data is None else {"data": ask.data}


WAYS: dict[str, Callable[[dict[str, str]], Send]] = {
    "client": lambda cookies: _by_client(Client(raise_request_exception=False), cookies),
    "async client": lambda cookies: _by_client(AsyncClient(raise_request_exception=False), cookies),
    "server": _by_server,
}
"""What sends requests, with these cookies at first."""


class Site:
    """A database of its own for each view that is asked, as filled by `twins.fill()`."""

    def __init__(self, filled: Path, used: Path, alias: str, settings: Any) -> None:
        self.filled = filled
        self.used = used
        self.alias = alias
        self.settings = settings

    def visit(self, view: Any, way: str, asks: list[Ask], route: str, user: str | None) -> Any:
        """Return the answers, and what is left: articles, and authors."""
        self.settings.ROOT_URLCONF = twins.urls(view, route)
        with self._database():
            cookies = {"csrftoken": TOKEN}
            if user:
                client = Client()
                client.force_login(User.objects.get(username=user))
                cookies |= {name: morsel.value for name, morsel in client.cookies.items()}
            answers = [*_answers(WAYS[way](cookies), asks)]
            articles = [
                (a.pk, a.title, sorted(map(str, a.tags.all()))) for a in Article.objects.all()
            ]
            return answers, articles, [*Author.objects.values_list("pk", "name")]

    @contextmanager
    def _database(self) -> Iterator[None]:
        shutil.copy(self.filled, self.used)
        try:
            yield
        finally:
            connections[self.alias].close()
            del connections[self.alias]
            request_threads.retire(timeout=5)


def _answers(send: Send, asks: list[Ask]) -> Iterator[Answer]:
    failures: list[str] = []

    def remember(**kwargs: Any) -> None:
        failures.append(repr(sys.exception()))

    got_request_exception.connect(remember)
    try:
        for ask in asks:
            failures.clear()
            status, headers, set_cookies, content = send(ask)
            yield Answer(
                error="; ".join(failures),
                status=status,
                headers=dict(headers),
                cookies=tuple(sorted(_plain(morsel) for morsel in set_cookies.values())),
                content=twins.without_tokens(content.decode()),
            )
    finally:
        got_request_exception.disconnect(remember)


def _plain(morsel: Any) -> str:
    """Return a cookie without what differs from one moment to the next."""
    kept = {name: str(value) for name, value in morsel.items() if name != "expires"}
    return f"{morsel.key}; {kept}"
