"""Signs of life of an event loop, and how long there has been none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from asyncviews.pulse import Repeated, Silence, beat


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("asyncviews.pulse.time", clock)
    return clock


async def test_a_loop_gives_signs_of_life_while_it_runs() -> None:
    signs: asyncio.Queue[None] = asyncio.Queue()
    beat(lambda: signs.put_nowait(None), 0.001)
    assert signs.qsize() == 1
    for _ in range(3):
        await asyncio.wait_for(signs.get(), 5)


async def test_what_fails_is_repeated_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Until it has worked again."""
    outcomes: Iterator[object] = iter((1, ValueError("a"), ValueError("b"), 1, ValueError("c"), 1))
    done = asyncio.Event()

    def look() -> None:
        outcome = next(outcomes, None)
        if outcome is None:
            done.set()
        if isinstance(outcome, Exception):
            raise outcome

    beat(Repeated(look, "The look", logging.getLogger("asyncviews.server")), 0.001)
    await asyncio.wait_for(done.wait(), 5)
    assert [record.getMessage() for record in caplog.records] == [
        "The look failed, and goes on."
    ] * 2
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["a", "c"]


def test_silence_lasts_until_a_sign_of_life(clock: Clock) -> None:
    silence = Silence(every=1)
    clock.now += 1
    assert silence.look() == 1
    clock.now += 1.5
    assert silence.look() == 2.5
    silence.end()
    clock.now += 1
    assert silence.look() == 1


def test_time_in_which_nobody_looked_does_not_count(clock: Clock) -> None:
    """As when the observer was stopped, with the loop or alone."""
    silence = Silence(every=1)
    clock.now += 1
    assert silence.look() == 1
    clock.now += 3600
    assert silence.look() == 3
