"""Metrics of a server with several workers."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.live.conftest import StartServer
from tests.live.server_process import ProjectServer, until

pytestmark = pytest.mark.live


def scrape(server: ProjectServer, sample: str, **labels: str) -> float | None:
    text = httpx.get(f"{server.url}/metrics/", timeout=20).text
    for family in text_string_to_metric_families(text):
        for found in family.samples:
            if found.name == sample and labels.items() <= found.labels.items():
                return found.value
    return None


def test_each_worker_answers_for_all(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "metrics"
    directory.mkdir()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(directory))
    command = ("django", "serve", "127.0.0.1:0", "--workers", "2")
    server = start_server(*command, metrics="1")
    seen: list[str] = []

    def ask() -> str:
        seen.append(server.get())
        return seen[-1]

    until(lambda: ask() and len(set(seen)) == 2, server)
    requests = scrape(server, "asyncviews_http_requests_total", view="project.urls.Pid")
    assert requests == len(seen)

    def threads() -> float | None:
        return scrape(server, "asyncviews_threads_limit", pool="request")

    until(lambda: threads() == 32, server)
    victim = seen[-1]
    os.kill(int(victim), signal.SIGKILL)
    until(lambda: not list(directory.glob(f"gauge_livesum_{victim}.db")), server)
    until(lambda: threads() == 32, server)  # its gauges are gone, those of its successor are there
