"""The demo as its users meet it: a server process, HTTP, and the lines in its terminal."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.demo.server import HYPERCORN, PROJECT, RUNSERVER, SERVE, DemoServer, serving
from tests.demo.test_tasks import FIVE_STEPS
from tests.demo.website import Website, running_website
from tests.live.server_process import SOON, until

pytestmark = pytest.mark.live

STEP = 0.5


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    """The demo with half a second a step, its first requests behind it."""
    var = tmp_path_factory.mktemp("var")
    with serving(var, DEMO_STEP_SECONDS=str(STEP)) as server:
        for path in ("/", "/weather.json", "/admin/login/"):
            httpx.get(f"{server.url}{path}").raise_for_status()
        yield server
        assert server.stop()[0] == 0
        assert [line for line in server.lines if "ERROR" in line] == []


@pytest.fixture
def website() -> Iterator[Website]:
    with running_website() as website:
        yield website


def timed_get(url: str, **query: str) -> tuple[str, float]:
    began = time.monotonic()
    response = httpx.get(url, params=query, timeout=20)
    elapsed = time.monotonic() - began
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    return response.text, elapsed


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/async/", "Non-blocking HTTP request"),
        ("/sync_to_async/", "Non-blocking HTTP request (via sync_to_async)"),
    ],
)
def test_the_answer_comes_before_the_last_step(demo: DemoServer, path: str, text: str) -> None:
    before = len(demo.lines)
    answer, elapsed = timed_get(f"{demo.url}{path}")
    assert answer == text
    assert elapsed < 5 * STEP
    demo.wait_for("demo_site.tasks: GET", after=before)
    assert demo.steps(after=before) == [*FIVE_STEPS, f"GET {demo.url}/: 200"]


def test_the_blocking_twin_answers_after_five_steps(demo: DemoServer) -> None:
    before = len(demo.lines)
    answer, elapsed = timed_get(f"{demo.url}/sync/")
    assert answer == "Blocking HTTP request"
    assert 5 * STEP <= elapsed < 5 * STEP + SOON
    demo.wait_for("demo_site.tasks: GET", after=before)
    assert demo.steps(after=before) == [*FIVE_STEPS, f"GET {demo.url}/: 200"]


def test_smoke_some_meats(demo: DemoServer) -> None:
    before = len(demo.lines)
    answer, elapsed = timed_get(
        f"{demo.url}/smoke_some_meats/", to_smoke="Ribs, brisket", flavor="Honey"
    )
    assert answer == "Smoking some Ribs and brisket...."
    assert elapsed < 4 * STEP
    demo.wait_for("Who doesn't love", after=before)
    assert demo.steps(after=before) == [
        "Smoking some ribs....",
        "Applying the Honey....",
        "Ribs smoked.",
        "Smoking some brisket....",
        "Applying the Honey....",
        "Brisket smoked.",
        "Who doesn't love smoked meats?",
    ]


async def test_burning_meats_stops_the_whole_worker(demo: DemoServer) -> None:
    """A request that comes while they burn waits until they are burned."""
    before = len(demo.lines)
    slowest = 0.0
    async with httpx.AsyncClient(base_url=demo.url, timeout=20) as client:
        burning = asyncio.create_task(client.get("/burn_some_meats/"))
        while not burning.done():
            began = time.monotonic()
            await client.get("/weather.json")
            slowest = max(slowest, time.monotonic() - began)
    assert burning.result().text == "Burned some meats."
    assert slowest > 4 * STEP
    demo.wait_for("burned meats", after=before)
    assert demo.steps(after=before) == ["Who doesn't love burned meats?"]


def test_the_code_that_burns_meats_is_named_once_and_no_other(tmp_path: Path) -> None:
    held = re.compile(r"WARNING asyncviews.diagnosis: (.*) held the event loop for .* waiting:")
    with serving(tmp_path, DEMO_STEP_SECONDS="0.3") as server:
        for path in ("/", "/burn_some_meats/", "/weather.json", "/burn_some_meats/", "/admin/"):
            httpx.get(f"{server.url}{path}", timeout=20)
        server.wait_for(held.pattern)
        server.stop()
        named = [match[1] for line in server.lines if (match := held.search(line))]
        assert named == ["GET /burn_some_meats/ (demo_site.views.BurnSomeMeats)"]
        culprit = next(n for n, line in enumerate(server.lines) if "in oversmoke" in line)
        assert "time.sleep(" in server.lines[culprit + 1]


@pytest.mark.parametrize(
    ("path", "text", "logged"),
    [
        ("/send_an_email/", "Sending an e-mail....", "Sent an e-mail, see .+mail"),
        ("/call_an_api/", "Checking the weather....", "Memphis: clear, 24.5 °C"),
        ("/write_a_file/", "Signing the guest book....", "Signed the guest book, see .+txt"),
    ],
)
def test_more_work_for_the_background(demo: DemoServer, path: str, text: str, logged: str) -> None:
    before = len(demo.lines)
    answer, _ = timed_get(f"{demo.url}{path}")
    assert answer == text
    demo.wait_for(logged, after=before)


@pytest.mark.parametrize("command", [HYPERCORN, RUNSERVER], ids=["hypercorn", "runserver"])
def test_the_front_page_and_what_it_loads(tmp_path: Path, command: list[str]) -> None:
    with serving(tmp_path, command) as server, httpx.Client(base_url=server.url) as client:
        page = client.get("/").text
        assert "Hello, async Django!" in page
        addresses = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
        assert len(addresses) == 4
        assert {client.get(address).status_code for address in addresses} == {200}


def test_the_admin(demo: DemoServer) -> None:
    response = httpx.get(f"{demo.url}/admin/", follow_redirects=True)
    assert response.status_code == 200
    assert "Django administration" in response.text


@pytest.mark.parametrize(
    "command",
    [HYPERCORN, SERVE, [*SERVE, "--workers", "2"]],
    ids=["hypercorn", "serve", "workers"],
)
def test_a_stop_loses_no_work_that_fits_the_deadline(
    tmp_path: Path, website: Website, command: list[str]
) -> None:
    """SIGTERM comes while everything works; the terminal shows the end of all of it."""
    variables = {"DEMO_STEP_SECONDS": "0.2", "DEMO_HTTP_URL": f"{website.url}/"}
    with serving(tmp_path, command, **variables) as server:
        for path in ("/async/", "/sync_to_async/", "/smoke_some_meats/", "/async/"):
            httpx.get(f"{server.url}{path}").raise_for_status()
        server.wait_for("Step 1")
        assert server.stop()[0] == 0
        steps = server.steps()
        assert [line for line in server.lines if "ERROR" in line] == []
    assert [steps.count(step) for step in FIVE_STEPS] == [3, 3, 3, 3, 3]
    assert steps.count(f"GET {website.url}/: 200") == 3
    assert len([step for step in steps if step.endswith(" smoked.")]) == 6
    assert steps.count("Who doesn't love smoked meats?") == 1
    assert len(website.requests) == 3


@pytest.mark.parametrize("command", [SERVE, RUNSERVER], ids=["serve", "runserver"])
def test_an_open_event_stream_does_not_delay_the_end(tmp_path: Path, command: list[str]) -> None:
    """A page that is open in a browser would take the 30 seconds of the deadline."""
    with (
        serving(tmp_path, command) as server,
        httpx.stream("GET", f"{server.url}/api/batches/events/", timeout=20) as stream,
    ):
        lines = stream.iter_lines()
        assert next(lines) == "retry: 1000"
        code, elapsed = server.stop()
        assert list(lines)[-1] == ""  # it ended as streams do, and was not cut
        assert elapsed < 15
        assert code in {0, -signal.SIGTERM, 128 + signal.SIGTERM}
        assert [line for line in server.lines if "cut off" in line] == []


@pytest.mark.timeout(120)
def test_a_batch_does_not_smoke_on_when_its_process_was_killed(tmp_path: Path) -> None:
    with serving(tmp_path, DEMO_STEP_SECONDS="0.2") as server, httpx.Client() as client:
        token = client.get(f"{server.url}/").cookies["csrftoken"]
        client.post(
            f"{server.url}/api/batches/",
            json={"meats": ["ribs"]},
            headers={"X-CSRFToken": token},
        ).raise_for_status()
        until(lambda: smoking(server), server)
        server.stop(signal.SIGKILL)
    with serving(tmp_path, DEMO_STEP_SECONDS="0.2") as server:
        assert until(lambda: not smoking(server), server, seconds=60)
        [batch] = httpx.get(f"{server.url}/api/batches/").json()
        assert (batch["status"], batch["percent"] < 100) == ("lost", True)


def smoking(server: DemoServer) -> bool:
    [batch] = httpx.get(f"{server.url}/api/batches/").json()
    return bool(batch["status"] == "smoking")


def test_it_works_from_nothing(tmp_path: Path) -> None:
    """`python -m demo_site` has the commands that make a database and let its owner in."""
    environment = {**os.environ, "DEMO_VAR": str(tmp_path), "DJANGO_SUPERUSER_PASSWORD": "smoke"}
    del environment["DJANGO_SETTINGS_MODULE"]
    commands = [
        ["migrate", "--verbosity", "0"],
        ["createsuperuser", "--noinput", "--username", "cook", "--email", "cook@example.com"],
    ]
    for command in commands:
        subprocess.run(
            [sys.executable, "-m", "demo_site", *command],
            cwd=PROJECT,
            env=environment,
            check=True,
            capture_output=True,
        )
    with serving(tmp_path) as server, httpx.Client(base_url=server.url) as client:
        client.get("/admin/login/").raise_for_status()
        form = {
            "username": "cook",
            "password": "smoke",
            "csrfmiddlewaretoken": client.cookies["csrftoken"],
        }
        response = client.post("/admin/login/?next=/admin/", data=form, follow_redirects=True)
        assert response.url.path == "/admin/"
        assert "Site administration" in response.text
