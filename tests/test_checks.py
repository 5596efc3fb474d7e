"""System checks: true warnings with a remedy, and none for a site that is well."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys

import pytest
from asgiref.sync import async_to_sync
from django.core.asgi import get_asgi_application as get_djangos
from django.core.checks import ERROR, Tags, run_checks
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.transaction import non_atomic_requests
from django.http import HttpResponse
from django.test import AsyncClient
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.views.generic import TemplateView

from asyncviews import AsyncView, BackgroundTaskMixin, checks, telemetry
from asyncviews.asgi import get_asgi_application as get_ours
from asyncviews.tasks.compat import BaseTaskBackend
from tests.test_docs import DOCS

CELERY = {"default": {"BACKEND": f"{__name__}.CeleryBackend"}}


class Start(BackgroundTaskMixin, AsyncView):
    async def get(self, request):
        return HttpResponse()


class CeleryBackend(BaseTaskBackend):
    def enqueue(self, task, args, kwargs): ...


urlpatterns = [path("start/", Start.as_view())]


def hook_that_may_block(get_response):
    return get_response


def __getattr__(name: str):
    """The applications, made when a check asks for them."""
    makers = {"djangos": get_djangos, "ours": get_ours}
    if name in makers:
        return makers[name]()
    raise AttributeError(name)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch, settings):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    settings.STATIC_ROOT = "/srv/static"
    settings.ASGI_APPLICATION = f"{__name__}.ours"


def found(*, deploy: bool = True, databases: list[str] | None = None) -> dict[str, str]:
    tags = [checks.TAG, *([Tags.database] if databases else [])]
    messages = run_checks(tags=tags, include_deployment_checks=deploy, databases=databases)
    assert all(message.hint for message in messages if message.level < ERROR)
    return {message.id.removeprefix("asyncviews."): message.msg for message in messages}


def test_a_site_that_is_well_hears_nothing():
    assert found() == {}


def test_nor_does_a_new_project(tmp_path):
    """`startproject`, asyncviews added as the README says."""
    run = [sys.executable, "-m", "django"]
    subprocess.run([*run, "startproject", "site_", str(tmp_path)], check=True)
    file = tmp_path / "site_/settings.py"
    added = "INSTALLED_APPS.insert(0, 'asyncviews')\nASGI_APPLICATION = 'site_.asgi.application'\n"
    file.write_text(file.read_text() + added)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(DOCS.parent), str(tmp_path)])}
    environment["DJANGO_SETTINGS_MODULE"] = "site_.settings"
    checked = subprocess.run(
        [*run, "check", "--fail-level", "DEBUG"],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert checked.stdout == "System check identified no issues (0 silenced).\n", checked.stderr


def test_settings_that_cannot_be_used_are_an_error(settings):
    settings.ASYNCVIEWS = {"DRAIN_TIMOUT": 1}
    assert "DRAIN_TIMOUT" in found()["E002"]


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [("METRICS", "prometheus_client", "metrics"), ("TELEMETRY", "opentelemetry", "telemetry")],
)
def test_a_package_that_is_missing_is_an_error(settings, monkeypatch, name, package, extra):
    telemetry.require.cache_clear()
    monkeypatch.delitem(sys.modules, "asyncviews.metrics", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    settings.ASYNCVIEWS = {name: True}
    assert f"pip install 'asyncviews[{extra}]'" in found()["E002"]


def test_middleware_that_costs_threads(settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.hook_that_may_block"]
    messages = found(deploy=False)
    assert (
        f"1 hop to a thread and back: {__name__}.hook_that_may_block (thread, " in messages["W001"]
    )


def test_middleware_that_cannot_be_imported_is_left_to_the_server(settings):
    settings.MIDDLEWARE = ["nowhere.Middleware"]
    assert found().keys() == {"E005"}  # there is no application


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"ASGI_APPLICATION": None}, 'TASKS["default"]'),
        ({"ASGI_APPLICATION": f"{__name__}.djangos"}, "an application of Django's"),
        ({"ASGI_APPLICATION": None, "TASKS": {}, "ROOT_URLCONF": __name__}, "the view Start"),
        ({"ASGI_APPLICATION": None, "TASKS": CELERY}, None),
        ({"ASGI_APPLICATION": None, "TASKS": {}, "ROOT_URLCONF": "nowhere"}, None),
    ],
)
def test_background_work_that_no_server_runs(settings, changes, expected):
    for name, value in changes.items():
        setattr(settings, name, value)
    assert found(deploy=False) == {}
    messages = found()
    assert (expected in messages["W002"]) if expected else messages == {}


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({"STATIC_ROOT": None}, True),
        ({"STATIC_ROOT": None, "STATIC_URL": "https://cdn.example.com/"}, False),
        ({"STATIC_ROOT": None, "INSTALLED_APPS": ["asyncviews"]}, False),
        (
            {"STATIC_ROOT": None, "STORAGES": {"staticfiles": {"BACKEND": "storages.S3Storage"}}},
            False,
        ),
    ],
)
def test_static_files_that_nobody_serves(settings, changes, warned):
    for name, value in changes.items():
        setattr(settings, name, value)
    assert ("W003" in found()) is warned


def test_middleware_that_serves_static_files(settings, monkeypatch):
    settings.STATIC_ROOT = None
    settings.MIDDLEWARE = ["whitenoise.middleware.WhiteNoiseMiddleware"]
    assert "W003" not in found()


@pytest.mark.parametrize(
    ("file", "text", "limit"),
    [
        ("gunicorn.conf.py", "workers = 4\n", "30 s"),
        ("gunicorn.conf.py", "graceful_timeout = 20\n", "20 s"),
        ("gunicorn.conf.py", "graceful_timeout = 31\n", None),
        ("gunicorn.conf.py", "graceful_timeout = int('20')\n", None),
        ("gunicorn.conf.py", "(", None),
        ("hypercorn.toml", "shutdown_timeout = 10.5\n", "10.5 s"),
        ("hypercorn.toml", "workers = 4\n", None),
        ("hypercorn.toml", "shutdown_timeout = []\n", None),
        ("hypercorn.toml", "=", None),
    ],
)
def test_a_server_that_waits_shorter_than_the_drain_takes(tmp_path, file, text, limit):
    (tmp_path / file).write_text(text)
    messages = found()
    if limit:
        assert f"is 30 s, and {file} gives a process {limit}" in messages["W004"]
    else:
        assert messages == {}


@pytest.fixture
def database(postgres):
    """The database's alias without what tests before this one knew of it."""
    yield postgres
    connections[postgres.alias].close()
    del connections[postgres.alias]


