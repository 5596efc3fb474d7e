"""Resources, and the journal in which the project writes what it did."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

from asyncviews import health, resource


def note(line: str) -> None:
    with Path(os.environ["LIVE_JOURNAL"]).open("a") as file:
        file.write(f"{line}\n")


@resource
async def journal() -> AsyncIterator[None]:
    note("opened")
    try:
        yield
    finally:
        note("closed")


@resource
async def claims() -> AsyncIterator[None]:
    """Work that is to end when this process retires."""
    with health.on_retire(lambda: note("retires")):
        yield


@resource
async def broken() -> AsyncIterator[None]:
    raise RuntimeError("no oven")
    yield


@resource
async def oven() -> AsyncIterator[None]:
    if "broken" in os.listdir(os.environ["LIVE_OVEN"]):  # noqa: PTH208
        raise RuntimeError("the oven is broken")
    yield
