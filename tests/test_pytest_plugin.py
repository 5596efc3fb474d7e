"""The fixtures, used by tests that pytest itself runs, with each plugin that runs async tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.timeout(120)

SETTINGS = """
SECRET_KEY = "tests"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "kitchen"
USE_TZ = True
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": "db.sqlite3",
        "TEST": {"NAME": "test.sqlite3"},
    }
}
INSTALLED_APPS = ["asyncviews", "django.contrib.auth", "django.contrib.contenttypes"]
"""

KITCHEN = """
import time

from django.contrib.auth.models import User
from django.http import HttpResponse
from django.urls import path

from asyncviews import AsyncView, BackgroundTaskMixin, background_task, http_client


def enter(name: str) -> int:
    return User.objects.create_user(name).pk


class Enter(BackgroundTaskMixin, AsyncView):
    async def get(self, request) -> HttpResponse:
        self.add_background_task(enter, "jace")
        return HttpResponse(str(http_client().is_closed))


class Burn(AsyncView):
    async def get(self, request) -> HttpResponse:
        time.sleep(0.001)
        return HttpResponse("burnt")


urlpatterns = [path("enter/", Enter.as_view()), path("burn/", Burn.as_view())]
"""

ASYNC_TESTS = """
import asyncio
import time

import pytest
from django.contrib.auth.models import User

from asyncviews import add_background_task
from kitchen import enter

pytestmark = [{marks}]


@pytest.mark.django_db(transaction=True)
async def test_lifespan(lifespan_client, background):
    response = await lifespan_client.get("/enter/")
    assert response.text == "False"
    await background.drain()
    assert background.assert_succeeded(enter, "jace")
    assert await User.objects.acount() == 1


@pytest.mark.django_db(transaction=True)
async def test_eager(lifespan_client, eager_background):
    await lifespan_client.get("/enter/")
    assert eager_background.assert_succeeded(enter, "jace")


async def test_a_hanging_task(lifespan_client, background):
    add_background_task(asyncio.Event().wait)
    with pytest.raises(AssertionError, match="Not ended within 0.01 s"):
        await background.drain(0.01)
    background.tasks[0].cancel()


class TestMethods:
    async def test_lifespan(self, lifespan_client):
        assert (await lifespan_client.get("/nowhere/")).status_code == 404


async def test_blocks(lifespan_client, no_blocking_calls):
    await lifespan_client.get("/burn/")


async def test_blocks_unheard(no_blocking_calls):
    try:
        time.sleep(0.001)
    except Exception:
        pass


async def test_fails(lifespan_client):
    assert False, "as it should"
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    pytester.makepyfile(kitchen_settings=SETTINGS, kitchen=KITCHEN)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "kitchen_settings")
    root = str(Path(__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(pytester.path), root]))
    monkeypatch.setenv("COLUMNS", "200")
    return pytester


WITHOUT = [f"-pno:{plugin}" for plugin in ("randomly", "xdist", "schemathesis", "hypothesispytest")]
"""Plugins of this suite that take long to load, and change nothing here."""


def run(project: pytest.Pytester, *options: str) -> pytest.RunResult:
    scope = "asyncio_default_fixture_loop_scope=function"  # pytest-asyncio warns without one
    scoped = () if "no:asyncio" in options else ("-o", scope)
    always = ("-W", "error", *WITHOUT, *scoped)
    return project.runpytest_subprocess(*always, *options, timeout=100)


@pytest.mark.parametrize(
    ("options", "marks"),
    [
        (["-o", "asyncio_mode=auto"], ""),
        (["-o", "asyncio_mode=strict"], "pytest.mark.asyncio"),
        (["-p", "no:asyncio"], "pytest.mark.anyio"),
    ],
    ids=["pytest-asyncio, auto", "pytest-asyncio, strict", "anyio"],
)
def test_async_tests(project: pytest.Pytester, options: list[str], marks: str) -> None:
    project.makepyfile(ASYNC_TESTS.format(marks=marks))
    project.makeconftest(
        "import pytest\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    )
    result = run(project, *options)
    result.assert_outcomes(passed=4, failed=3)
    result.stdout.fnmatch_lines(
        [
            "FAILED *test_blocks - blockbuster.BlockingError: *",
            "FAILED *test_blocks_unheard - asyncviews*BlockingCall: *",
            "FAILED *test_fails - AssertionError: as it should",
        ]
    )


def test_synchronous_tests(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest
        from django.contrib.auth.models import User

        from asyncviews import add_background_task
        from kitchen import enter


        @pytest.mark.django_db(transaction=True)
        def test_waits(background):
            add_background_task(enter, "jace")
            background.wait()
            background.assert_succeeded(enter)


        @pytest.mark.django_db
        @pytest.mark.parametrize("again", [1, 2])
        def test_eager_work_is_rolled_back(eager_background, again):
            add_background_task(enter, "jace")
            eager_background.wait()
            assert User.objects.count() == 1


        def test_leaves(eager_background):
            add_background_task(int)
        """
    )
    result = run(project)
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(["*AssertionError: The test leaves background tasks behind: *int*"])


def test_a_lifespan_needs_an_async_test(project: pytest.Pytester) -> None:
    project.makepyfile("def test_it(lifespan_client):\n    pass\n")
    result = run(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*test_it is not async, so it has no event loop for *lifespan*"])


def test_djangos_test_cases(project: pytest.Pytester) -> None:
    """pytest runs them in its own way."""
    project.makepyfile(
        """
        from django.contrib.auth.models import User
        from django.test import TestCase

        from asyncviews.testing import AsyncViewTestMixin
        from kitchen import enter


        class KitchenTests(AsyncViewTestMixin, TestCase):
            eager = True

            async def test_async(self):
                response = await self.async_client.get("/enter/")
                self.assertEqual(response.text, "False")
                self.background.assert_succeeded(enter)
                self.assertEqual(await User.objects.acount(), 1)

            def test_rolled_back(self):
                self.assertEqual(User.objects.count(), 0)
        """
    )
    run(project).assert_outcomes(passed=2)


def test_where_there_is_no_django_project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plugin is loaded wherever it is installed."""
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    pytester.makepyfile("def test_it():\n    pass\n")
    run(pytester, "-p", "no:django", "-p", "no:asyncio").assert_outcomes(passed=1)


def test_the_tools_need_neither_pytest_nor_blockbuster() -> None:
    """Nor settings, when they are imported."""
    forbid = "import sys; sys.modules.update(pytest=None, blockbuster=None)"
    environment = {name: os.environ[name] for name in os.environ if name[:7] != "DJANGO_"}
    command = [sys.executable, "-W", "error", "-c", f"{forbid}; import asyncviews.testing"]
    subprocess.run(command, check=True, env=environment)


def test_the_fixtures_are_described(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--fixtures", "-p", "no:asyncio")
    shown = "\n".join(result.outlines).partition("fixtures defined from asyncviews.pytest_plugin")[
        2
    ]
    for name in ("background", "eager_background", "lifespan_client", "no_blocking_calls"):
        assert f"\n{name} -- " in shown
    assert "no docstring" not in shown.partition("fixtures defined from")[0]