def test_more_threads_than_the_database_has_connections(settings, database):
    database.set(CONN_MAX_AGE=600)
    assert found(databases=[database.alias, "default"]) == {}
    settings.ASYNCVIEWS = {"REQUEST_THREADS": 100_000}
    assert "W005" not in found()
    message = found(databases=[database.alias])["W005"]
    expected = (
        r"'postgres' accepts \d+ connections.*keeps one for 600 s .*one process may ask for 100008"
    )
    assert re.search(expected, message)
    database.set(CONN_MAX_AGE=None)
    assert "for ever" in found(databases=[database.alias])["W005"]


def test_a_pool_keeps_count_itself(settings, database):
    settings.ASYNCVIEWS = {"REQUEST_THREADS": 100_000}
    database.set(OPTIONS={"pool": True})
    assert found(databases=[database.alias]) == {}


def test_the_number_of_processes_is_taken_from_the_environment(settings, database, monkeypatch):
    monkeypatch.setenv("WEB_CONCURRENCY", "10000")
    assert "10000 processes may ask for 240000" in found(databases=[database.alias])["W005"]


class Exempt(Start): ...


async def function(request): ...


atomic = [
    path("broken/", Start.as_view()),
    path("exempt/", method_decorator(non_atomic_requests, name="dispatch")(Exempt).as_view()),
    path("sync/", TemplateView.as_view()),
    path("more/", include([path("<int:pk>/", function)])),
]


@pytest.fixture
def atomic_requests(monkeypatch, settings):
    settings.ROOT_URLCONF = tuple(atomic)
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)


def test_async_views_that_atomic_requests_breaks_are_named(atomic_requests):
    message = found(deploy=False)["W006"]
    assert "ATOMIC_REQUESTS of the database 'default'" in message
    views = f"broken/ ({__name__}.Start), more/<int:pk>/ ({__name__}.function)."
    assert message.endswith(views)


def test_they_are_broken_indeed_and_the_remedy_helps(atomic_requests, db):
    with pytest.raises(RuntimeError, match="You cannot use ATOMIC_REQUESTS with async views"):
        async_to_sync(AsyncClient().get)("/broken/")
    assert async_to_sync(AsyncClient().get)("/exempt/").status_code == 200


def test_many_views_are_counted(atomic_requests, settings):
    settings.ROOT_URLCONF = tuple(path(f"{n}/", Start.as_view()) for n in range(8))
    assert found(deploy=False)["W006"].endswith("and 3 more.")


def test_the_command_shows_them(settings):
    settings.ASYNCVIEWS = {"NO": 1}
    with pytest.raises(CommandError, match=r"\(asyncviews\.E002\)"):
        call_command("check", "--tag", "asyncviews", stdout=io.StringIO())


def test_the_reference_lists_every_check():
    package = DOCS.parent / "asyncviews"
    source = "".join(module.read_text() for module in package.rglob("*.py"))
    ids = set(re.findall(r'id="asyncviews\.([EW]\d+)"', source))
    page = (DOCS / "reference/checks.md").read_text()
    assert set(re.findall(r"^\| `asyncviews\.([EW]\d+)` \|", page, re.MULTILINE)) == ids
