"""Signs of life of an event loop, and how long there has been none."""

from __future__ import annotations

import asyncio

import pytest

from asyncviews.pulse import Silence, beat


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
