"""Whether this process can do its work: for probes, and for the server that may replace it.

What does lasting work in this process, such as the worker of stored tasks, calls `fail()` when it
cannot go on. `readiness` tells proxies and orchestrators. `manage.py serve` replaces the process
where that is asked for.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from asyncviews.internals import mark_logged

logger = logging.getLogger("asyncviews.health")

Action = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a part of this process cannot work, and whether only a new process will do."""

    reason: str
    restart: bool


@dataclass(slots=True)
class _State:
    started: bool = False
    retiring: bool = False
    failed: dict[str, Failure] = field(default_factory=dict)
    on_retire: list[Action] = field(default_factory=list)
    on_hurry: list[Action] = field(default_factory=list)
    replace: Callable[[str], None] | None = None


_state = _State()
_lock = threading.RLock()


def fail(part: str, reason: str, *, restart: bool = False) -> None:
    """Say that a part of this process cannot do its work. May be called from any thread.

    The process is not ready until `recover()` is called for the part. With `restart`, nothing but a
    new process helps: `manage.py serve` drains this one and starts another. Other servers do not
    know, and leave the process as it is. Each part is logged once.
    """
    with _lock:
        known = _state.failed.get(part)
        if known and known.restart >= restart:
            return
        _state.failed[part] = Failure(reason, restart)
        replace = _state.replace
    logger.error("%s has failed: %s %s", part, reason, _consequence(replace, restart=restart))
    if restart and replace:
        replace(f"{part} has failed: {reason}")


def _consequence(replace: object, *, restart: bool) -> str:
    if not restart:
        return "This process goes on, but is not ready."
    if replace:
        return "This process is replaced."
    return "This process is not ready, and this server cannot replace it: restart it."


def recover(part: str) -> None:
    """Say that a part works again. May be called from any thread."""
    with _lock:
        known = _state.failed.pop(part, None)
    if known:
        logger.info("%s works again.", part)


def failures() -> Mapping[str, Failure]:
    """Return the parts that have failed."""
    with _lock:
        return dict(_state.failed)


def is_ready() -> bool:
    """Whether the lifespan has started, does not end yet, and no part has failed."""
    return _state.started and not _state.retiring and not _state.failed


@login_not_required
@require_safe
@never_cache
async def readiness(request: HttpRequest) -> HttpResponse:
    """Answer 200 if this process is ready, else 503. The log says which part has failed."""
    ready = is_ready()
    status, text = (200, "ready\n") if ready else (503, "not ready\n")
    response = HttpResponse(text, status=status, content_type="text/plain")
    mark_logged(response)  # a probe asks every few seconds
    return response


# For the lifespan and the server


@contextmanager
def lifetime() -> Iterator[None]:
    """Forget at the end of the block what was said of this process in it."""
    try:
        yield
    finally:
        with _lock:
            _state.started = _state.retiring = False
            _state.failed.clear()


def started() -> None:
    """Say that the lifespan has started."""
    _state.started = True


def retire() -> None:
    """Say that this process takes no new work. May be called from any thread, and repeatedly.

    Not from a signal handler, which may interrupt whoever holds the lock.
    """
    with _lock:
        if _state.retiring:
            return
        _state.retiring = True
        actions = list(_state.on_retire)
    for action in actions:
        _act(action)


def hurry() -> None:
    """Say that this process ends at once, without a drain. Not from a signal handler."""
    with _lock:
        actions = list(_state.on_hurry)
    for action in actions:
        _act(action)


def _act(action: Action) -> None:
    try:
        action()
    except Exception:
        logger.exception("What should have ended when this process retires has failed.")


@contextmanager
def on_retire(action: Action) -> Iterator[None]:
    """Have `action` called when the process retires in this block, or now if it does already.

    `action` is called once, in any thread, and must not block.
    """
    with _listed(action, _state.on_retire) as late:
        if late:
            _act(action)
        yield


@contextmanager
def on_hurry(action: Action) -> Iterator[None]:
    """Have `action` called in this block, in any thread, when the process ends without a drain.

    It has a fraction of a second.
    """
    with _listed(action, _state.on_hurry):
        yield


@contextmanager
def _listed(action: Action, actions: list[Action]) -> Iterator[bool]:
    """Have an action in a list for a block, which is told whether the process retired before."""
    with _lock:
        actions.append(action)
        retiring = _state.retiring
    try:
        yield retiring
    finally:
        with _lock:
            actions.remove(action)


@contextmanager
def replacing(replace: Callable[[str], None]) -> Iterator[None]:
    """Have `replace` called in this block, with the reason, when only a new process helps."""
    _state.replace = replace
    try:
        yield
    finally:
        _state.replace = None
