"""What the query holds, for all contenders, and the stream that is idle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from pydantic import BaseModel, Field

from asyncviews import CommaSeparated


class SmokeQuery(BaseModel):
    to_smoke: CommaSeparated[str] = Field(default=["ribs"], max_length=20)
    flavor: str = Field("Sweet Baby Ray's", max_length=60)


async def ticks() -> AsyncIterator[bytes]:
    """Send an event, and then nothing for a long time."""
    yield b"data: tick\n\n"
    await asyncio.sleep(3600)
