"""Settings are typed, and a mistake in them is named."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from asyncviews.conf import get_settings


def test_there_are_defaults():
    settings = get_settings()
    assert settings.drain_timeout == 30.0
    assert settings.max_running == 100
    assert settings.resources == ("asyncviews.resources.http_client",)


def test_what_a_test_overrides_is_seen_at_once():
    with override_settings(ASYNCVIEWS={"DRAIN_TIMEOUT": 2}):
        assert get_settings().drain_timeout == 2.0
    assert get_settings().drain_timeout == 30.0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"DRAIN_TIMOUT": 1}, r"\['DRAIN_TIMOUT'\]: unknown key \(did you mean DRAIN_TIMEOUT\?\)"),
        ({"DRAIN_TIMEOUT": "soon"}, r"\['DRAIN_TIMEOUT'\]: .*number"),
        ({"DRAIN_TIMEOUT": 60}, r"\['DRAIN_TIMEOUT'\]: .*less than 60"),
        (
            {"MAX_RUNNING": 0, "MAX_WAITING": -1},
            r"\['MAX_RUNNING'\]: .* ASYNCVIEWS\['MAX_WAITING'\]: ",
        ),
        ({"max_running": 1}, r"\['max_running'\]: unknown key \(did you mean MAX_RUNNING\?\)"),
        ({"nothing": 1}, r"\['nothing'\]: unknown key \(known: RESOURCES, PROBLEMS"),
        ({1: 1}, r"\[1\]: unknown key \(known: RESOURCES"),
        ({"PROBLEMS": {"a.B": 1}}, r"\['PROBLEMS'\]\['a.B'\]: Input should be a valid string"),
        ({"max_running": 1, "MAX_WAITING": -1}, r"\['max_running'\].*\['MAX_WAITING'\]: Input"),
        ([], "must be a dictionary"),
    ],
)
def test_a_mistake_is_named(value, message):
    with (
        override_settings(ASYNCVIEWS=value),
        pytest.raises(ImproperlyConfigured, match=f"^ASYNCVIEWS ?{message}"),
    ):
        get_settings()
