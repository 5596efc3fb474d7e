"""What kept a thread from going on: itself, or something else."""

from __future__ import annotations

import gc
import threading
import time
from dataclasses import asdict

import pytest

from asyncviews.thread_usage import Meter, Usage


def usage(**seconds: float) -> Usage:
    nothing = dict.fromkeys(("elapsed", "computing", "queued", "others", "collecting"), 0.0)
    return Usage(**nothing | seconds)


@pytest.mark.parametrize(
    ("seconds", "delayed", "own"),
    [
        ({"elapsed": 5, "computing": 0}, 0, 5),  # it sleeps
        ({"elapsed": 5, "computing": 5}, 4, 5),  # it computes, and holds the interpreter's lock
        ({"elapsed": 5, "computing": 1, "queued": 4}, 0, 1),  # the machine is busy
        ({"elapsed": 5, "computing": 1, "queued": 4}, 4, 1),  # and so for everybody
        ({"elapsed": 5, "computing": 1, "others": 4}, 0, 1),  # other threads compute
        ({"elapsed": 5, "computing": 1, "others": 9}, 0, 1),  # on several processors
        ({"elapsed": 5, "others": 1}, 0, 4),  # it sleeps meanwhile
        ({"elapsed": 5}, 5, 0),  # the process was stopped
        ({"elapsed": 5, "computing": 5, "collecting": 4}, 0, 1),  # garbage is collected
    ],
)
def test_what_a_thread_has_itself_taken(seconds, delayed, own):
    assert usage(**seconds).own(delayed=delayed) == own


def test_what_counts_is_a_difference():
    before, after = usage(elapsed=1, queued=2, others=3), usage(elapsed=4, queued=4, others=4)
    assert after - before == usage(elapsed=3, queued=2, others=1)


@pytest.fixture
def meter():
    meter = Meter()
    yield meter
    meter.close()


def test_sleep_is_not_computing(meter):
    before = meter.read()
    time.sleep(0.2)
    slept = meter.read() - before
    assert slept.elapsed >= 0.2
    assert slept.computing < 0.1
    assert slept.queued < slept.elapsed


def test_computing_is_measured_from_another_thread(meter):
    before = meter.read()
    while meter.read().computing - before.computing < 0.1:
        pass
    found: list[Usage] = []
    reader = threading.Thread(target=lambda: found.append(meter.read() - before))
    reader.start()
    reader.join()
    assert found[0].computing >= 0.1
    assert found[0].elapsed >= found[0].computing


def test_what_other_threads_compute_is_told_apart(meter):
    before = meter.read()

    def compute() -> None:
        began = time.thread_time()
        while time.thread_time() - began < 0.2:
            sum(range(100))

    other = threading.Thread(target=compute)
    other.start()
    other.join()
    computed = meter.read() - before
    assert computed.others >= 0.15
    assert computed.others > computed.computing


@pytest.fixture
def no_collection_by_itself():
    gc.disable()
    yield
    gc.enable()


def test_collections_on_the_thread_are_measured(meter, no_collection_by_itself):
    before = meter.read()
    gc.collect()
    assert 0 < (meter.read() - before).collecting <= (meter.read() - before).elapsed
    before = meter.read()
    other = threading.Thread(target=gc.collect)
    other.start()
    other.join()
    assert (meter.read() - before).collecting == 0


def test_a_system_that_tells_less_is_served_as_well(monkeypatch):
    monkeypatch.delattr(time, "pthread_getcpuclockid")
    monkeypatch.setattr("os.open", lambda *_: (_ for _ in ()).throw(FileNotFoundError))
    meter = Meter()
    before = meter.read()
    time.sleep(0.1)
    slept = meter.read() - before
    meter.close()
    assert slept.elapsed >= 0.1
    assert asdict(slept) == asdict(usage(elapsed=slept.elapsed, collecting=slept.collecting))


def test_a_meter_leaves_nothing_behind():
    before = list(gc.callbacks)
    Meter().close()
    assert gc.callbacks == before
