"""What requests have of threads and connections while they wait, and what they find again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path
from django.utils.decorators import sync_only_middleware
from django.utils.deprecation import MiddlewareMixin

from asyncviews.handler import request_threads
from tests.conftest import Postgres, until

pytestmark = pytest.mark.urls(__name__)

MANY = 30
local = threading.local()


class Gate:
    """Where views wait until all are there."""

    waiting = 0
    go: asyncio.Event

    @classmethod
    async def wait(cls) -> None:
        cls.waiting += 1
        await cls.go.wait()


@pytest.fixture(autouse=True)
async def _fresh() -> Any:
    request_threads.retire(timeout=5)
    request_threads.reconfigured = False
    Gate.waiting, Gate.go = 0, asyncio.Event()
    yield
    request_threads.retire(timeout=5)
    assert request_threads.size == 0
    request_threads.reconfigured = False


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    with override_settings(ASYNCVIEWS={"REQUEST_THREADS": 2}):
        yield


def query(sql: str = "SELECT pg_backend_pid()") -> Any:
    with connections[Postgres.alias].cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0] if cursor.description else None


aquery = sync_to_async(query)


async def waits(request: HttpRequest) -> HttpResponse:
    await Gate.wait()
    return HttpResponse("waited")


async def queries(request: HttpRequest) -> HttpResponse:
    await aquery()
    await Gate.wait()
    return HttpResponse(str(await aquery()))


async def finds(request: HttpRequest, name: str) -> HttpResponse:
    await Gate.wait()
    return HttpResponse(await sync_to_async(found)())


async def finds_transaction(request: HttpRequest) -> HttpResponse:
    await aquery()
    await Gate.wait()
    return HttpResponse(str(await sync_to_async(is_in_transaction)()))


def is_in_transaction() -> bool:
    return connections[Postgres.alias].in_atomic_block


def found() -> str:
    return str(getattr(local, "path", None))


async def finds_role(request: HttpRequest, name: str) -> HttpResponse:
    await Gate.wait()
    return HttpResponse(await aquery("SELECT current_setting('kitchen.cook', true)"))


async def finds_tenant(request: HttpRequest, name: str) -> HttpResponse:
    await Gate.wait()
    return HttpResponse(await sync_to_async(tenant)())


def tenant() -> str:
    return str(getattr(connections[Postgres.alias], "tenant", None))


async def fails(request: HttpRequest) -> HttpResponse:
    raise ZeroDivisionError


urlpatterns = [
    path("waits/", waits),
    path("queries/", queries),
    path("finds/<name>/", lambda request, name: HttpResponse(found())),
    path("finds_later/<name>/", finds),
    path("role/<name>/", finds_role),
    path("tenant/<name>/", finds_tenant),
    path("in_transaction/", finds_transaction),
    path("fails/", fails),
]


@sync_only_middleware
def only_sync(get_response):
    def middleware(request):
        return get_response(request)

    return middleware


@sync_only_middleware
def in_own_thread(get_response):
    def middleware(request):
        with ThreadPoolExecutor(1) as executor:
            return executor.submit(copy_context().run, get_response, request).result(10)

    return middleware


@sync_only_middleware
def queries_around(get_response):
    def middleware(request):
        query()
        response = get_response(request)
        query()
        return response

    return middleware


@sync_only_middleware
def sets_local(get_response):
    def middleware(request):
        local.path = request.path
        response = get_response(request)
        response["X-Found"] = found()
        del local.path
        return response

    return middleware


class SetsLocal(MiddlewareMixin):
    def process_request(self, request):
        local.path = request.path

    def process_response(self, request, response):
        response["X-Found"] = found()
        del local.path
        return response


class SetsRole(MiddlewareMixin):
    def process_request(self, request):
        query(f"SET kitchen.cook = '{request.path}'")


class SetsTenant(MiddlewareMixin):
    def process_request(self, request):
        connections[Postgres.alias].tenant = request.path  # type: ignore[attr-defined]


@sync_only_middleware
def in_transaction(get_response):
    def middleware(request):
        with transaction.atomic(using=Postgres.alias):
            response = get_response(request)
            transaction.set_rollback(True, using=Postgres.alias)
        return response

    return middleware


@sync_only_middleware
class ConvertsAsync:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    async def process_exception(self, request, exception):
        await Gate.wait()
        return HttpResponse(await sync_to_async(type(exception).__name__.lower)())


def middleware(*names: str) -> override_settings:
    return override_settings(MIDDLEWARE=[f"{__name__}.{name}" for name in names])


async def all_at_once(get, urls: list[str]) -> list[str]:
    """Send requests, let all of them go on when all wait, and return their bodies."""
    answers = [asyncio.create_task(get(url)) for url in urls]
    await until(lambda: Gate.waiting == len(urls) and request_threads.busy == 0)
    Gate.go.set()
    bodies = []
    for answer in answers:
        start, body = await answer
        assert start["status"] == 200
        bodies.append(body["body"].decode())
    return bodies


@pytest.mark.parametrize(
    "names", [[], ["only_sync"], ["queries_around"], ["only_sync", "queries_around"]]
)
async def test_many_wait_at_once_and_few_connections_serve_them(get, postgres, names):
    postgres.set(CONN_MAX_AGE=60)
    with middleware(*names):
        pids = await all_at_once(get, ["/queries/"] * MANY)
    assert len(set(pids)) <= 2
    assert postgres.sessions() <= 2


async def test_without_conn_max_age_connections_are_closed_when_the_last_has_ended(get, postgres):
    with middleware("queries_around"):
        await all_at_once(get, ["/queries/"] * MANY)
    await until(lambda: postgres.sessions() == 0)


@pytest.mark.parametrize("name", ["sets_local", "SetsLocal"])
async def test_what_middleware_leaves_in_thread_locals_is_found_by_its_request(get, name):
    """Of many at once, each its own; by calls from an async view, too."""
    with middleware(name):
        urls = [f"/finds/{number}/" for number in range(MANY)]
        answers = await asyncio.gather(*map(get, urls))
    for url, (start, body) in zip(urls, answers, strict=True):
        assert dict(start["headers"])[b"X-Found"] == url.encode()
        assert body["body"] == url.encode()


@pytest.mark.parametrize("name", ["sets_local", "SetsLocal"])
async def test_also_after_a_wait(get, name):
    urls = [f"/finds_later/{number}/" for number in range(MANY)]
    with middleware(name):
        assert await all_at_once(get, urls) == urls


@pytest.mark.parametrize(("name", "view"), [("SetsRole", "role"), ("SetsTenant", "tenant")])
async def test_a_session_that_middleware_sets_up_is_its_requests_alone(get, postgres, name, view):
    """The second request waits for a connection; it must not find what the others have set."""
    postgres.set(CONN_MAX_AGE=60)
    urls = [f"/{view}/{number}/" for number in range(6)]
    with middleware(name):
        answers = [asyncio.create_task(get(url)) for url in urls]
        await until(lambda: Gate.waiting == 2)
        assert request_threads.busy == 2
        Gate.go.set()
        assert [(await answer)[1]["body"].decode() for answer in answers] == urls


async def test_a_transaction_around_the_view_is_the_one_of_its_queries(get, postgres):
    with middleware("in_transaction"):
        answers = [asyncio.create_task(get("/in_transaction/")) for _ in range(4)]
        await until(lambda: Gate.waiting == 2)
        assert request_threads.busy == 2
        Gate.go.set()
        bodies = [(await answer)[1]["body"] for answer in answers]
    assert bodies == [b"True"] * 4
    await until(lambda: request_threads.busy == 0)


async def test_middleware_may_go_on_in_a_thread_of_its_own(get, postgres):
    """There `async_to_sync()` has an event loop of its own, as under Django's handler."""
    with middleware("in_own_thread"):
        start, body = await get("/finds/one/")
    assert (start["status"], body["body"]) == (200, b"None")


async def test_a_hook_that_a_thread_waits_for_may_need_one(get):
    with middleware("ConvertsAsync"):
        assert await all_at_once(get, ["/fails/"] * 5) == ["zerodivisionerror"] * 5


async def test_behind_middleware_there_are_as_many_threads_as_requests_may_wait(get):
    given = {"REQUEST_THREADS": 2, "REQUEST_THREADS_QUEUE": 3}
    with middleware("only_sync"), override_settings(ASYNCVIEWS=given):
        answers = []
        for waiting in range(1, 6):
            answers.append(asyncio.create_task(get("/waits/")))
            await until(lambda: Gate.waiting == waiting)  # noqa: B023
        answers += [asyncio.create_task(get("/waits/")) for _ in range(3)]
        await until(lambda: request_threads.waiting == 3 and request_threads.busy == 0)
        start, _ = await get("/waits/")
        assert start["status"] == 503
        Gate.go.set()
        assert [(await answer)[0]["status"] for answer in answers] == [200] * 8
    assert request_threads.size == 5
