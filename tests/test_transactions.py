"""`in_transaction()`: a block of synchronous code, as Django's transactions are."""

from __future__ import annotations

import asyncio
import threading

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group
from django.db import connections

from asyncviews import in_transaction
from tests.conftest import until


def store(*names: str, fail: bool = False) -> list[str]:
    for name in names:
        Group.objects.create(name=name)
    if fail:
        raise ZeroDivisionError
    return [group.name for group in Group.objects.order_by("name")]


@pytest.mark.django_db
def test_it_returns_what_the_function_returns():
    assert async_to_sync(in_transaction)(store, "a", "b", fail=False) == ["a", "b"]


@pytest.mark.django_db
def test_an_exception_takes_everything_back():
    with pytest.raises(ZeroDivisionError):
        async_to_sync(in_transaction)(store, "a", "b", fail=True)
    assert not Group.objects.exists()


@pytest.mark.django_db
def test_it_runs_on_the_requests_thread():
    threads = []

    def note() -> None:
        threads.append(threading.current_thread())
        assert connections["default"].in_atomic_block

    async_to_sync(in_transaction)(note)
    assert threads == [threading.current_thread()]


async def test_a_cancellation_does_not_undo_it(transactional_db):
    began, go_on = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        go_on.wait(10)
        store("kept")

    task = asyncio.create_task(in_transaction(work))
    await until(began.is_set)
    task.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await Group.objects.filter(name="kept").aexists()


async def test_a_coroutine_function_is_refused():
    async def smoke(): ...

    with pytest.raises(TypeError, match=r"smoke\(\) is a coroutine function: write it as `def`"):
        await in_transaction(smoke)
