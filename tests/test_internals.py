"""What is private to others is used only in versions in which somebody has read it."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import asgiref
import django
import pytest
from django.core.checks import Error, register, run_checks
from packaging.requirements import Requirement

from asyncviews import internals
from asyncviews.checks import check_versions

PROJECT = Path(__file__).parent.parent

SERVE = """
import asyncio, json, os, sys, threading
import asgiref
asgiref.__version__ = sys.argv[1]
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django
django.setup()
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.checks import run_checks
from django.http import HttpResponse
from django.urls import path
from asyncviews import add_background_task
from asyncviews.asgi import get_asgi_application
from tests.conftest import http_scope

def threads():
    return threading.current_thread().name

def sync_view(request):
    return HttpResponse(threads())

async def async_view(request):
    async def task():
        return await sync_to_async(threads)()
    tasks.append(add_background_task(task))
    tasks.append(add_background_task(threads))
    return HttpResponse(await sync_to_async(threads)())

tasks = []
settings.ROOT_URLCONF = (path("sync/", sync_view), path("async/", async_view))
settings.MIDDLEWARE = []
settings.ALLOWED_HOSTS = ["*"]

async def get(app, url):
    sent, received = [], [{"type": "http.request"}]
    async def receive():
        return received.pop() if received else await asyncio.get_running_loop().create_future()
    async def send(message):
        sent.append(message)
    await app(http_scope(url), receive, send)
    return sent[0]["status"], b"".join(m.get("body", b"") for m in sent[1:]).decode()

async def main():
    app = get_asgi_application()
    messages, to_app = [{"type": "lifespan.startup"}], asyncio.Event()
    started, stopped = asyncio.Event(), asyncio.Event()
    async def receive():
        if messages:
            return messages.pop()
        await to_app.wait()
        return {"type": "lifespan.shutdown"}
    async def send(message):
        (started if "startup" in message["type"] else stopped).set()
    lifespan = asyncio.create_task(app({"type": "lifespan", "state": {}}, receive, send))
    await started.wait()
    answers = [await get(app, "/sync/"), await get(app, "/async/")]
    names = await asyncio.gather(*tasks)
    to_app.set()
    await stopped.wait()
    await lifespan
    return answers, names

answers, names = asyncio.run(main())
ids = [message.id for message in run_checks(tags=["asyncviews"])]
print(json.dumps({"answers": answers, "names": names, "ids": ids}))
"""


def serve(version: str) -> dict:
    """Serve a few requests in a process in which asgiref says that it is of this version."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SERVE, version],
        cwd=PROJECT, capture_output=True, text=True, check=False, timeout=25,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("version", ["3.14.0", "4.0.0rc1", "3.13"])
def test_an_asgiref_that_nobody_has_read_is_left_alone(version):
    """Requests and tasks get the threads that Django gives them, and a check says so."""
    known = version == "3.13"
    seen = serve(version)
    assert [status for status, _ in seen["answers"]] == [200, 200]
    for _, name in seen["answers"]:
        assert name.startswith("asyncviews-request") is known
    assert len(seen["names"]) == 2
    assert ("asyncviews.W009" in seen["ids"]) is not known


def test_what_is_installed_here_has_been_read():
    """A new version fails here until somebody has read it, and added it to those that are known."""
    assert internals.IS_CHECKED
    assert internals.ASGIREF_IS_CHECKED
    assert check_versions(None) == []


@pytest.mark.parametrize(
    ("version", "names", "known"),
    [
        ("3.13.0", ("here",), True),
        ("3.13.9", ("here",), True),
        ("3.13.0", ("here", "gone"), False),
        ("3.14.0", ("here",), False),
        ("3.1", ("here",), False),
        ("4", (), False),
        ("", (), False),
    ],
)
def test_a_version_is_known_by_its_number_and_names(version, names, known):
    class Owner:
        here = None

    assert internals._is_known(version, {Owner: names}) is known


def test_versions_that_are_not_known_are_named(monkeypatch):
    monkeypatch.setattr(internals, "IS_CHECKED", False)
    monkeypatch.setattr(internals, "ASGIREF_IS_CHECKED", False)
    first, second = check_versions(None)
    assert f"Django {django.__version__} is not a version" in first.msg
    assert "5.2, 6.0, 6.1" in first.msg
    assert f"asgiref {asgiref.__version__} is not a version" in second.msg
    assert {first.id, second.id} == {"asyncviews.W009"}


def test_dependencies_are_bounded():
    """But for Django: an add-on that bounds it keeps its users from security releases."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    unbounded = {
        requirement.name
        for requirement in map(Requirement, project["dependencies"])
        if not any(specifier.operator == "<" for specifier in requirement.specifier)
    }
    assert unbounded == {"django"}


def test_a_check_that_is_unregistered_does_not_run(monkeypatch):
    def check(app_configs, **kwargs):
        return [Error("It ran.")]

    register(check, "unregistered")
    monkeypatch.setattr(internals, "IS_CHECKED", False)
    internals.unregister_check(check)
    assert len(run_checks(tags=["unregistered"])) == 1
    monkeypatch.undo()
    internals.unregister_check(check)
    assert run_checks(tags=["unregistered"]) == []
