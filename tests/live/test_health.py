"""Processes that cannot do their work, or hang, are replaced; those that are only stopped are not."""

from __future__ import annotations

import os
import signal
import time

import httpx
import pytest

from tests.live.conftest import StartServer
from tests.live.server_process import is_running, until
from tests.live.test_restart import WORKERS, Crowd, workers

pytestmark = [pytest.mark.live, pytest.mark.once_in_ci, pytest.mark.timeout(120)]

ALONE = ("django", "serve", "127.0.0.1:0")


def break_one(url: str) -> int:
    return int(httpx.post(f"{url}/break/", headers={"Connection": "close"}).text)


def test_a_worker_whose_part_fails_is_replaced_without_a_failed_request(
    start_server: StartServer,
) -> None:
    server = start_server(*WORKERS, drain_timeout="20")
    server.wait_for_output("Serving ")
    crowd = Crowd(server.url)
    with crowd.here():
        until(lambda: len(crowd.answers) > 100, server)
        broken = break_one(server.url)
        server.wait_for_output(f"Worker {broken} has ended with exit code 1")
        count = len(crowd.answers)
        until(lambda: len(crowd.answers) > count + 100, server)
    assert crowd.wrong == []
    assert f"[{broken}] ERROR The oven has failed: its thread is dead." in server.output
    assert f"ERROR A part of Worker {broken} has failed. It is replaced" in server.output
    assert "exit code 1. The oven has failed: its thread is dead." in server.output
    assert broken not in workers(server)
    assert len(workers(server)) == 2
    assert server.stop()[0] == 0


def test_one_that_cannot_be_replaced_goes_on_until_it_can(
    start_server: StartServer, tmp_path
) -> None:
    """It answers, but says that it is not ready."""
    server = start_server(*WORKERS, resources="project.resources.oven", oven=str(tmp_path))
    server.wait_for_output("Serving ")
    (tmp_path / "broken").touch()
    broken = break_one(server.url)
    server.wait_for_output(f"Worker {broken} goes on, for no other starts")
    states = [httpx.get(f"{server.url}/ready/").status_code for _ in range(30)]
    assert set(states) <= {200, 503}
    until(lambda: httpx.get(f"{server.url}/ready/").status_code == 503, server)
    (tmp_path / "broken").unlink()
    until(lambda: not is_running(broken), server)
    assert server.stop()[0] == 0


def test_a_single_process_whose_part_fails_drains_and_ends_with_an_error(
    start_server: StartServer,
) -> None:
    server = start_server(*ALONE, drain_timeout="10")
    server.wait_for_output("Serving ")
    connection = server.open("/sleep/?seconds=1")
    server.wait_for_note("asleep")
    break_one(server.url)
    assert server.wait() == 1
    assert b"awake" in connection.makefile("rb").read()
    assert "The oven has failed: its thread is dead." in server.output
    assert server.notes.count("closed") == 1


@pytest.mark.parametrize("path", ["/block/?seconds=60", "/backtrack/"])
def test_a_worker_whose_loop_hangs_is_replaced(start_server: StartServer, path: str) -> None:
    """The log says what it did, even where the interpreter's lock was held."""
    server = start_server(*WORKERS, hang_timeout="1")
    server.wait_for_output("Serving ")
    old = workers(server)
    server.open(path)
    server.wait_for_note("blocked")
    server.wait_for_output("is started in")
    server.wait_for_output(r'File ".*urls.py", line \d+,? in get')
    assert "its event loop has been held for 1 s" in server.output
    if "block" in path:
        assert "GET /block/ (project.urls.Block) holds it:" in server.output
        assert "time.sleep(" in server.output
    until(lambda: len(workers(server) - old) == 1 and len(workers(server)) == 2, server)
    assert server.get()
    assert server.stop()[0] == 0


def test_a_single_process_whose_loop_hangs_ends(start_server: StartServer) -> None:
    server = start_server(*ALONE, hang_timeout="1")
    server.wait_for_output("Serving ")
    server.open("/block/?seconds=60")
    assert server.wait() == 1
    assert "is ended by force: its event loop has been held for 1 s. GET /block/" in server.output
    assert "time.sleep(" in server.output


@pytest.mark.parametrize("who", ["a worker", "the parent", "all"])
def test_what_is_stopped_and_continued_is_not_taken_for_hung(
    start_server: StartServer, who: str
) -> None:
    server = start_server(*WORKERS, hang_timeout="1")
    server.wait_for_output("Serving ")
    parent, (worker, other) = server.process.pid, sorted(workers(server))
    stopped = {"a worker": [worker], "the parent": [parent], "all": [parent, worker, other]}[who]
    for signum in (signal.SIGSTOP, signal.SIGCONT):
        for pid in stopped:
            os.kill(pid, signum)
        time.sleep(2)  # twice what is allowed
    assert workers(server) == {worker, other}
    assert "ERROR" not in server.output
    assert server.stop()[0] == 0


def test_a_single_process_survives_a_stop(start_server: StartServer) -> None:
    server = start_server(*ALONE, hang_timeout="1")
    server.wait_for_output("Serving ")
    for signum in (signal.SIGSTOP, signal.SIGCONT):
        server.send(signum)
        time.sleep(2)
    assert server.get()
    assert server.stop()[0] == 0


def test_a_worker_that_retires_is_told_at_once(start_server: StartServer) -> None:
    """What works in it ends, and it is not ready, before the drain begins."""
    server = start_server(*WORKERS, resources="project.resources.journal project.resources.claims")
    server.wait_for_output("Serving ")
    with httpx.Client(base_url=server.url) as client:
        assert client.get("/ready/").status_code == 200
        server.send(signal.SIGUSR2)
        until(lambda: client.get("/ready/").status_code == 503, server)  # on the old connection
        assert server.notes.count("retires") > server.notes.count("closed")
        until(lambda: client.get("/ready/").status_code == 200, server)
    assert server.stop()[0] == 0
