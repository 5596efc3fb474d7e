"""``manage.py runserver``: Django's development server, on Hypercorn."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import django
import httpx
import pytest

from tests.live.conftest import StartServer
from tests.live.server_process import LIVE, SOON, ProjectServer, free_port, is_running, until

pytestmark = pytest.mark.live


@pytest.fixture
def runserver(start_server: StartServer) -> StartServer:
    def start(*options: str, address: str = "127.0.0.1:0", **how: str | Path) -> ProjectServer:
        command = ("django", "runserver", address, *options)
        server = start_server(*command, **{"debug": "1", **how})
        server.wait_for_output(r"Quit the server with CONTROL-C\.")
        return server

    return start


@pytest.fixture
def free_address() -> str:
    """Where a server can listen, again after each reload."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A copy of the project, to be changed."""
    shutil.copytree(LIVE / "project", tmp_path / "home" / "project")
    return tmp_path / "home"


def test_the_messages_are_djangos(runserver: StartServer) -> None:
    server = runserver()
    server.get()
    server.wait_for_output("GET / ")
    expected = rf"""Watching for file changes with \w+Reloader
Performing system checks\.\.\.

System check identified no issues \(0 silenced\)\.
\w+ \d\d, \d{{4}} - \d\d:\d\d:\d\d
Django version {re.escape(django.get_version())}, using settings 'project\.settings'
Starting ASGI/Hypercorn development server at http://127\.0\.0\.1:\d+/
Quit the server with CONTROL-C\.
WARNING: This is a development server\. .*
\[\d\d/\w+/\d{{4}} \d\d:\d\d:\d\d\] "GET / HTTP/1\.1" 200 -"""
    assert re.fullmatch(expected, server.output)


def test_static_files_are_served_as_options_say(runserver: StartServer) -> None:
    assert runserver().get("/static/hello.txt") == "a static file\n"
    for server in (runserver("--nostatic"), runserver(debug="0")):
        assert httpx.get(f"{server.url}/static/hello.txt").status_code == 404
    assert runserver("--insecure", debug="0").get("/static/hello.txt") == "a static file\n"


@pytest.mark.parametrize("options", [(), ("--noreload", "--nothreading")])
def test_ctrl_c_stops_it_with_requests_open(
    runserver: StartServer, options: tuple[str, ...]
) -> None:
    """At once; resources are closed, and what is lost is named."""
    server = runserver(*options, drain_timeout="30")
    pid = int(server.get())
    server.open("/sleep/?seconds=60")
    server.open("/stream/")
    server.get("/start/roast/", seconds=60)
    server.wait_for_note("asleep")
    server.wait_for_note("roasting")
    code, elapsed = server.stop(signal.SIGINT, group=True)
    assert code == 0
    assert elapsed < SOON
    assert server.notes[-1] == "closed", server.output
    assert "GET /sleep/ is cut off" in server.output
    assert re.search(r"task project\.urls\.roast .* is cut off", server.output)
    assert "Traceback" not in server.output
    assert not is_running(pid)


@pytest.mark.parametrize(
    ("options", "path"),
    [((), "/block/"), ((), "/sync_sleep/"), (("--noreload",), "/block/")],
)
def test_ctrl_c_stops_it_when_views_block(
    runserver: StartServer, options: tuple[str, ...], path: str
) -> None:
    server = runserver(*options, drain_timeout="50")
    server.get()
    server.open(f"{path}?seconds=60")
    server.wait_for_note("blocked")
    code, elapsed = server.stop(signal.SIGINT, group=True)
    assert code == 0
    assert elapsed < SOON


def test_ctrl_c_is_quick_when_nothing_runs(runserver: StartServer) -> None:
    server = runserver(drain_timeout="50")
    with httpx.Client() as client:
        client.get(server.url)
        code, elapsed = server.stop(signal.SIGINT, group=True)
    assert code == 0
    assert elapsed < SOON
    assert server.notes == ["opened", "closed"]


@pytest.mark.parametrize("options", [(), ("--noreload",)])
def test_sigterm_to_the_command_alone_stops_it(
    runserver: StartServer, options: tuple[str, ...]
) -> None:
    """As `kill` or a process manager sends it: no child is left, resources are closed."""
    server = runserver(*options)
    pid = int(server.get())
    code, _ = server.stop()
    assert code == 0
    assert not is_running(pid)
    assert server.notes == ["opened", "closed"]


def test_every_save_reloads(runserver: StartServer, home: Path, free_address: str) -> None:
    """New code answers; before that the resources of the old were closed."""
    server = runserver(address=free_address, home=home)
    assert server.get().isdecimal()
    source = home / "project" / "urls.py"
    original = source.read_text()
    for number in (1, 2):
        text = f"version {number}"
        save(
            source,
            original.replace("str(os.getpid())", repr(text)),
            partial(answers, server.url, text),
        )
    assert server.notes == ["opened", "closed"] * 2 + ["opened"]


