"""The six ways in which ``loop.create_task()`` in a view loses work, and that none is left.

Each scenario runs with a view that does as the article does, and with `BackgroundTaskMixin`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import re
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.core.handlers import asgi as django_asgi
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path

from asyncviews import AsyncView, BackgroundQueueFull, BackgroundTaskMixin
from asyncviews.asgi import ASGIHandler, lifespan
from asyncviews.background import BackgroundTask, State, runner
from tests.conftest import Postgres, http_scope, until

pytestmark = pytest.mark.urls(__name__)

Work = Callable[[], Awaitable[Any]]
work: list[Work] = []
"""What the views start; set by each test."""
started: list[Any] = []
"""The tasks that they started. Weak for the article's way: keeping one would cure the first ill."""
after_start: list[Callable[[], Any]] = []
"""What the views do after starting it."""


class Naive(AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        create_task = asyncio.get_running_loop().create_task
        started.extend(weakref.ref(create_task(function())) for function in work)
        for function in after_start:
            function()
        return HttpResponse("started")


class Kept(BackgroundTaskMixin, AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        started.extend(self.add_background_task(function) for function in work)
        for function in after_start:
            function()
        return HttpResponse("started")


urlpatterns = [path("naive/", Naive.as_view()), path("kept/", Kept.as_view())]


@pytest.fixture(autouse=True)
def _clear():
    for values in (work, started, after_start):
        values.clear()
    yield
    for values in (work, started, after_start):
        values.clear()


# 1. A task that only its event loop knows is garbage.


async def forgotten(url: str, get: Any) -> bool:
    """Start a task that waits for a future which nobody else holds; tell if it finished."""
    futures: list[weakref.ref[asyncio.Future[None]]] = []
    finished: list[bool] = []

    async def waits() -> None:
        future = asyncio.get_running_loop().create_future()
        futures.append(weakref.ref(future))
        await future
        finished.append(True)

    work.append(waits)
    await get(url)
    await until(lambda: futures)
    gc.collect()
    if (future := futures[0]()) is None:
        return False
    future.set_result(None)
    del future
    await until(lambda: finished)
    return True


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_1_the_articles_task_is_collected(get):
    assert not await forgotten("/naive/", get)


async def test_1_a_background_task_is_held(get, app_lifespan):
    assert await forgotten("/kept/", get)


# 2. Its exception vanishes.


async def burn() -> None:
    raise ValueError("burned")


async def test_2_the_articles_exception_is_nobodys(get, caplog):
    """At best asyncio reports it when the task is collected, without request, name or id."""
    work.append(burn)
    await get("/naive/")
    await until(lambda: gc.collect() or started[0]() is None)
    assert "/naive/" not in caplog.text
    assert {record.name for record in caplog.records} <= {"asyncio"}


async def test_2_an_exception_is_logged_and_kept(get, caplog, app_lifespan):
    work.append(burn)
    await get("/kept/")
    (task,) = started
    with pytest.raises(ValueError, match="burned"):
        await task
    assert isinstance(task.exception(), ValueError)
    assert task.state is State.FAILED
    await until(lambda: caplog.records)
    (record,) = caplog.records
    assert record.name == "asyncviews.background"
    assert record.levelno == logging.ERROR
    assert record.getMessage() == (
        f"Background task {__name__}.burn ({task.id}, started by GET /kept/) failed."
    )
    assert "burned" in caplog.text
    assert "Traceback" in caplog.text


# 3. It runs before the response is sent, and also when the handler then raises.


async def order(url: str) -> list[str]:
    """Start a task; return what happened in which order."""
    events: list[str] = []

    async def works() -> None:
        events.append("task")

    async def receive() -> dict[str, Any]:
        if not asked:
            asked.append(True)
            return {"type": "http.request", "body": b""}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        for _ in range(20):  # a slow client
            await asyncio.sleep(0)
        events.append(message["type"])

    asked: list[bool] = []
    work.append(works)
    await ASGIHandler()(http_scope(url), receive, send)
    await until(lambda: "task" in events)
    return events


async def test_3_the_articles_task_runs_before_the_response():
    assert (await order("/naive/"))[0] == "task"


async def test_3_a_background_task_runs_after_the_response(app_lifespan):
    assert await order("/kept/") == ["http.response.start", "http.response.body", "task"]


async def raising(url: str, get: Any) -> list[str]:
    events: list[str] = []

    async def works() -> None:
        events.append("task")

    work.append(works)
    after_start.append(lambda: 1 / 0)
    assert (await get(url))[0]["status"] == 500
    for _ in range(20):
        await asyncio.sleep(0)
    return events


async def test_3_the_articles_task_runs_although_the_handler_raised(get):
    assert await raising("/naive/", get) == ["task"]


async def test_3_a_background_task_does_not(get, app_lifespan):
    assert await raising("/kept/", get) == []
    assert started[0].state is State.CANCELLED
    assert runner.unfinished() == []


# 4. It opens a database connection on a thread that nobody closes.


async def connections_left(url: str, get: Any, postgres: Postgres, **how: Any) -> int:
    """Query in 20 background tasks; return how many connections stay open after the last.

    Without garbage collection, which may close one some day, and is not to be waited for.
    """
    responses_sent = asyncio.Event()
    ended: list[bool] = []

    async def queries() -> None:
        await responses_sent.wait()
        await sync_to_async(postgres.query)()
        ended.append(True)

    work.append(queries)
    gc.disable()
    try:
        for _ in range(20):
            await get(url, **how)
        responses_sent.set()
        await until(lambda: len(ended) == 20)
        with contextlib.suppress(TimeoutError):
            await until(lambda: postgres.sessions() == 0, seconds=1)
        return postgres.sessions()
    finally:
        gc.enable()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_4_the_articles_tasks_leave_connections_open(get, postgres):
    left = await connections_left("/naive/", get, postgres, handler=django_asgi.ASGIHandler)
    assert left == 20
    gc.collect()


async def test_4_background_tasks_leave_none(get, postgres, app_lifespan):
    assert await connections_left("/kept/", get, postgres) == 0


async def test_4_persistent_connections_stay_within_the_bound(get, postgres):
    postgres.set(CONN_MAX_AGE=60)
    with override_settings(ASYNCVIEWS={"BACKGROUND_THREADS": 2}):
        async with lifespan():
            left = await connections_left("/kept/", get, postgres)
        assert 1 <= left <= 2
        await until(lambda: postgres.sessions() == 0)  # closed with their threads


# 5. The server stops, and with it the tasks, without a word.


async def server_stops(url: str) -> None:
    """Start what `work` says, then shut down as a server does: lifespan first, then the loop."""
    application = ASGIHandler()
    server = ApplicationCommunicator(application, {"type": "lifespan"})
    await server.send_input({"type": "lifespan.startup"})
    await server.receive_output(5)
    request = ApplicationCommunicator(application, http_scope(url))
    await request.send_input({"type": "http.request", "body": b""})
    await request.receive_output(5)
    await request.receive_output(5)
    await request.wait(5)
    await server.send_input({"type": "lifespan.shutdown"})
    await server.receive_output(5)


def run(url: str) -> list[str]:
    """Serve one request in an event loop of its own; return what its three tasks did."""
    events: list[str] = []

    async def works() -> None:
        try:
            await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            events.append("cancelled")
            raise
        events.append("finished")

    work.extend([works] * 3)
    asyncio.run(server_stops(url))
    return events


def test_5_the_articles_tasks_are_cancelled_without_a_word(caplog):
    assert run("/naive/") == ["cancelled"] * 3
    assert caplog.text == ""


def test_5_background_tasks_are_drained():
    assert run("/kept/") == ["finished"] * 3


@override_settings(ASYNCVIEWS={"DRAIN_TIMEOUT": 0.01, "MAX_RUNNING": 2})
def test_5_each_task_that_misses_the_deadline_has_a_line_in_the_log(caplog):
    assert run("/kept/") == ["cancelled"] * 2
    lines = [record.getMessage() for record in caplog.records]
    endings = [
        re.fullmatch(
            r"Background task .*\.works \((\w+), started by GET /kept/\) "
            r"(is cut off|never starts): the process is shutting down\.",
            line,
        )
        for line in lines
    ]
    assert [match and match[1] for match in endings] == [task.id for task in started]
    assert [match and match[2] for match in endings] == ["is cut off"] * 2 + ["never starts"]


# 6. A flood has no bound.


async def flood(url: str, get: Any) -> tuple[int, int]:
    """Ask 10 times for work that does not end; return the last status and how many run."""
    running: list[bool] = []
    go = asyncio.Event()

    async def waits() -> None:
        running.append(True)
        await go.wait()

    work.append(waits)
    statuses = [(await get(url))[0]["status"] for _ in range(10)]
    for _ in range(20):
        await asyncio.sleep(0)
    count = len(running)
    go.set()
    return statuses[-1], count


LIMITS = override_settings(ASYNCVIEWS={"MAX_RUNNING": 2, "MAX_WAITING": 3})


@LIMITS
async def test_6_the_articles_way_accepts_any_number(get):
    assert await flood("/naive/", get) == (200, 10)


@LIMITS
async def test_6_a_full_queue_is_said_to_the_client(get, app_lifespan):
    assert await flood("/kept/", get) == (503, 2)
    assert len([task for task in started if await task is None]) == 5


@LIMITS
async def test_6_the_answer_is_a_problem_with_retry_after(get, app_lifespan):
    work.extend([asyncio.Event().wait] * 6)
    start, body = await get("/kept/")
    headers = dict(start["headers"])
    assert start["status"] == 503
    assert headers[b"Retry-After"] == b"5"
    assert headers[b"Content-Type"] == b"application/problem+json"
    assert json.loads(body["body"])["detail"] == "Too many background tasks are waiting."
    assert runner.unfinished() == []  # the handler raised: none of the six is started


@LIMITS
async def test_6_a_view_may_handle_a_full_queue_itself(app_lifespan):
    for _ in range(5):
        runner.accept(BackgroundTask(print))
    with pytest.raises(BackgroundQueueFull):
        runner.accept(BackgroundTask(print))
    for task in runner.unfinished():
        task.cancel()
