"""Who lives: this process' event loop, and the workers of other processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from math import inf


class LoopPulse:
    """Tells from another thread whether an event loop still runs what it is given."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asked: float | None = None

    def silence(self) -> float:
        """Return for how many seconds the loop has owed an answer, and ask it if it owes none."""
        now = time.monotonic()
        if (asked := self._asked) is not None:
            return now - asked
        self._asked = now
        with suppress(RuntimeError):  # it is closed, and will never answer
            self._loop.call_soon_threadsafe(self._answer)
        return 0.0

    def _answer(self) -> None:
        self._asked = None


class Watch:
    """Finds workers that have shown no life for as long as this one has looked.

    They are dead when their number of beats has not changed for two thirds of a lease, by this
    process' monotonic clock. Whatever has kept this process from looking may have kept them from
    beating; so after a gap they have a whole lease, from the moment when it looks again.
    """

    def __init__(self, lease: float) -> None:
        self._lease = lease
        self._seen: dict[str, tuple[int, float]] = {}
        self._looked: float | None = None

    def look(self, beats: Mapping[str, int]) -> Iterator[tuple[str, int]]:
        """Take in the beats of all other workers; return the dead ones with theirs."""
        now = time.monotonic()
        since = now
        if self._looked is not None and now - self._looked > self._lease / 3:
            self._seen.clear()
            since += self._lease / 3
        self._looked = now
        self._seen = {
            worker: seen
            if (seen := self._seen.get(worker)) is not None and seen[0] == beat
            else (beat, since)
            for worker, beat in beats.items()
        }
        for worker, (beat, first) in self._seen.items():
            if now - first >= self._lease * 2 / 3:
                yield worker, beat

    def interrupt(self) -> None:
        """Note that the database cannot be looked at."""
        self._looked = -inf
