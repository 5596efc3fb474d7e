"""`AsyncViewTestMixin` in Django's test cases, run as Django's runner runs them."""

from __future__ import annotations

import unittest

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.test import SimpleTestCase, TestCase, TransactionTestCase, override_settings
from django.urls import path

from asyncviews import AsyncView, BackgroundTaskMixin, add_background_task, http_client
from asyncviews.background import runner
from asyncviews.testing import AsyncViewTestMixin


def enter(name: str) -> int:
    return User.objects.create_user(name).pk


async def aenter(name: str) -> int:
    return (await User.objects.acreate_user(name)).pk


class Enter(BackgroundTaskMixin, AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        for func in (enter, aenter):
            self.add_background_task(func, f"{request.GET['name']}-{func.__name__}")
        return HttpResponse("Welcome.")


urlpatterns = [path("", Enter.as_view())]


@override_settings(ROOT_URLCONF=__name__)
class EagerTests(AsyncViewTestMixin, TestCase):
    """Both methods enter the same guest: neither sees what the other did, for it is rolled back."""

    eager = True

    async def test_async(self) -> None:
        await User.objects.acreate_user("host")
        await self.async_client.get("/?name=jace")
        self.background.assert_succeeded(enter, "jace-enter")
        self.assertEqual(await User.objects.acount(), 3)

    def test_sync(self) -> None:
        User.objects.create_user("host")
        self.client.get("/?name=jace")
        self.background.assert_succeeded(aenter, "jace-aenter")
        self.assertEqual(User.objects.count(), 3)

    def test_it_was_rolled_back(self) -> None:
        self.assertEqual(User.objects.count(), 0)


@override_settings(ROOT_URLCONF=__name__)
class LifespanTests(AsyncViewTestMixin, SimpleTestCase):
    async def test_resources_are_open(self) -> None:
        self.assertFalse(http_client().is_closed)
        self.assertTrue(runner.is_attached)

    async def test_decorators_stay(self) -> None:
        with override_settings(ROOT_URLCONF="tests.urls"):
            self.assertEqual((await self.async_client.get("/")).status_code, 404)

    def test_a_synchronous_test_has_no_lifespan(self) -> None:
        self.assertFalse(runner.is_attached)


def outcome(case: unittest.TestCase) -> tuple[unittest.TestResult, str]:
    result = unittest.TestResult()
    case(result)
    return result, "\n".join(text for _, text in result.errors + result.failures)


def test_a_test_that_leaves_a_task_fails():
    class Leaves(AsyncViewTestMixin, SimpleTestCase):
        eager = True

        def test(self) -> None:
            add_background_task(int, "7")

    result, text = outcome(Leaves("test"))
    assert not result.wasSuccessful()
    assert "The test leaves background tasks behind: builtins.int" in text
    assert "background.wait()" in text


def test_it_stands_before_the_test_case():
    with pytest.raises(ImproperlyConfigured, match=r"Wrong: .*Mixin stands before SimpleTestCase"):

        class Wrong(SimpleTestCase, AsyncViewTestMixin):
            pass


def test_debug_opens_the_lifespan_too():
    class Debugs(AsyncViewTestMixin, SimpleTestCase):
        async def test(self) -> None:
            assert runner.is_attached

    Debugs("test").debug()


def test_a_skipped_test_is_skipped():
    class Skips(AsyncViewTestMixin, SimpleTestCase):
        @unittest.skip("not today")
        async def test(self) -> None:
            raise AssertionError

    result, text = outcome(Skips("test"))
    assert (result.skipped[0][1], text) == ("not today", "")


def test_a_failure_is_one():
    class Fails(AsyncViewTestMixin, SimpleTestCase):
        async def test(self) -> None:
            self.assertEqual(http_client().is_closed, "maybe")

    result, text = outcome(Fails("test"))
    assert len(result.failures) == 1
    assert "'maybe'" in text


class TransactionTests(AsyncViewTestMixin, TransactionTestCase):
    async def test_tasks_run_on_their_own_threads(self) -> None:
        from threading import get_ident

        from asgiref.sync import sync_to_async

        task = add_background_task(get_ident)
        await self.background.drain()
        self.assertNotEqual(task.result(), await sync_to_async(get_ident)())
