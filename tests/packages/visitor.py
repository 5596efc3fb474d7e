"""A visitor of a site, who keeps what it has got: without what differs from one visit to the next."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import httpx

NAMES = ("visitor-ant", "visitor-bee", "visitor-cat", "visitor-doe", "visitor-elk", "visitor-fox")
"""As long as each other, so that what they get is, too."""
PASSWORD = "smoked-brisket-90"
CHANGING = [
    (r"127\.0\.0\.1:\d+", "HOST"),
    (r'"auth_user"."id" = \d+', "ID"),
    (r"SERVER_PORT\s+\d+", "SERVER_PORT"),
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UUID"),
    (r"\b[0-9a-z]{32}\b", "UUID"),  # or the key of a session
    (r"\b\w{64}\b", "TOKEN"),
    (r"\bnonce(=\"|-)[\w+/=]{24}", r"nonce\1NONCE"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?", "DATE"),
]


@dataclass(frozen=True, slots=True)
class Answer:
    request: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: str


class Visitor:
    """A browser: it keeps cookies, sends forms with their tokens, and follows no redirect."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self.answers: list[Answer] = []
        self.headers = {"user-agent": "visitor"}
        self.keep: Callable[[httpx.Response], Any] | None = None
        """What is kept of each body, if not all of it."""
        self._client = httpx.AsyncClient(base_url=url, timeout=30)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._client.aclose()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        keep: Callable[[httpx.Response], Any] | None = None,
        **request: Any,
    ) -> httpx.Response:
        """Send a request, and keep the answer; with `keep` what that makes of its body."""
        keep = keep or self.keep
        headers = {**self.headers, **(headers or {})}
        response = await self._client.request(method, path, headers=headers, **request)
        body = repr(keep(response)) if keep else self._kept_body(response)
        answer = Answer(
            self.same(f"{method} {path}"),
            response.status_code,
            tuple(self._kept_headers(response, sized=keep is None)),
            self.same(body),
        )
        self.answers.append(answer)
        return response

    async def get(self, path: str, **request: Any) -> httpx.Response:
        return await self.ask("GET", path, **request)

    async def post(self, path: str, **request: Any) -> httpx.Response:
        return await self.ask("POST", path, **request)

    def _kept_body(self, response: httpx.Response) -> str:
        kind = response.headers.get("content-type", "")
        return response.text if re.search("text|json|xml|script", kind) else repr(response.content)

    def _kept_headers(self, response: httpx.Response, *, sized: bool) -> list[tuple[str, str]]:
        kept = []
        for name, value in response.headers.multi_items():
            if name in {"date", "server"} or (name == "content-length" and not sized):
                continue
            same = HEADERS.get(name, str)(value)
            kept.append((name, self.same(same)))
        return sorted(kept)

    def same(self, text: str) -> str:
        """Return a text as it is for every visitor at any time."""
        text = text.replace(self.name, "NAME")
        for pattern, meaning in CHANGING:
            text = re.sub(pattern, meaning, text)
        return text

    async def send_form(self, path: str, **fields: str) -> httpx.Response:
        """Get the page with a form, fill it in and send it."""
        page = await self.get(path)
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
        assert token, page.text
        return await self.post(path, data={"csrfmiddlewaretoken": token[1], **fields})

    def socket(self, path: str) -> Any:
        """Open a WebSocket with the visitor's cookies."""
        from websockets.asyncio.client import connect

        url = str(self._client.base_url.join(path)).replace("http", "ws", 1)
        cookies = "; ".join(f"{name}={value}" for name, value in self._client.cookies.items())
        origin: Any = str(self._client.base_url)
        return connect(url, origin=origin, additional_headers={"cookie": cookies}, proxy=None)

    async def sign_in(self) -> None:
        response = await self.send_form("/login/", username=self.name, password=PASSWORD)
        assert response.status_code == 302, response.text


def _cookie(value: str) -> str:
    """Return a cookie without what is in it, except that it is to be deleted."""
    name, _, rest = value.partition("=")
    content, _, attributes = rest.partition(";")
    kept = "VALUE" if content.strip('"') else ""
    return f"{name}={kept};{re.sub(r'expires=[^;]+', 'expires=DATE', attributes)}"


HEADERS: dict[str, Callable[[str], str]] = {
    "set-cookie": _cookie,
    "expires": lambda value: "DATE",
    "server-timing": lambda value: re.sub(r"dur=[\d.]+|\d+ queries", "", value),
}


def differences(wanted: Sequence[Answer], got: Sequence[Answer]) -> list[str]:
    """Return what is not as it is wanted, a line each."""
    found = []
    for want, have in zip(wanted, got, strict=False):
        for part in ("request", "status", "headers", "body"):
            one, other = getattr(want, part), getattr(have, part)
            if one != other:
                found.append(
                    f"{want.request}: {part} is {_cut(other, one)}, not {_cut(one, other)}"
                )
    if len(wanted) != len(got):
        found.append(f"{len(got)} answers, not {len(wanted)}")
    return found


def _cut(value: Any, other: Any) -> str:
    """Return what a value has that the other one does not have, and a little around it."""
    if isinstance(value, tuple):
        return repr([item for item in value if item not in other])
    if not isinstance(value, str):
        return repr(value)
    first = next((i for i, (a, b) in enumerate(zip(value, other, strict=False)) if a != b), 0)
    return repr(value[max(first - 60, 0) : first + 120])
