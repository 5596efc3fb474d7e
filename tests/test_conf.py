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
        ({"DRAIN_TIMOUT": 1}, "DRAIN_TIMOUT: .*Known keys: .*DRAIN_TIMEOUT"),
        ({"DRAIN_TIMEOUT": "soon"}, "DRAIN_TIMEOUT: .*number"),
        ({"DRAIN_TIMEOUT": 60}, "DRAIN_TIMEOUT: .*less than 60"),
        ({"MAX_RUNNING": 0, "MAX_WAITING": -1}, "MAX_RUNNING: .*; MAX_WAITING: "),
        ({"max_running": 1}, "keys are upper case.*max_running"),
        ([], "must be a dictionary"),
    ],
)
def test_a_mistake_is_named(value, message):
    with (
        override_settings(ASYNCVIEWS=value),
        pytest.raises(ImproperlyConfigured, match=f"^ASYNCVIEWS:? .*{message}"),
    ):
        get_settings()
