"""The application on other ASGI servers: what the guide says of them."""

from __future__ import annotations

import importlib.util
import time

import httpx
import pytest

from tests.conftest import missing
from tests.live.conftest import StartServer
from tests.live.server_process import PATIENCE, ProjectServer, free_port, until

pytestmark = [pytest.mark.live, pytest.mark.once_in_ci, pytest.mark.timeout(90)]

APPLICATION = "project.asgi:application"
COMMANDS = {
    "hypercorn": ["hypercorn", APPLICATION, "--bind", "127.0.0.1:{port}"],
    "uvicorn": ["uvicorn", APPLICATION, "--port", "{port}"],
    "uvicorn, 2 workers": ["uvicorn", APPLICATION, "--port", "{port}", "--workers", "2"],
    "granian": ["granian", APPLICATION, "--interface", "asgi", "--port", "{port}"],
    "granian, 2 workers": [
        "granian", APPLICATION, "--interface", "asgi", "--port", "{port}", "--workers", "2",
    ],
    "gunicorn, 2 workers": [
        "gunicorn", APPLICATION, "-k", "uvicorn_worker.UvicornWorker", "-w", "2",
        "-b", "127.0.0.1:{port}",
    ],
    "daphne": ["daphne", APPLICATION, "--port", "{port}"],
}  # fmt: skip


@pytest.fixture(params=COMMANDS)
def server(request: pytest.FixtureRequest, start_server: StartServer) -> ProjectServer:
    command = COMMANDS[request.param]
    if importlib.util.find_spec(command[0]) is None:
        missing(f"no {command[0]}: pip install 'asyncviews[servers]'")
    port = free_port()
    server = start_server(*(part.format(port=port) for part in command), drain_timeout="10")
    server.address = f"http://127.0.0.1:{port}"
    until(lambda: answers(server), server)
    workers = 2 if "2 workers" in request.param else 1
    if command[0] == "granian":  # a SIGTERM before that leaves it hanging
        for number in range(workers):
            server.wait_for_output(f"Started worker-{number + 1}")
    elif command[0] != "daphne":
        server.wait_for_note("opened", times=workers)
    return server


def answers(server: ProjectServer) -> bool:
    try:
        return httpx.get(server.url).status_code == 200
    except httpx.TransportError:
        return False


def test_events_arrive_and_a_stop_loses_no_task(
    server: ProjectServer, request: pytest.FixtureRequest
) -> None:
    with httpx.stream("GET", f"{server.url}/twice/", timeout=PATIENCE) as response:
        lines = response.iter_lines()
        assert [next(lines) for _ in range(3)] == ["data: once", "", "data: twice"]
    server.get("/start/roast/", seconds=1)
    server.wait_for_note("roasting")
    began = time.monotonic()
    server.stop()
    assert "roasted" in server.notes
    assert time.monotonic() - began < PATIENCE
    assert "is cut off" not in server.output
    if request.node.callspec.params["server"] != "daphne":  # it sends no lifespan events
        assert server.notes.count("opened") == server.notes.count("closed") > 0
