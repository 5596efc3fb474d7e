"""`in_transaction()`: a block of synchronous code, as Django's transactions are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group
from django.db import connections, transaction
from django.utils.connection import ConnectionDoesNotExist

from asyncviews import in_transaction
from tests.conftest import until
from tests.site_database import added


def store(*names: str, fail: bool = False) -> list[str]:
    for name in names:
        Group.objects.create(name=name)
    if fail:
        raise ZeroDivisionError
    return [group.name for group in Group.objects.order_by("name")]


def run(call: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
    """Await a call from this thread, whose connections it uses."""

    async def wait() -> Any:
        return await call(*args, **kwargs)

    return async_to_sync(wait)()


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


# The options of `atomic()`


@pytest.fixture
def other(tmp_path, django_db_blocker) -> Iterator[str]:
    """The alias of a second database, which has a table of meats."""
    with django_db_blocker.unblock(), added(tmp_path) as alias:
        with connections[alias].cursor() as cursor:
            cursor.execute("CREATE TABLE meats (name text)")
        yield alias


def store_meat(alias: str, name: str, *, fail: bool = False) -> list[str]:
    assert [each.alias for each in connections.all() if each.in_atomic_block] == [alias]
    with connections[alias].cursor() as cursor:
        cursor.execute("INSERT INTO meats VALUES (%s)", [name])
    if fail:
        raise ZeroDivisionError
    return [name]


def meats(alias: str) -> list[str]:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT name FROM meats")
        return [name for (name,) in cursor.fetchall()]


def test_of_two_databases_the_named_one_has_the_transaction(other):
    in_other = in_transaction(using=other)
    assert run(in_other, store_meat, other, "ribs") == ["ribs"]
    with pytest.raises(ZeroDivisionError):
        run(in_other, store_meat, other, "brisket", fail=True)
    assert meats(other) == ["ribs"]


def test_a_database_that_is_not_there_is_named():
    with pytest.raises(ConnectionDoesNotExist, match="'nowhere' doesn't exist"):
        run(in_transaction(using="nowhere"), store)


@pytest.mark.django_db(transaction=True)
def test_durable_is_refused_inside_another_transaction():
    assert run(in_transaction(durable=True), store, "a") == ["a"]
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable atomic block"):
        run(in_transaction(durable=True), store, "b")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("savepoint", "kept"), [(True, ["before"]), (False, [])])
def test_without_a_savepoint_a_failure_takes_the_outer_transaction_with_it(savepoint, kept):
    with transaction.atomic():
        store("before")
        with pytest.raises(ZeroDivisionError):
            run(in_transaction(savepoint=savepoint), store, "a", fail=True)
    assert store() == kept


def test_an_option_that_atomic_does_not_have_is_named():
    with pytest.raises(TypeError, match="unexpected keyword argument 'usign'"):
        in_transaction(usign="other")


async def test_options_keep_the_check_of_the_function():
    async def smoke(): ...

    with pytest.raises(TypeError, match=r"smoke\(\) is a coroutine function"):
        await in_transaction(using="default")(smoke)
