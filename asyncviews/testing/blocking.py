"""Blocking calls on an event loop fail the test in which they happen."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from django.core.exceptions import ImproperlyConfigured

from asyncviews import internals

if TYPE_CHECKING:
    from blockbuster import BlockBuster

LOCKS = ("threading.Lock.acquire", "threading.Lock.acquire_lock")
"""Not looked at: a lock that is held for a moment is what threads and event loops share."""


ONCE = (("<frozen importlib._bootstrap>", "_find_and_load"), *internals.READ_ONCE)
"""Files and functions in which anything may block: imports, and what is cached from then on."""


class BlockingCall(AssertionError):
    """Something blocked the event loop; the message says what, and from where."""


@contextmanager
def no_blocking_calls() -> Iterator[BlockBuster]:
    """Have blocking calls on an event loop fail, for the length of a block.

    What happens once in a process may block: an import, and what Django caches, as templates.
    Each other call raises ``blockbuster.BlockingError`` where it is made. When somebody catches that, the end
    of the block tells of it. The value is the `BlockBuster`, with which exceptions can be made.

    Raises:
        ImproperlyConfigured: blockbuster is not installed.
        BlockingCall: at the end, when there were some and nothing else is raised.
    """
    watch = new_watch()
    with watching(watch):
        yield watch


def new_watch() -> BlockBuster:
    """Return what finds blocking calls, once it is activated.

    Raises:
        ImproperlyConfigured: blockbuster is not installed.
    """
    try:
        from blockbuster import BlockBuster
    except ImportError as exc:
        raise ImproperlyConfigured(
            "To find blocking calls takes blockbuster: pip install 'asyncviews[testing]'"
        ) from exc
    watch = BlockBuster()
    for lock in LOCKS:
        watch.functions.pop(lock, None)
    for function in watch.functions.values():
        for place in ONCE:
            function.can_block_in(*place)
    return watch


@contextmanager
def watching(watch: BlockBuster) -> Iterator[None]:
    """Activate `watch` for the length of a block, whose end tells of what it has found."""
    import blockbuster

    calls: list[str] = []

    class BlockingError(blockbuster.BlockingError):
        __module__, __qualname__ = "blockbuster", "BlockingError"

        def __init__(self, func: str) -> None:
            super().__init__(func)
            calls.append(f"{func} at {_place(traceback.extract_stack())}")

    # The name that its wrappers raise; read in blockbuster 1.5.
    with patch("blockbuster.blockbuster.BlockingError", BlockingError):
        watch.activate()
        try:
            yield
        finally:
            watch.deactivate()
    if calls:
        raise BlockingCall("The event loop was blocked: " + "; ".join(dict.fromkeys(calls)))


def _place(stack: traceback.StackSummary) -> str:
    """Return the line of the project's own code that is nearest to the call."""
    libraries = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
    own = [
        frame
        for frame in stack[:-1]
        if not any(Path(frame.filename).is_relative_to(path) for path in libraries)
        and frame.filename != __file__
    ]
    frame = own[-1] if own else stack[-3]
    return f"{frame.filename}:{frame.lineno}, in {frame.name}"
