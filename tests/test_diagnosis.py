"""The watchdog names the code that holds the event loop, and no other."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext

import pytest
from django.http import HttpResponse
from django.urls import path

from asyncviews import AsyncView, BackgroundTaskMixin, diagnosis
from asyncviews.asgi import lifespan
from asyncviews.diagnosis import Line, Watchdog, blamed, what_runs
from tests.conftest import failing_once, until

THRESHOLD = 0.1
LONG = 0.4  # seconds, much longer than the threshold
ATTEMPTS = 20

# What must be found is done again until it has been: on a busy machine the watchdog doubts.


def block() -> None:
    time.sleep(LONG)


def block_elsewhere() -> None:
    time.sleep(LONG)


class Blocking(AsyncView):
    async def get(self, request):
        block()
        return HttpResponse()


class BlockingInBackground(BackgroundTaskMixin, AsyncView):
    async def get(self, request):
        self.add_background_task(block_in_background)
        return HttpResponse()


async def block_in_background() -> None:
    block()


urlpatterns = [
    path("blocking/<int:pk>/", Blocking.as_view()),
    path("background/", BlockingInBackground.as_view()),
]
pytestmark = pytest.mark.urls(__name__)


@pytest.fixture
def warnings() -> Iterator[list[logging.LogRecord]]:
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append
    diagnosis.logger.addHandler(handler)
    yield records
    diagnosis.logger.removeHandler(handler)


@pytest.fixture
async def watchdog(warnings) -> AsyncIterator[Watchdog]:
    watchdog = Watchdog(asyncio.get_running_loop(), THRESHOLD)
    watchdog.start()
    yield watchdog
    watchdog.stop()


async def until_warned(warnings, function, *args) -> logging.LogRecord:
    """Call a function, from the event loop, until there is a warning that names it."""
    for _ in range(ATTEMPTS):
        function(*args)
        await asyncio.sleep(THRESHOLD)  # a beat
        for record in warnings:
            if record.blocked_function == function.__name__:
                return record
    raise AssertionError(f"{function} was never named")


def line_of(function, text: str) -> int:
    lines, first = inspect.getsourcelines(function)
    return first + next(number for number, line in enumerate(lines) if text in line)


async def test_a_blocking_call_is_named(watchdog, warnings):
    record = await until_warned(warnings, block)
    number = line_of(block, "sleep")
    assert (record.blocked_file, record.blocked_line) == (__file__, number)
    assert record.blocked_seconds > LONG - 0.1
    message = record.getMessage()
    assert f'  File "{__file__}", line {number}, in block\n    time.sleep(LONG)\n' in message
    assert "s, waiting:" in message
    assert "Something held the event loop for" in message


async def test_the_lines_above_it_are_those_of_its_callback(watchdog, warnings):
    record = await until_warned(warnings, block)
    files = [line for line in record.getMessage().splitlines() if line.startswith("  File")]
    assert [line.rpartition(" in ")[2] for line in files][-2:] == ["until_warned", "block"]
    assert not any("asyncio" in line.partition(",")[0] for line in files)


async def test_code_that_computes_is_named_too(watchdog, warnings):
    def compute() -> None:
        began = time.thread_time()
        while time.thread_time() - began < LONG:
            pass

    record = await until_warned(warnings, compute)
    assert "s, computing:" in record.getMessage()


async def test_a_callback_is_named_too(watchdog, warnings):
    def call() -> None:
        block()

    loop = asyncio.get_running_loop()
    for _ in range(ATTEMPTS):
        if not warnings:
            loop.call_soon(call)
            await asyncio.sleep(THRESHOLD)
    assert [line for line in warnings[0].getMessage().splitlines() if "in call" in line]


async def test_the_request_and_its_view_are_named(settings, get, warnings):
    settings.ASYNCVIEWS = {"WATCHDOG_THRESHOLD": THRESHOLD}
    async with lifespan():
        for _ in range(ATTEMPTS):
            if not warnings:
                await get("/blocking/7/")
                await asyncio.sleep(LONG)
    message = warnings[0].getMessage()
    assert message.startswith(f"GET /blocking/7/ ({__name__}.Blocking) held the event loop for ")
    assert warnings[0].view == f"{__name__}.Blocking"
    assert (warnings[0].request_method, warnings[0].request_path) == ("GET", "/blocking/7/")


async def test_a_background_task_is_named_and_not_the_request_that_started_it(
    settings, get, warnings
):
    settings.ASYNCVIEWS = {"WATCHDOG_THRESHOLD": THRESHOLD}
    async with lifespan():
        for _ in range(ATTEMPTS):
            if not warnings:
                await get("/background/")
                await asyncio.sleep(LONG)
    record = warnings[0]
    name = f"{__name__}.block_in_background"
    assert record.getMessage().startswith(f"Background task {name} ({record.task_id}) held")
    assert (record.task_name, record.task_origin) == (name, "GET /background/")


async def test_a_place_is_named_once(watchdog, warnings):
    await until_warned(warnings, block)
    block()
    await until_warned(warnings, block_elsewhere)
    block()
    await asyncio.sleep(THRESHOLD)
    assert [r.blocked_function for r in warnings] == ["block", "block_elsewhere"]


async def test_what_does_not_end_is_named_while_it_lasts(watchdog, warnings, monkeypatch):
    monkeypatch.setattr(diagnosis, "TOO_LONG_TO_WAIT", LONG)

    def block_until_named() -> None:
        end = time.monotonic() + 20
        while not warnings and time.monotonic() < end:
            time.sleep(0.01)

    block_until_named()
    assert " and still does, " in warnings[0].getMessage()
    await asyncio.sleep(THRESHOLD)
    assert len(warnings) == 1


async def test_an_import_is_excused(watchdog, warnings, tmp_path, monkeypatch):
    (tmp_path / "slow_to_import.py").write_text(f"import time\ntime.sleep({LONG})\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("slow_to_import")
    del sys.modules["slow_to_import"]
    await until_warned(warnings, block)
    assert len(warnings) == 1


@pytest.mark.parametrize("name", ["pdb", "bdb", "_pydevd_bundle.pydevd_frame"])
async def test_a_debugger_is_excused(watchdog, warnings, name):
    namespace = {"__name__": name, "sleep": time.sleep}
    exec(f"def ask(): sleep({LONG})", namespace)
    namespace["ask"]()
    await until_warned(warnings, block)
    assert len(warnings) == 1


async def test_many_short_callbacks_are_no_long_one(watchdog, warnings):
    """Together they hold up the loop, but none of them is to blame."""
    loop = asyncio.get_running_loop()
    for _ in range(200):
        loop.call_soon(lambda: time.sleep(0.005))
    began = loop.time()
    await asyncio.sleep(0)
    assert loop.time() - began > 2 * THRESHOLD
    await asyncio.sleep(THRESHOLD)
    assert warnings == []


async def test_other_threads_that_compute_cause_no_false_alarm(watchdog, warnings):
    """The loop waits for the interpreter's lock, and may be late for long."""
    done = threading.Event()

    def compute() -> None:
        while not done.is_set():
            sum(range(1000))

    others = [threading.Thread(target=compute) for _ in range(4)]
    for other in others:
        other.start()
    loop = asyncio.get_running_loop()
    late = 0
    end = loop.time() + 3
    while late < 3 and loop.time() < end:
        began = loop.time()
        await asyncio.sleep(0.01)
        late += loop.time() - began > THRESHOLD
    done.set()
    for other in others:
        other.join()
    assert warnings == []


