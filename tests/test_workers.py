"""The parent of workers and the watch over loops, as far as they need no processes; see tests/live."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from asyncviews import serving, workers
from asyncviews.pulse import Silence
from asyncviews.server import Options
from asyncviews.stop import Stop
from asyncviews.systemd import Notifier
from tests.conftest import until

OPTIONS = Options(application="none", drain_timeout=1, hang_timeout=0.005, workers=2)


class Fails(Silence):
    """One that cannot be looked at the first time, and then is a long silence."""

    def __init__(self) -> None:
        super().__init__(every=1)
        self._failures = iter([OSError("once")])

    def look(self) -> float:
        for failure in self._failures:
            raise failure
        return 100.0


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_failure_does_not_end_the_watch_over_a_loop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stop, ended = Stop(1), []

    def end_hung(seconds: float) -> None:
        ended.append(seconds)
        stop.requested = True

    monkeypatch.setattr(stop, "end_hung", end_hung)
    serving._end_when_silent(Fails(), stop, OPTIONS.hang_timeout)
    assert ended == [OPTIONS.hang_timeout]
    assert messages(caplog) == ["The watch over the event loop failed, and goes on."]


@pytest.fixture
def supervisor() -> workers.Supervisor:
    return workers.Supervisor(OPTIONS, [], lambda: None, Notifier())


async def test_a_failure_does_not_end_the_watch_over_workers(
    supervisor: workers.Supervisor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Worker:
        ready, hung, silence = True, False, Fails()

    worker, ended = cast("workers._Worker", Worker()), []
    supervisor._workers.add(worker)
    monkeypatch.setattr(supervisor, "_end_silent", ended.append)
    watch = asyncio.create_task(supervisor._watch_loops())
    await until(lambda: worker in ended)
    supervisor._stopping.set()
    await watch
    assert messages(caplog) == ["The watch over the workers failed, and goes on."]


async def test_a_restart_that_fails_leaves_the_next_to_come(
    supervisor: workers.Supervisor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    outcomes: list[Any] = [ValueError("once"), True]
    restarted = asyncio.Event()

    async def restart(began: float) -> bool:
        if isinstance(outcome := outcomes.pop(0), Exception):
            raise outcome
        restarted.set()
        return True

    monkeypatch.setattr(supervisor, "_restart", restart)
    waiting = asyncio.create_task(supervisor._restart_when_asked())
    supervisor._restart_asked.set()
    await until(lambda: len(outcomes) == 1)
    supervisor._restart_asked.set()
    await asyncio.wait_for(restarted.wait(), 5)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert messages(caplog)[0] == "The restart has failed, and the old workers go on."
