"""Calls: functions that threads run, and who gets their results."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncviews.threads.leases import Lease
    from asyncviews.threads.places import NoThreadAvailable
    from asyncviews.threads.pool import Thread


class Call:
    """A function to run, and the future that gets its result.

    With a loop that is a future of the loop's own, which is told what has become of the call by one
    wake-up, and has no lock for threads that might wait.
    """

    __slots__ = ("_error", "_function", "_loop", "_result", "future", "lease")

    def __init__(
        self,
        lease: Lease,
        function: Callable[[], Any],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.lease = lease
        self._function = function
        self._loop = loop
        self.future: Any = loop.create_future() if loop else Future()
        self._result: Any = None
        self._error: BaseException | None = None

    def deliver(self, thread: Thread, executor: Executor | None) -> None:
        if executor is not None:
            executor.submit(thread.work, self)
        else:
            thread.inbox.put(self)

    def run(self) -> None:
        if self._loop is None:
            if not self.future.set_running_or_notify_cancel():
                return
        elif self.future.cancelled():
            return
        try:
            self._result = self._function()
        except BaseException as exc:  # noqa: BLE001 - it belongs to who waits for the result
            self._error = exc
            del self  # which leads to the error, whose traceback has this frame

    def tell(self) -> None:
        """Tell the result to who waits for it, and keep nothing of it."""
        result, error, self._result, self._error = self._result, self._error, None, None
        if self._loop is None:
            _settle(self.future, result, error)
        else:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(_settle, self.future, result, error)

    def fail(self, error: NoThreadAvailable) -> None:
        self._error = error
        self.tell()


def _settle(future: Any, result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if isinstance(error, StopIteration):  # which no future takes
        stopped, error = error, RuntimeError("The function raised StopIteration.")
        error.__cause__ = stopped
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


class Resume:
    """A thread that has waited goes on with the call that it was in."""

    def __init__(self) -> None:
        self._go = threading.Lock()
        self._go.acquire()

    def deliver(self, thread: Thread, executor: Executor | None) -> None:
        self._go.release()

    def wait(self) -> None:
        self._go.acquire()


class Frame:
    """A call that waits in the middle, for what may need its thread meanwhile."""

    def __init__(self) -> None:
        self.executor: Executor | None = None
        """Runs calls on the waiting thread, while it can."""


class Signal(Enum):
    """What a thread gets instead of a call."""

    CLEAN = "the last lease of the place is over, and something is to be closed"
    PART = "somebody waits for the place on another thread"
    END = "end"