def test_a_reload_does_not_wait_for_open_requests(
    runserver: StartServer, home: Path, free_address: str
) -> None:
    """Whether they wait, stream, or block the event loop; lost tasks are named."""
    server = runserver(address=free_address, home=home, drain_timeout="30")
    first = server.get()
    server.open("/sleep/?seconds=60")
    server.open("/stream/")
    server.get("/start/roast/", seconds=60)
    server.wait_for_note("roasting")
    source = home / "project" / "urls.py"
    save(source, source.read_text(), lambda: server.notes.count("opened") == 2)
    assert server.notes[-2:] == ["closed", "opened"]
    assert re.search(r"task project\.urls\.roast .* is cut off", server.output)
    second = server.get()
    server.open("/block/?seconds=60")
    server.wait_for_note("blocked")
    save(source, source.read_text(), lambda: server.notes.count("opened") == 3)
    assert server.get() not in {first, second}


def test_a_mistake_in_the_code_waits_for_its_correction(
    runserver: StartServer, home: Path, free_address: str
) -> None:
    server = runserver(address=free_address, home=home)
    source = home / "project" / "urls.py"
    original = source.read_text()
    server.get()
    save(source, original + "\n1 +\n", lambda: "SyntaxError" in server.output)
    save(source, original, partial(answers, server.url))


def test_after_a_failed_startup_each_request_tries_again(
    runserver: StartServer, tmp_path: Path
) -> None:
    """And is told at once when that has failed, too: nobody need save a file."""
    (tmp_path / "broken").touch()
    server = runserver(resources="project.resources.oven", oven=tmp_path)
    server.wait_for_output("The next request tries to start the application again")
    assert server.output.count("The application's startup failed") == 1
    failed = httpx.get(server.url, headers={"Accept": "text/html"}, timeout=SOON)
    assert failed.status_code == 503
    assert "the oven is broken" in failed.text
    assert "<title>StartupFailed" in failed.text
    (tmp_path / "broken").unlink()
    server.get()


def test_a_child_whose_parent_is_killed_ends(runserver: StartServer) -> None:
    server = runserver()
    pid = int(server.get())
    assert pid != server.process.pid
    server.send(signal.SIGKILL)
    until(lambda: not is_running(pid), server)
    assert server.notes == ["opened", "closed"]


def test_without_the_reloader_a_resource_that_fails_ends_it(start_server: StartServer) -> None:
    server = start_server(
        "django", "runserver", "0", "--noreload", resources="project.resources.broken"
    )
    assert server.wait() == 1
    assert "The resource project.resources.broken could not be opened" in server.lines[-1]
    assert server.lines[-1].startswith("CommandError: ")


@pytest.mark.parametrize("options", [(), ("--noreload",)])
def test_a_port_in_use_is_reported_as_django_does(
    start_server: StartServer, options: tuple[str, ...]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        server = start_server("django", "runserver", address, *options)
        assert server.wait() == 1
    assert server.lines[-1] == "Error: That port is already in use."


def test_ipv6(start_server: StartServer) -> None:
    server = start_server("django", "runserver", "--ipv6", "--noreload", "0")
    server.wait_for_output(r"at http://\[::1\]:\d+/")
    assert server.get() == str(server.process.pid)


def test_tls_brings_http2(runserver: StartServer, certificate: Path) -> None:
    server = runserver("--certfile", str(certificate))
    assert server.url.startswith("https://")
    context = ssl.create_default_context(cafile=str(certificate))
    with httpx.Client(http2=True, verify=context) as client:
        assert client.get(server.url).http_version == "HTTP/2"
    server.wait_for_output(r'"GET / HTTP/2" 200')


def test_without_staticfiles_and_application_it_serves_the_project(
    runserver: StartServer,
) -> None:
    server = runserver("--noreload", application="", apps="asyncviews")
    assert server.get() == str(server.process.pid)
    assert server.stop()[0] == 0
    assert server.notes == ["opened", "closed"]


def save(path: Path, text: str, reloaded: Callable[[], object]) -> None:
    """Save a file, and again until the reloader has noticed.

    It compares times of modification once a second, and knows none before its first look.
    """
    while True:
        later = path.stat().st_mtime + 2
        path.write_text(text)
        os.utime(path, (later, later))
        with suppress(AssertionError):
            until(reloaded, seconds=6)
            return


def answers(url: str, text: str = "") -> bool:
    try:
        response = httpx.get(url)
    except httpx.TransportError:
        return False
    return response.is_success and text in response.text
