"""The garbage collector while a process serves."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator

from asyncviews.asgi import ASGIHandler
from asyncviews.garbage import DEFAULTS, THRESHOLD, collected_rarely


@pytest.fixture(autouse=True)
def _as_it_begins() -> Iterator[None]:
    """With nothing frozen, as the tests have it (see conftest.py), and the thresholds of Python."""
    gc.unfreeze()
    yield
    gc.collect()
    gc.freeze()


def test_the_interpreters_thresholds_are_known():
    assert gc.get_threshold() in DEFAULTS


async def test_while_the_application_lives_collections_are_rare_and_small():
    before = gc.get_threshold()
    application = ApplicationCommunicator(ASGIHandler(), {"type": "lifespan"})
    await application.send_input({"type": "lifespan.startup"})
    assert await application.receive_output(5) == {"type": "lifespan.startup.complete"}
    assert gc.get_freeze_count() > 10_000
    assert gc.get_threshold() == (THRESHOLD, *before[1:])
    await application.send_input({"type": "lifespan.shutdown"})
    assert await application.receive_output(5) == {"type": "lifespan.shutdown.complete"}
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == before


def test_thresholds_that_somebody_has_set_are_left(request: Any):
    request.addfinalizer(lambda: gc.set_threshold(*before))
    before = gc.get_threshold()
    gc.set_threshold(5, 6, 7)
    with collected_rarely():
        assert gc.get_threshold() == (5, 6, 7)
    assert gc.get_threshold() == (5, 6, 7)


def test_what_was_frozen_before_stays_so():
    gc.freeze()
    with collected_rarely():
        pass
    assert gc.get_freeze_count() > 0
