"""Blocking calls fail a test, and what only looks like one does not."""

from __future__ import annotations

import asyncio
import importlib
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.template.utils import EngineHandler
from django.urls import path
from django.utils import translation
from django.utils.translation import trans_real

from asyncviews import AsyncView, BackgroundTaskMixin
from asyncviews.testing import AsyncClient, Background, BlockingCall, no_blocking_calls

TEMPLATES = {
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "DIRS": [],
    "APP_DIRS": True,
    "OPTIONS": {},
}


def burn() -> None:
    time.sleep(0.001)


async def aburn() -> None:
    burn()


class Burn(BackgroundTaskMixin, AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        burn()
        return HttpResponse("burnt")

    async def post(self, request: HttpRequest) -> HttpResponse:
        self.add_background_task(aburn)
        return HttpResponse("later")


class Smoke(BackgroundTaskMixin, AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        request.session["meat"] = "ribs"
        await sync_to_async(burn)()
        await User.objects.filter(username="jace").aexists()
        self.add_background_task(burn)
        self.add_background_task(asyncio.sleep, 0)
        return HttpResponse("smoked")


urlpatterns = [path("burn/", Burn.as_view()), path("smoke/", Smoke.as_view())]


def block() -> None:
    with no_blocking_calls():
        asyncio.run(aburn())


def block_unheard() -> None:
    async def swallow() -> None:
        try:
            burn()
        except Exception:  # noqa: BLE001 - as other people's code does
            return

    with no_blocking_calls():
        asyncio.run(swallow())


def test_a_blocking_call_raises_where_it_is_made():
    from blockbuster import BlockingError

    with pytest.raises(BlockingError, match=r"Blocking call to time\.sleep"):
        block()


def test_one_that_is_swallowed_is_told_at_the_end():
    with pytest.raises(BlockingCall) as caught:
        block_unheard()
    assert "The event loop was blocked: time.sleep at " in str(caught.value)
    assert f"{__file__}:" in str(caught.value)
    assert "in burn" in str(caught.value)


def test_afterwards_one_may_block():
    with pytest.raises(BlockingCall):
        block_unheard()
    asyncio.run(aburn())


@pytest.mark.urls(__name__)
async def test_a_view_that_blocks():
    from blockbuster import BlockingError

    async with AsyncClient() as client:
        with pytest.raises(BlockingError), no_blocking_calls():
            await client.get("/burn/")


@pytest.mark.urls(__name__)
async def test_a_task_that_blocks():
    async def run() -> None:
        with no_blocking_calls():
            await client.post("/burn/")
            await background.drain()

    with Background() as background:
        async with AsyncClient() as client:
            with pytest.raises(BlockingCall, match=r"time\.sleep"):
                await run()


@pytest.mark.urls(__name__)
@pytest.mark.django_db(transaction=True)
async def test_what_runs_on_threads_may_block():
    """All middleware of startproject, a session, a query, and a synchronous task."""
    with no_blocking_calls(), Background() as background:
        async with AsyncClient() as client:
            assert (await client.get("/smoke/")).status_code == 200
            await background.drain()
            background.assert_succeeded(burn)


async def test_an_exception_can_be_made(tmp_path: Path):
    async def connect() -> None:
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", 9))

    with no_blocking_calls() as watch:
        watch.functions["socket.socket.connect"].can_block_in(__file__, "connect")
        await connect()


def test_what_happens_once_in_a_process_may_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An import, of code that reads as well, and what is cached: a template, a language."""
    (tmp_path / "grill").mkdir()
    (tmp_path / "grill" / "__init__.py").write_text(
        "import os\nfrom pathlib import Path\n"
        "os.listdir('.')\nTEXT = Path(__file__).read_text()\nfrom grill import coal\n"
    )
    (tmp_path / "grill" / "coal.py").touch()
    (tmp_path / "menu.html").write_text("{% load static %}{% include 'ribs.html' %}")
    (tmp_path / "ribs.html").write_text("ribs")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(trans_real, "_translations", {})
    templates = EngineHandler([{**TEMPLATES, "DIRS": [tmp_path]}])

    async def serve() -> str:
        importlib.import_module("grill")
        with translation.override("fr"):
            translation.gettext("Yes")
        return templates["django"].get_template("menu.html").render()

    with no_blocking_calls():
        assert asyncio.run(serve()) == "ribs"
    del sys.modules["grill"], sys.modules["grill.coal"]


def test_what_happens_with_each_request_may_not(tmp_path: Path):
    """A file that a view reads, and a template that is not cached."""
    (tmp_path / "menu.html").write_text("ribs")
    loaders = {"loaders": ["django.template.loaders.filesystem.Loader"]}
    options = {"APP_DIRS": False, "DIRS": [tmp_path], "OPTIONS": loaders}
    templates = EngineHandler([TEMPLATES | options])
    templates["django"]

    async def read() -> str:
        with (tmp_path / "menu.html").open() as file:
            return file.read()

    async def render() -> str:
        return templates["django"].get_template("menu.html").render()

    for serve in (read, render):
        with pytest.raises(BlockingCall), no_blocking_calls(), suppress(Exception):
            asyncio.run(serve())


def test_without_blockbuster_the_command_to_run_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "blockbuster", None)
    with pytest.raises(ImproperlyConfigured, match=r"pip install 'asyncviews\[testing\]'"):
        no_blocking_calls().__enter__()
