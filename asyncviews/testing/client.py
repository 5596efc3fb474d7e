"""Django's test clients, which know of the lifespan and of background tasks."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from asgiref.sync import async_to_sync
from django.test import client as django_client

from asyncviews.asgi import lifespan
from asyncviews.background import runner
from asyncviews.testing.background import drain


class Client(django_client.Client):
    """Django's `Client`; where `Background` is eager, each response is there after its tasks."""

    def request(self, **request: Any) -> Any:
        response = super().request(**request)
        if runner.in_tests.eager:
            async_to_sync(drain)()
        return response


class AsyncClient(django_client.AsyncClient):
    """Django's `AsyncClient`, with the application's lifespan around an ``async with`` block.

    In the block the project's resources are open and background tasks run on the test's event
    loop; its end waits for them and closes the resources. Outside of one it is Django's. Where
    `Background` is eager, each response is there after its tasks.

    Raises:
        StartupFailed: at the beginning of the block, when a resource cannot be opened.
        AssertionError: when background tasks do not end.
    """

    async def __aenter__(self) -> Self:
        self._lifespan = lifespan()
        await self._lifespan.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if exc_type is None:
                await drain()
        finally:
            for task in runner.unfinished():
                task.cancel()
            await self._lifespan.__aexit__(exc_type, exc, traceback)

    async def request(self, **request: Any) -> Any:
        response = await super().request(**request)
        if runner.in_tests.eager and not response.streaming:
            await drain()
        return response
