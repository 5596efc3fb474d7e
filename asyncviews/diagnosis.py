"""The watchdog: it notices when code holds the event loop, and says which.

The event loop gives signs of life. When they stay away, a thread looks at the stack of the loop's
thread: one callback that is there all the time holds the loop. A machine that is merely busy is told
apart by what the loop's thread had of the processor, see `thread_usage.Usage.own()`.
"""

from __future__ import annotations

import asyncio
import linecache
import logging
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import asgiref
import django
from django.conf import settings

from asyncviews import internals
from asyncviews.conf import get_settings
from asyncviews.logs import context_fields
from asyncviews.pulse import Repeated
from asyncviews.thread_usage import Meter, Usage

logger = logging.getLogger("asyncviews.diagnosis")

DEBUG_THRESHOLD = 0.1
"""Seconds, the threshold while DEBUG is on: that of asyncio's own debug mode."""

TOO_LONG_TO_WAIT = 10.0
"""Seconds after which a callback is named although it has not ended."""

_DEBUGGERS = frozenset({"_pydevd_bundle", "bdb", "debugpy", "pdb", "pydevd"})
_PLUMBING = frozenset({"daphne", "granian", "hypercorn", "uvicorn", "uvloop"})
_PLUMBING_DIRECTORIES = tuple(
    f"{Path(file).parent}{os.sep}" for file in (django.__file__, asgiref.__file__, __file__)
)
_STDLIB = f"{Path(os.__file__).parent}{os.sep}"


class Line(NamedTuple):
    """A line of code that was being executed."""

    file: str
    number: int
    function: str


Stack = tuple[Line, ...]
"""The lines of one callback, the outermost first."""


@contextmanager
def watched(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Watch the event loop of this thread for the length of a block, if the settings say so."""
    threshold = get_settings().watchdog_threshold
    if threshold is None:
        threshold = DEBUG_THRESHOLD if settings.DEBUG else 0
    if not threshold:
        yield
        return
    watchdog = Watchdog(loop, threshold)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.stop()


@dataclass(slots=True)
class _Callback:
    """A callback that was seen on the event loop, perhaps several times."""

    frame: FrameType
    fields: Mapping[str, Any]
    before: Usage
    delayed_before: float
    first_seen: float
    last_seen: float
    stacks: Counter[Stack] = field(default_factory=Counter)
    reported: bool = False


class Watchdog:
    """Logs once for each place that holds the event loop for `threshold` seconds or longer.

    `start()` and `stop()` are called on the loop's thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, threshold: float) -> None:
        self._loop = loop
        self._threshold = threshold
        self._patience = max(threshold / 2, 0.01)
        self._delayed = 0.0
        self._known: set[tuple[str, int]] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="asyncviews-watchdog", daemon=True)

    def start(self) -> None:
        self._loop_thread = threading.get_ident()
        self._meter = Meter()
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._next_beat.cancel()
        self._thread.join()
        self._meter.close()

    def _beat(self) -> None:
        """Give a sign of life, on the loop."""
        self._next_beat = self._loop.call_later(self._patience / 2, self._beat)
        self._alive = self._meter.read()

    def _run(self) -> None:
        watch = Repeated(self._watch, "The watchdog", logger)
        while not self._stopping.is_set():
            watch()

    def _watch(self) -> None:
        """Wait for the next sign of life, and if it stays away, see why."""
        alive, delayed = self._alive, self._delayed
        if self._wait(max(alive.elapsed + self._patience - time.monotonic(), self._patience / 5)):
            return
        if self._alive is alive:
            try:
                self._observe(alive, delayed)
            except OSError as exc:
                self._stopping.set()
                logger.debug("The thread of the event loop has ended: %s", exc)

    def _observe(self, alive: Usage, delayed: float) -> None:
        """Watch the loop, last heard of when it was `alive`, until it gives a sign again."""
        callback = self._look(None, alive, delayed)
        while not self._wait(self._pause(alive)) and self._alive is alive:
            callback = self._look(callback, self._meter.read(), self._delayed)
        if callback and self._alive is not alive:
            self._judge(callback, self._alive)

    def _pause(self, alive: Usage) -> float:
        """Return the seconds until the next look: the longer it takes, the fewer are enough."""
        waited = time.monotonic() - alive.elapsed
        return min(max(self._patience / 5, waited / 20), self._patience)

    def _wait(self, seconds: float) -> bool:
        """Wait for the end of the watch, and note by how much this thread has woken too late."""
        due = time.monotonic() + max(seconds, 0.0)
        if self._stopping.wait(seconds):
            return True
        self._delayed += max(0.0, time.monotonic() - due)
        return False

    def _look(self, known: _Callback | None, now: Usage, delayed: float) -> _Callback | None:
        """Note what runs on the loop; `known` is what ran there at the last look."""
        innermost = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - in the docs
        if innermost is None:  # the thread has ended
            self._stopping.set()
        frames, handle = _callback_frames(innermost)
        if known and (not frames or frames[0] is not known.frame):
            self._judge(known, now)
            known = None
        if not frames or any(map(_is_excused, frames)) or frames[0].f_code is _BEAT:
            return None
        seen = time.monotonic()
        if known is None:
            context = internals.callback_context(self._loop, handle)
            fields = context_fields(context) if context is not None else {}  # while it is there
            known = _Callback(frames[0], fields, now, delayed, seen, seen)
        known.last_seen = seen
        known.stacks[tuple(map(_line, frames))] += 1
        if seen - known.first_seen > TOO_LONG_TO_WAIT:
            self._judge(known, now, ended=False)
        return known

    def _judge(self, callback: _Callback, now: Usage, *, ended: bool = True) -> None:
        """Report a callback if it is what held the loop."""
        usage = now - callback.before
        own = usage.own(delayed=self._delayed - callback.delayed_before)
        seen = callback.last_seen - callback.first_seen
        if callback.reported or own < self._threshold or seen < self._threshold / 4:
            return
        callback.reported = True
        lines = blamed(callback.stacks.most_common(1)[0][0])
        place = lines[-1]
        if (place.file, place.number) not in self._known:
            self._known.add((place.file, place.number))
            computes = usage.computing >= own / 2
            _report(lines, usage.elapsed, callback.fields, computes=computes, ended=ended)


