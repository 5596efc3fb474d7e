"""The same visits under both handlers, and what they cost."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import httpx

from tests.live.server_process import ServerProcess
from tests.packages.site import Site
from tests.packages.visitor import NAMES, Answer, Visitor, differences

ROOT = Path(__file__).parents[2]


class Urls(NamedTuple):
    django: str
    ours: str


@contextmanager
def served(name: str) -> Iterator[Urls]:
    """Serve a site by Django's handler, and by ours."""
    with ExitStack() as stack:
        servers = []
        for handler in ("django", "asyncviews"):
            home = stack.enter_context(tempfile.TemporaryDirectory())
            command = ["tests.packages.serving", name, handler]
            environment = {"PACKAGES_HOME": home, "PYTHONHASHSEED": "0"}  # sets have an order
            server = ServerProcess(command, cwd=ROOT, environment=environment)
            stack.callback(server.close)
            servers.append(server)
        yield Urls(*(server.url for server in servers))


# What visitors see.


async def compare(site: Site, urls: Urls) -> None:
    """Have users visit a site one by one, all at once, and meet in the middle of their requests.

    Raises:
        AssertionError: the package does not work, or not the same under both handlers. What one
            visitor gets under Django's is the measure for every visitor under ours.
    """
    first, *others = NAMES
    wanted = await _visit(site, urls.django, first)
    _assert_same(wanted, await _visit(site, urls.ours, first))
    for answers in await asyncio.gather(*(_visit(site, urls.ours, name) for name in others)):
        _assert_same(wanted, answers)
    left = await _effects(urls.django, first)
    for name in NAMES:
        _assert_same(left, await _effects(urls.ours, name))
    _assert_same(await _meetings(urls.django), await _meetings(urls.ours))


async def _visit(site: Site, url: str, name: str) -> list[Answer]:
    async with Visitor(url, name) as visitor:
        await site.visit(visitor)
        return visitor.answers


async def _effects(url: str, name: str) -> list[Answer]:
    async with Visitor(url, name) as visitor:
        response = await visitor.get("/effects/", params={"name": name})
        assert response.status_code == 200
        return visitor.answers


async def _meetings(url: str) -> list[Answer]:
    """Return what each of two users gets while the other one is answered, too."""
    async with Visitor(url, NAMES[0]) as one, Visitor(url, NAMES[1]) as other:
        for visitor in (one, other):
            await visitor.sign_in()
            visitor.answers.clear()
        for view in ("meet", "meet-sync"):
            for number in range(3):
                path = f"/{view}/?room={number}"
                for response in await asyncio.gather(one.get(path), other.get(path)):
                    assert response.status_code == 200
        _assert_same(one.answers, other.answers)
        return one.answers


def _assert_same(wanted: list[Answer], got: list[Answer]) -> None:
    if found := differences(wanted, got):
        raise AssertionError("\n".join(found))


# What requests cost.


@dataclass(frozen=True, slots=True)
class Cost:
    hops: int
    """How often a thread has handed the request back to the event loop; the fewest."""
    seconds: float
    """From the call of the application to its end; the median."""


async def cost(site: Site, urls: Urls, *, requests: int) -> tuple[Cost, Cost]:
    """Return what the site's measured page costs under Django's handler, and under ours."""
    async with httpx.AsyncClient() as client:
        for url in urls:
            for _ in range(3):  # what is imported or cached is not to count
                await client.get(url + site.measured)
            await _measured(client, url)
        found: dict[str, list[Any]] = {url: [] for url in urls}
        for _ in range(requests):
            for url in urls:  # by turns: whatever else the machine does happens to both
                await client.get(url + site.measured)
                found[url].append(await _measured(client, url))
    django, ours = (found[url] for url in urls)
    return _cost(django), _cost(ours)


async def _measured(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    measured: dict[str, Any] = (await client.get(f"{url}/-/measured")).json()
    return measured


def _cost(measured: list[dict[str, Any]]) -> Cost:
    seconds = [seconds for each in measured for seconds in each["seconds"]]
    assert len(seconds) == len(measured)
    return Cost(min(each["hops"] for each in measured), median(seconds))
