"""The test clients: lifespan around, tasks done before the response where they are eager."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from asyncviews import (
    AsyncView,
    BackgroundTaskMixin,
    ResourceNotOpen,
    add_background_task,
    http_client,
    resource,
)
from asyncviews.asgi import StartupFailed
from asyncviews.background import runner
from asyncviews.testing import AsyncClient, Background, Client

pytestmark = pytest.mark.urls(__name__)


async def smoke(meat: str) -> str:
    await asyncio.sleep(0.001)
    return f"{meat} smoked"


class Smoke(BackgroundTaskMixin, AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        self.add_background_task(smoke, request.GET["meat"])
        return HttpResponse("Smoking....")

    async def post(self, request: HttpRequest) -> HttpResponse:
        self.add_background_task(smoke, "ribs")
        raise ZeroDivisionError


class Stream(BackgroundTaskMixin, AsyncView):
    async def get(self, request: HttpRequest) -> StreamingHttpResponse:
        self.add_background_task(smoke, "ribs")
        return StreamingHttpResponse(self.chunks())

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b"a"


urlpatterns = [path("", Smoke.as_view()), path("stream/", Stream.as_view())]


@resource
async def broken() -> AsyncIterator[None]:
    raise RuntimeError("no oven")
    yield


async def test_the_lifespan_is_around_the_block():
    async with AsyncClient() as client:
        assert not http_client().is_closed
        with Background() as background:
            response = await client.get("/?meat=ribs")
            assert response.text == "Smoking...."
            await background.drain()
            assert background.assert_succeeded(smoke, "ribs") == "ribs smoked"
    with pytest.raises(ResourceNotOpen):
        http_client()


async def test_the_end_of_the_block_waits_for_tasks():
    with Background() as background:
        async with AsyncClient() as client:
            await client.get("/?meat=ribs")
        background.assert_succeeded(smoke, "ribs")


async def test_a_task_that_hangs_fails_the_test_and_ends(monkeypatch):
    monkeypatch.setattr("asyncviews.testing.background.drain.__defaults__", (0.01,))
    client = AsyncClient()
    await client.__aenter__()
    task = add_background_task(asyncio.Event().wait)
    with pytest.raises(AssertionError, match=r"Not ended within 0\.01 s: .*wait"):
        await client.__aexit__(None, None, None)
    assert task.state == "cancelled"
    assert not runner.is_attached


async def test_a_failing_test_does_not_wait():
    client = AsyncClient()
    await client.__aenter__()
    task = add_background_task(asyncio.Event().wait)
    await client.__aexit__(ZeroDivisionError, ZeroDivisionError(), None)
    assert task.state == "cancelled"


async def test_a_resource_that_cannot_be_opened(settings):
    settings.ASYNCVIEWS = {"RESOURCES": [f"{__name__}.broken"]}
    with pytest.raises(StartupFailed, match="no oven"):
        await AsyncClient().__aenter__()


@pytest.mark.parametrize("in_lifespan", [True, False])
async def test_eager_tasks_are_done_with_the_response(in_lifespan):
    client = AsyncClient()
    with Background(eager=True) as background:
        if in_lifespan:
            async with client:
                await client.get("/?meat=ribs")
                background.assert_succeeded(smoke, "ribs")
        else:
            await client.get("/?meat=ribs")
            background.assert_succeeded(smoke, "ribs")


def test_eager_tasks_are_done_with_the_response_of_a_synchronous_client():
    with Background(eager=True) as background:
        assert Client().get("/?meat=ribs").text == "Smoking...."
        assert background.assert_succeeded(smoke, "ribs") == "ribs smoked"


def test_the_tasks_of_a_handler_that_raises_are_not_scheduled():
    client = Client(raise_request_exception=False)
    with Background(eager=True) as background:
        assert client.post("/").status_code == 500
        background.assert_not_scheduled()


async def test_the_tasks_of_a_stream_start_at_its_end():
    with Background(eager=True) as background:
        response = await AsyncClient().get("/stream/")
        assert background.assert_scheduled(smoke).state == "queued"
        assert [chunk async for chunk in response.streaming_content] == [b"a"]
        await background.drain()
        background.assert_succeeded(smoke)