_BEAT = Watchdog._beat.__code__  # noqa: SLF001 - its own


def what_runs(loop: asyncio.AbstractEventLoop | None, thread: int) -> str:
    """Return what an event loop executes now in its thread, in another thread than that, in words."""
    innermost = sys._current_frames().get(thread)  # noqa: SLF001 - in the docs
    frames, handle = _callback_frames(innermost)
    if loop is None or not frames:
        return "Nothing runs on it."
    context = internals.callback_context(loop, handle)
    who = _who(context_fields(context) if context is not None else {})
    lines = blamed(tuple(map(_line, frames)))
    return f"{who} holds it:\n" + "\n".join(map(_quote, lines))


def _callback_frames(frame: FrameType | None) -> tuple[list[FrameType], FrameType | None]:
    """Return the frames of what the loop has called, the outermost first, and that of the caller.

    The latter is None where the loop is not written in Python.
    """
    frames: list[FrameType] = []
    while frame is not None:
        if internals.runs_callback(frame):
            return frames[::-1], frame
        if frame.f_globals.get("__name__") in {"asyncio.base_events", "asyncio.runners", "uvloop"}:
            break
        frames.append(frame)
        frame = frame.f_back
    waits = frame is not None and internals.waits_for_callbacks(frame)
    return ([] if waits else frames[::-1]), None


def _is_excused(frame: FrameType) -> bool:
    """Whether this is an import, which happens once, or a debugger, which is meant to block."""
    name = str(frame.f_globals.get("__name__", ""))
    return name == "importlib._bootstrap" or name.partition(".")[0] in _DEBUGGERS


def _line(frame: FrameType) -> Line:
    code = frame.f_code
    return Line(code.co_filename, frame.f_lineno or code.co_firstlineno, code.co_name)


def blamed(stack: Stack) -> Stack:
    """Return the lines of a stack that a reader can do something about; the last one blocks.

    They are those of the project, or if it has none there, of installed packages.
    """
    nearest = min(_distance(line.file) for line in stack)
    lines = tuple(line for line in stack if _distance(line.file) == nearest)
    return lines if nearest < 2 else lines[-5:]


@cache
def _distance(file: str) -> int:
    """Return 0 for a file of the project, 1 for a package's, 2 for what carries both."""
    if file.startswith(("<", *_PLUMBING_DIRECTORIES)):
        return 2
    parts = Path(file).parts
    for directory in ("site-packages", "dist-packages"):
        if directory in parts:
            return 2 if parts[parts.index(directory) + 1] in _PLUMBING else 1
    return 2 if file.startswith(_STDLIB) else 0


def _report(
    lines: Stack, seconds: float, fields: Mapping[str, Any], *, computes: bool, ended: bool
) -> None:
    place = lines[-1]
    logger.warning(
        "%s held the event loop for %.2f s%s, %s:\n%s\nNobody else was answered meanwhile. Await "
        "something async instead, or run it in a thread with `await sync_to_async(...)(...)`. "
        "This line is not named again.",
        _who(fields),
        seconds,
        "" if ended else " and still does",
        "computing" if computes else "waiting",
        "\n".join(map(_quote, lines)),
        extra={
            **fields,
            "blocked_file": place.file,
            "blocked_line": place.number,
            "blocked_function": place.function,
            "blocked_seconds": seconds,
        },
    )


def _who(fields: Mapping[str, Any]) -> str:
    if "task_id" in fields:
        return f"Background task {fields['task_name']} ({fields['task_id']})"
    if "request_path" in fields:
        view = f" ({fields['view']})" if fields["view"] else ""
        return f"{fields['request_method']} {fields['request_path']}{view}"
    return "Something"


def _quote(line: Line) -> str:
    source = linecache.getline(line.file, line.number).strip()
    quoted = f"\n    {source}" if source else ""
    return f'  File "{line.file}", line {line.number}, in {line.function}{quoted}'
