"""The request to stop a process that serves, and the end by force when it does not do so in time."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

from asyncviews import health
from asyncviews.background import log_unfinished
from asyncviews.diagnosis import what_runs

logger = logging.getLogger("asyncviews.server")

Action = Callable[[], None]

# Seconds
PROCESS_GRACE = 0.75  # after the deadline of a drain, when the process ends itself
LAST_LINES = 0.1  # to name what is unfinished, before the process ends by force
GIVE_BACK = 0.5  # the same, when it was told to end, and may give back what it has claimed

TOLD = "it was told to end at once."


class Stop:
    """The request to stop: made by any thread or signal handler, awaited on an event loop.

    From then on the application has `drain_timeout` seconds.
    """

    def __init__(self, drain_timeout: float, *, exit_code: int = 1) -> None:
        self.drain_timeout = drain_timeout
        self.exit_code = exit_code
        self.requested = False
        self.retired = False
        self.reported = False
        self.failure = ""
        self.before_force: Action = lambda: None
        """Called before the process ends itself by force, which runs no other cleanup."""
        self._loop_thread = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event = asyncio.Event()
        self._retired = asyncio.Event()
        # Signal handlers interrupt whoever holds a lock; these queues need none.
        self._requests: SimpleQueue[None] = SimpleQueue()
        self._hurry: SimpleQueue[str] = SimpleQueue()

    def set(self) -> None:
        """Ask to stop; asking again changes nothing."""
        self.requested = True
        self._requests.put(None)
        self._tell_loop(self._event.set)

    def retire(self) -> None:
        """Ask to take no more connections, and to end each one with its next response.

        Whoever asks leaves the clients `keep_alive_timeout` seconds until the stop: then no
        connection is cut while its next request is on the way.
        """
        health.retire()
        self.retired = True
        self._tell_loop(self._retired.set)

    def _tell_loop(self, action: Action) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(action)

    def fail(self, reason: str) -> None:
        """Ask to stop because something has failed for good; `run()` raises that."""
        self.failure = reason
        self.set()

    def hurry(self, cause: str = TOLD) -> None:
        """Ask to end at once, without a drain."""
        self.set()
        self._hurry.put(cause)

    def end_hung(self, seconds: float) -> None:
        """Ask to end at once, because the event loop is held and there can be no drain.

        Not from the loop's own thread.
        """
        self.hurry(
            f"its event loop has been held for {seconds:.3g} s. "
            f"{what_runs(self._loop, self._loop_thread)}"
        )

    def set_or_hurry(self) -> None:
        """Ask to stop, or when that has been asked already, to end at once."""
        (self.hurry if self.requested else self.set)()

    def _attach(self) -> None:
        self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()

    async def wait(self) -> None:
        """Wait for the request. Everybody waits on the same event loop."""
        self._attach()
        if not self.requested:
            await self._event.wait()

    async def wait_retired(self) -> None:
        """Wait until `retire()` was called, on the event loop of `wait()`."""
        self._attach()
        if not self.retired:
            await self._retired.wait()

    def enforce(self) -> None:
        """End the process, with `exit_code`, when the time is over, or at once when told so."""
        causes: SimpleQueue[str] = SimpleQueue()
        # Two threads, for a blocked main thread may hold the lock of a logging handler; and both
        # now, for none can be started when the interpreter is already ending.
        reporter = threading.Thread(target=self._report_end, args=(causes,), daemon=True)
        reporter.start()
        threading.Thread(target=self._end, args=(causes, reporter), daemon=True).start()

    def _end(self, causes: SimpleQueue[str], reporter: threading.Thread) -> None:
        limit = self.drain_timeout + PROCESS_GRACE
        self._requests.get()
        try:
            cause = self._hurry.get(timeout=limit)
        except Empty:
            cause = f"it did not stop within {limit:g} s."
        causes.put(cause)
        reporter.join(GIVE_BACK if cause == TOLD else LAST_LINES)
        self.before_force()
        os._exit(self.exit_code)

    def _report_end(self, causes: SimpleQueue[str]) -> None:
        cause = causes.get()
        self.report()
        if cause == TOLD:  # else a task may be to blame, which is to be counted as interrupted
            health.hurry()
        logger.error("Process %d is ended by force: %s", os.getpid(), cause)

    def report(self) -> None:
        """Log what is unfinished, unless that has been done."""
        if not self.reported:
            self.reported = True
            log_unfinished()
