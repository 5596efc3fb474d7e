"""Fixtures for pytest, which finds them by itself where `asyncviews` is installed.

They work with pytest-django, and run async tests with pytest-asyncio or the plugin of anyio.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from blockbuster import BlockBuster

    from asyncviews.testing import AsyncClient, Background


@pytest.fixture
def background() -> Iterator[Background]:
    """The background tasks that the test starts; it fails when it leaves one behind."""
    from asyncviews.testing import Background

    with Background() as noted:
        yield noted


@pytest.fixture
def eager_background() -> Iterator[Background]:
    """The same, and tasks run where the test does, with the next response or `drain()`."""
    from asyncviews.testing import Background

    with Background(eager=True) as noted:
        yield noted


@pytest.fixture
def lifespan_client() -> AsyncClient:
    """A test client for an async test that runs within the application's lifespan."""
    from asyncviews.testing import AsyncClient

    return AsyncClient()


@pytest.fixture
def no_blocking_calls() -> BlockBuster:
    """Fails the test when it blocks an event loop."""
    from asyncviews.testing.blocking import new_watch

    return new_watch()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Do what two of the fixtures promise for as long as the test function runs."""
    if not isinstance(item, pytest.Function):
        return (yield)
    client: Any = item.funcargs.get("lifespan_client")
    watch: Any = item.funcargs.get("no_blocking_calls")
    if client is not None:
        item.obj = _within(client, item)
    if watch is None:
        return (yield)
    from asyncviews.testing.blocking import watching

    with watching(watch):
        return (yield)


def _within(client: AsyncClient, item: pytest.Function) -> Any:
    """Return a test in whose coroutine, on whose event loop, the lifespan is open."""
    test = item.obj
    if not inspect.iscoroutinefunction(test):
        raise pytest.UsageError(
            f"{item.nodeid} is not async, so it has no event loop for the application's lifespan, "
            "which comes with lifespan_client. Use pytest-django's client instead."
        )

    @wraps(test)
    async def test_within_lifespan(*args: Any, **kwargs: Any) -> Any:
        async with client:
            return await test(*args, **kwargs)

    return test_within_lifespan
