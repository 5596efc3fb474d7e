"""What a process says of its health, and what probes are told."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from django.test import AsyncClient
from django.urls import path

from asyncviews import health
from asyncviews.asgi import lifespan

pytestmark = pytest.mark.urls(__name__)

urlpatterns = [path("ready", health.readiness)]


@pytest.fixture(autouse=True)
def own_lifetime() -> Iterator[None]:
    with health.lifetime():
        yield


async def probe(**headers: str) -> tuple[int, str]:
    response = await AsyncClient(raise_request_exception=False).get("/ready", headers=headers)
    return response.status_code, response.content.decode()


async def test_a_process_is_ready_while_its_lifespan_lasts() -> None:
    assert await probe() == (503, "not ready\n")
    async with lifespan():
        assert await probe() == (200, "ready\n")
    assert await probe() == (503, "not ready\n")


async def test_a_process_that_is_not_ready_is_no_error_of_the_project(
    caplog: pytest.LogCaptureFixture, get: Callable[..., Awaitable[list[dict[str, Any]]]]
) -> None:
    """Django logs responses of 500 and more as such, in a thread, and mails them to the admins."""
    start, _ = await get("/ready")
    assert start["status"] == 503
    assert caplog.records == []


async def test_a_failed_part_makes_it_not_ready_until_it_works_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Strangers are not told which part, or why."""
    async with lifespan():
        health.fail("The worker of tasks", "no database at db.internal")
        health.fail("The worker of tasks", "still none")
        assert await probe() == (503, "not ready\n")
        health.recover("The worker of tasks")
        health.recover("The worker of tasks")
        assert await probe() == (200, "ready\n")
    assert [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if record.name == "asyncviews.health"
    ] == [
        (
            "ERROR",
            "The worker of tasks has failed: no database at db.internal "
            "This process goes on, but is not ready.",
        )
    ]
    assert not health.failures()


async def test_a_lifetime_leaves_no_failure_to_the_next() -> None:
    async with lifespan():
        health.fail("A part", "a reason.")
    async with lifespan():
        assert health.is_ready()


def test_a_failure_asks_for_another_process_once(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[str] = []
    with health.replacing(asked.append):
        health.fail("A part", "it waits.")
        health.fail("A part", "its thread is dead.", restart=True)
        health.fail("A part", "it waits.")
        health.fail("A part", "its thread is dead.", restart=True)
    assert asked == ["A part has failed: its thread is dead."]
    assert health.failures() == {"A part": health.Failure("its thread is dead.", restart=True)}
    assert caplog.messages == [
        "A part has failed: it waits. This process goes on, but is not ready.",
        "A part has failed: its thread is dead. This process is replaced.",
    ]


def test_a_server_that_cannot_replace_the_process_is_not_silent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    health.fail("A part", "its thread is dead.", restart=True)
    assert "this server cannot replace it: restart it" in caplog.text


async def test_retiring_is_told_at_once_in_any_thread() -> None:
    told: list[str] = []
    with health.on_retire(lambda: told.append("first")):
        async with lifespan():
            thread = threading.Thread(target=health.retire)
            thread.start()
            thread.join()
            assert told == ["first"]
            assert await probe() == (503, "not ready\n")
            with health.on_retire(lambda: told.append("late")):
                assert told == ["first", "late"]
        assert told == ["first", "late"]


def test_one_that_fails_to_end_leaves_the_others_their_turn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[str] = []

    def fail() -> None:
        raise OSError("no pipe")

    with health.on_retire(fail), health.on_retire(lambda: told.append("second")):
        health.retire()
    assert told == ["second"]
    assert "no pipe" in caplog.text


async def test_a_project_that_wants_everybody_to_log_in_lets_probes_pass(settings: Any) -> None:
    settings.MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    async with lifespan():
        assert await probe() == (200, "ready\n")


async def test_answers_are_not_cached_and_nothing_is_changed_by_a_probe() -> None:
    client = AsyncClient()
    async with lifespan():
        assert "no-store" in (await client.get("/ready"))["Cache-Control"]
        assert (await client.head("/ready")).status_code == 200
        assert (await client.post("/ready")).status_code == 405
