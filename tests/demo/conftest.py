from __future__ import annotations

import asyncio
import logging
import runpy
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.test import override_settings

from asyncviews.background import runner
from tests.demo.website import Website, running_website
from tests.site_database import migrated_directory, site_alias, site_database

__all__ = ["migrated_directory", "site_alias", "site_database"]  # fixtures

KEPT = {"DATABASES", "LOGGING"}
"""Settings that stay those of the suite: its databases, and a log that `caplog` can read."""


@pytest.fixture
def demo_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., SimpleNamespace]:
    """The demo's settings as they are with some environment variables."""

    def load(**variables: str) -> SimpleNamespace:
        for name, value in {"DEMO_VAR": str(tmp_path), **variables}.items():
            monkeypatch.setenv(name, value)
        module = runpy.run_module("demo_site.settings")
        return SimpleNamespace(**{name: module[name] for name in module if name.isupper()})

    return load


@pytest.fixture(autouse=True)
def demo(demo_settings: Callable[..., SimpleNamespace]) -> Iterator[None]:
    """The demo's own settings, without the pauses, and for the host of Django's test client."""
    chosen = vars(demo_settings(DEMO_STEP_SECONDS="0", DEMO_ALLOWED_HOSTS="testserver"))
    with override_settings(**{name: chosen[name] for name in chosen.keys() - KEPT}):
        yield


@pytest.fixture
def website() -> Iterator[Website]:
    with running_website() as website:
        yield website


@pytest.fixture
def background_work() -> Callable[[], Awaitable[None]]:
    """Wait for all background tasks; raise what the first of them raised."""

    async def wait() -> None:
        await asyncio.gather(*runner.unfinished())

    return wait


@pytest.fixture
def steps(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What the demo's work has logged."""
    caplog.set_level(logging.INFO, logger="demo_site")
    return lambda: [
        record.getMessage() for record in caplog.records if record.name == "demo_site.tasks"
    ]
