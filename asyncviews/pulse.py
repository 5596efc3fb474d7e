"""What is done again and again; and whether an event loop still runs.

A loop gives signs of life, and somebody counts the silence.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

BEATS = 5
"""Signs of life in the time after which a loop without any is taken for hung."""


class Repeated:
    """Something that is called again and again, and that one failure must not end.

    It raises nothing. A failure is logged, with its traceback; those that follow it are not, until it
    has worked again.
    """

    def __init__(self, function: Callable[[], object], name: str, logger: logging.Logger) -> None:
        self._function = function
        self._name = name
        self._logger = logger
        self._failing = False

    def __call__(self) -> None:
        try:
            self._function()
        except Exception:
            if not self._failing:
                self._logger.exception("%s failed, and goes on.", self._name)
            self._failing = True
        else:
            self._failing = False


def beat(sign: Callable[[], None], every: float) -> None:
    """Call `sign` on the running event loop, now and every so many seconds, as long as it runs."""
    asyncio.get_running_loop().call_later(every, beat, sign, every)
    sign()


class Silence:
    """For how many seconds there has been no sign of life, while somebody could have seen one.

    `look()` is called every `every` seconds. Time in which it was not, because the observer itself
    was stopped or the machine was suspended, does not count.
    """

    def __init__(self, every: float) -> None:
        self._longest = 2 * every
        self._seconds = 0.0
        self._looked = time.monotonic()

    def end(self) -> None:
        """Note a sign of life. May be called from any thread."""
        self._seconds = 0.0

    def look(self) -> float:
        """Return how long the silence is, in seconds."""
        now = time.monotonic()
        self._seconds += min(now - self._looked, self._longest)
        self._looked = now
        return self._seconds
