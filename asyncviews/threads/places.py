"""Places: the right to work, with what goes with it, and what a call may leave open there."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from asyncviews.threads.leases import Lease
    from asyncviews.threads.pool import Thread


class NoThreadAvailable(BaseException):
    """All threads of a pool are in use, and too many leases wait for one, or this one too long.

    Like `asyncio.CancelledError` it is not an `Exception`: the server is busy, and the code that
    needed the thread has not failed. Django would log it as an error of the project and send mail.
    """


class State(NamedTuple):
    """What a call has left open on its thread."""

    held: bool = False
    """Nothing else may run with these connections before the lease's next call."""
    set_up: bool = False
    """The same, until the lease is shared: what comes next relies on what was set there."""
    half_read: bool = False
    """The next call must find the same connections."""
    closing: bool = False
    """Something is to be closed when nobody expects to find it open any more."""


NOTHING_OPEN = State()


class Resources:
    """What a place has besides the right to work. Its methods are called on the place's thread."""

    def tidy(self, *, shared: bool) -> None:
        """Prepare for a new lease, or clean up after the last one.

        `shared` tells whether other leases expect to find open what they have opened.
        """

    def state(self) -> State:
        """Tell what the call that has just ended has left open."""
        return NOTHING_OPEN

    def reconfigured(self) -> bool:
        """Whether connections are set up otherwise than they were made."""
        return False

    def take(self) -> Any:
        """Take everything off this thread, and return it; that is never None."""
        return ()

    def put(self, taken: Any) -> None:
        """Have on this thread what `take()` has returned on another."""

    def renew(self) -> None:
        """Close everything, and begin as if it had just been made."""

    def close(self) -> None:
        """Close everything."""


class Place:
    """The right to work, and what goes with it."""

    __slots__ = ("closing", "free", "leases", "pinned", "returning", "spoiled", "taken", "thread")

    def __init__(self) -> None:
        self.thread: Thread | None = None
        """The one that has its connections, or gets them next."""
        self.taken: Any = ()
        """They, while no thread has them."""
        self.free = True
        self.leases: set[Lease] = set()
        """Those that expect to find open what they have opened."""
        self.pinned = 0
        """How many of them must come back to it."""
        self.returning: deque[Lease] = deque()
        """Those of them that wait for it."""
        self.closing = False
        self.spoiled = False
        """Whether a request that was cut short has left its connections in who knows what state."""

    def suits(self, lease: Lease) -> bool:
        """Whether a lease can have it at once, on the thread that it keeps."""
        return lease.thread is None or self.thread is None or self.thread is lease.thread