async def test_awaiting_is_no_blocking(watchdog, warnings):
    await asyncio.sleep(LONG)
    await asyncio.to_thread(block)
    assert warnings == []


@pytest.mark.parametrize(
    ("debug", "options", "watched"),
    [
        (False, {}, False),
        (True, {}, True),
        (True, {"WATCHDOG_THRESHOLD": 0}, False),
        (False, {"WATCHDOG_THRESHOLD": 0.5}, True),
    ],
)
async def test_it_is_there_while_debug_is_on_or_when_it_is_asked_for(
    settings, debug, options, watched
):
    settings.DEBUG = debug
    settings.ASYNCVIEWS = options
    async with lifespan():
        assert ("asyncviews-watchdog" in names()) is watched
    assert "asyncviews-watchdog" not in names()


def names() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


async def test_it_goes_at_once(watchdog, warnings):
    block()
    began = time.monotonic()
    watchdog.stop()
    assert time.monotonic() - began < 5
    watchdog._meter.close = nullcontext  # the fixture stops it again


async def test_its_own_failure_is_logged_and_does_not_end_it(watchdog, warnings, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(diagnosis, "blamed", lambda stack: 1 / 0)
        for _ in range(ATTEMPTS):
            if not warnings:
                block_elsewhere()
                await asyncio.sleep(THRESHOLD)
        failure = warnings.pop(0)
    assert failure.getMessage() == "The watchdog failed, and goes on."
    assert failure.exc_info
    await until_warned(warnings, block)


async def test_a_failing_sign_of_life_does_not_end_it(watchdog, warnings, monkeypatch):
    read = failing_once(watchdog._meter.read, ValueError("once"))
    monkeypatch.setattr(watchdog._meter, "read", read)
    await until(lambda: read.called)
    alive = watchdog._alive
    await until(lambda: watchdog._alive is not alive)


def test_a_loop_that_is_gone_ends_it():
    loop = asyncio.new_event_loop()
    watchdog = Watchdog(loop, THRESHOLD)

    def live() -> None:
        loop.call_soon(watchdog.start)
        loop.call_later(THRESHOLD, loop.stop)
        loop.run_forever()

    thread = threading.Thread(target=live)
    thread.start()
    thread.join()
    watchdog._thread.join(20)
    assert not watchdog._thread.is_alive()
    watchdog.stop()
    loop.close()


SITE = "/usr/lib/python3/dist-packages"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["/site/views.py", "/site/tasks.py", threading.__file__], ["/site/views.py", "/site/tasks.py"]),
        ([f"{SITE}/hypercorn/run.py", f"{SITE}/whitenoise/base.py", threading.__file__],
         [f"{SITE}/whitenoise/base.py"]),
        ([f"{SITE}/whitenoise/base.py", "/site/views.py"], ["/site/views.py"]),
        ([diagnosis.__file__, "<frozen abc>"], [diagnosis.__file__, "<frozen abc>"]),
    ],
)  # fmt: skip
def test_who_is_blamed(files, expected):
    stack = tuple(Line(file, 1, "f") for file in files)
    assert [line.file for line in blamed(stack)] == expected


async def test_another_thread_is_told_what_runs_on_a_loop() -> None:
    loop, thread = asyncio.get_running_loop(), threading.get_ident()
    seen = threading.Event()
    told: list[str] = []

    def ask() -> None:
        told.append(what_runs(loop, thread))
        seen.set()

    def hold_the_loop() -> None:
        threading.Thread(target=ask).start()
        assert seen.wait(10)

    loop.call_soon(hold_the_loop)
    await asyncio.sleep(0)
    await asyncio.to_thread(lambda: None)
    assert told[0].startswith(f'Something holds it:\n  File "{__file__}", line ')
    assert "in hold_the_loop" in told[0]
    assert await asyncio.to_thread(what_runs, loop, 0) == "Nothing runs on it."
