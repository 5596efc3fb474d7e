"""An event loop in a thread of its own, for processes that no ASGI server runs."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

logger = logging.getLogger("asyncviews.background")


class LoopThread:
    """A loop that runs in a daemon thread from the first `start()` until the interpreter ends."""

    def __init__(self, *, at_exit: Callable[[asyncio.AbstractEventLoop], None]) -> None:
        self._at_exit = at_exit
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> asyncio.AbstractEventLoop:
        """Return the running loop, started when needed. Thread-safe."""
        if (loop := self._loop) is not None:
            return loop
        with self._lock:
            if self._loop is None:
                self._loop = self._start()
            return self._loop

    def _start(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, name="asyncviews-loop", daemon=True).start()
        # Private, read in CPython 3.11 to 3.13: the hook of concurrent.futures. The public atexit
        # comes too late, when neither a thread nor an executor's call can be started, so that what
        # is drained could not even look up a host name.
        threading._register_atexit(self._stop)  # type: ignore[attr-defined]  # noqa: SLF001
        return loop

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop, if it has been started."""
        return self._loop

    def forget(self) -> None:
        """Take the loop as gone; for a forked child, which has inherited it without its thread."""
        self._loop = None

    def _stop(self) -> None:
        loop = self._loop
        if loop is not None:
            try:
                self._at_exit(loop)
            except Exception:
                logger.exception("Background tasks could not be drained at exit.")
            self._loop = None
            loop.call_soon_threadsafe(loop.stop)
