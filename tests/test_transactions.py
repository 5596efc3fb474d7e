"""`in_transaction()`, and the check that explains ATOMIC_REQUESTS."""

from __future__ import annotations

import asyncio
import threading

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group
from django.core.checks import Warning as CheckWarning
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.views.generic import TemplateView

from asyncviews import AsyncView
from asyncviews.transactions import check_atomic_requests, in_transaction
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


class Broken(AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("hello")


@method_decorator(transaction.non_atomic_requests, name="dispatch")
class Exempt(Broken): ...


async def function(request): ...


urlpatterns = [
    path("broken/", Broken.as_view()),
    path("exempt/", Exempt.as_view()),
    path("sync/", TemplateView.as_view()),
    path("more/", include([path("<int:pk>/", function)])),
]


@pytest.mark.urls(__name__)
def test_without_atomic_requests_there_is_nothing_to_say():
    assert check_atomic_requests(None) == []


@pytest.fixture
def atomic_requests(monkeypatch):
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)


@pytest.mark.urls(__name__)
def test_async_views_that_it_breaks_are_named(atomic_requests):
    [warning] = check_atomic_requests(None)
    assert isinstance(warning, CheckWarning)
    assert warning.id == "asyncviews.W010"
    views = f"broken/ ({__name__}.Broken), more/<int:pk>/ ({__name__}.function)."
    assert warning.msg.endswith(views)
    assert "ATOMIC_REQUESTS of the database 'default'" in warning.msg
    assert "in_transaction(func)" in warning.hint
    assert "non_atomic_requests" in warning.hint


@pytest.mark.urls(__name__)
def test_it_says_what_happens(atomic_requests, db):
    """The warning is true, and so is its hint."""
    with pytest.raises(RuntimeError, match="You cannot use ATOMIC_REQUESTS with async views"):
        async_to_sync(AsyncClient().get)("/broken/")
    assert async_to_sync(AsyncClient().get)("/exempt/").text == "hello"


def test_many_views_are_counted(atomic_requests, settings):
    settings.ROOT_URLCONF = tuple(path(f"{n}/", Broken.as_view()) for n in range(8))
    [warning] = check_atomic_requests(None)
    assert warning.msg.endswith("and 3 more.")
