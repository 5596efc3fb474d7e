"""What a thread had of the processor, and what kept it from having more."""

from __future__ import annotations

import gc
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Seconds since some moment; what counts is the difference of two readings."""

    elapsed: float
    computing: float
    """The thread was on a processor."""
    queued: float
    """It could have run, and no processor was free (Linux; elsewhere 0)."""
    others: float
    """Other threads of the process computed, and may have held the interpreter's lock."""
    collecting: float
    """The garbage collector ran on it."""

    def __sub__(self, before: Usage) -> Usage:
        return Usage(
            **{f.name: getattr(self, f.name) - getattr(before, f.name) for f in fields(self)}
        )

    def own(self, *, delayed: float = 0.0) -> float:
        """Return how much of the time the code on the thread has itself taken, at least.

        That is what it computed, or what it slept or waited while neither the machine nor the rest
        of the process was in its way. `delayed` are the seconds by which another thread, which
        only slept, woke too late in that time.
        """
        idle = self.elapsed - self.queued - self.others - delayed
        return max(self.computing, idle) - self.collecting


class Meter:
    """Reads the usage of the thread that makes it, from any thread."""

    def __init__(self) -> None:
        self._ident = threading.get_ident()
        # Neither is everywhere: macOS has no clock for other threads, and only Linux tells of the
        # queue (Documentation/scheduler/sched-stats.rst).
        get_clock: Any = getattr(time, "pthread_getcpuclockid", None)
        self._clock: int | None = get_clock(self._ident) if get_clock else None
        self._schedstat: int | None = None
        with suppress(OSError):
            path = f"/proc/self/task/{threading.get_native_id()}/schedstat"
            self._schedstat = os.open(path, os.O_RDONLY)
        self._collecting = 0.0
        self._collection_began = 0.0
        gc.callbacks.append(self._collection)

    def read(self) -> Usage:
        """Return the usage so far; raises OSError when the thread has ended."""
        computing = time.clock_gettime(self._clock) if self._clock is not None else 0.0
        return Usage(
            elapsed=time.monotonic(),
            computing=computing,
            queued=self._queued(),
            others=time.process_time() - computing if self._clock is not None else 0.0,
            collecting=self._collecting,
        )

    def close(self) -> None:
        gc.callbacks.remove(self._collection)
        if self._schedstat is not None:
            os.close(self._schedstat)
            self._schedstat = None

    def _queued(self) -> float:
        if self._schedstat is None:
            return 0.0
        return int(os.pread(self._schedstat, 128, 0).split()[1]) / 1e9

    def _collection(self, phase: str, _info: dict[str, int]) -> None:
        if threading.get_ident() == self._ident:
            if phase == "start":
                self._collection_began = time.monotonic()
            else:
                self._collecting += time.monotonic() - self._collection_began
