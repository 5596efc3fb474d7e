"""Background tasks that are added in a transaction: a warning, and the way to wait for the commit."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import Group
from django.db import transaction
from django.test import TestCase

from asyncviews import BackgroundTask, add_background_task, in_transaction, internals
from asyncviews.background import runner

WARNING = (
    r"test_transactions\.smoke is added in a transaction of the database 'default'\. .* "
    r"transaction\.on_commit\(partial\(add_background_task, smoke, \.\.\.\)\)\.$"
)

added: list[BackgroundTask[Any]] = []


@pytest.fixture(autouse=True)
def _clear():
    added.clear()


def smoke() -> str:
    """It asks for nothing: SQLite's table is locked until the commit."""
    return "smoked"


def add() -> None:
    added.append(add_background_task(smoke))


def create(fail: bool = False) -> None:
    Group.objects.create(name="smokers")
    transaction.on_commit(add)
    assert added == []
    if fail:
        raise ZeroDivisionError


def run(call: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> None:
    """Await a call from this thread, whose connections it uses."""

    async def wait() -> None:
        await call(*args, **kwargs)

    async_to_sync(wait)()


def outcome() -> Any:
    (task,) = added
    return task.waiter().result(5)


def test_in_a_transaction_it_warns(transactional_db):
    with pytest.warns(RuntimeWarning, match=WARNING) as caught:
        run(in_transaction, add)
    assert caught[0].filename == __file__
    outcome()


def test_with_a_django_that_nobody_has_read_it_does_not(transactional_db, monkeypatch):
    monkeypatch.setattr(internals, "IS_CHECKED", False)
    run(in_transaction, add)
    outcome()


def test_once_for_each_place(transactional_db):
    with warnings.catch_warnings(record=True) as caught, transaction.atomic():
        warnings.resetwarnings()
        for _ in range(3):
            add()
    assert len(caught) == 1
    for task in added:
        task.waiter().result(5)


def test_on_commit_it_starts_with_the_commit(transactional_db):
    run(in_transaction, create)
    assert outcome() == "smoked"
    assert Group.objects.exists()


def test_on_commit_after_a_rollback_nothing_runs(transactional_db):
    with pytest.raises(ZeroDivisionError):
        run(in_transaction, create, fail=True)
    assert added == runner.unfinished() == []
    assert not Group.objects.exists()


async def add_on_commit() -> None:
    await sync_to_async(transaction.on_commit)(add)


def test_async_code_waits_for_the_transaction_of_the_code_that_called_it(transactional_db):
    for fails in (True, False):
        with transaction.atomic():
            run(add_on_commit)
            assert added == []
            transaction.set_rollback(fails)
    assert outcome() == "smoked"


def test_in_async_code_without_a_transaction_it_starts_at_once(transactional_db):
    run(add_on_commit)
    assert outcome() == "smoked"


class InATestCase(TestCase):
    def test_the_transaction_around_a_test_does_not_count(self):
        task = add_background_task(int, "7")
        assert task.waiter().result(5) == 7
