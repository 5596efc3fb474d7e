"""The dashboard's page, its live parts, and what its buttons do."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.apps import apps
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.utils.cache import add_never_cache_headers
from pydantic import BaseModel

from asyncviews.background import runner
from asyncviews.dashboard.access import StaffOnly, home, may_change, require_change
from asyncviews.dashboard.overview import Parts, look
from asyncviews.problems import NotFound
from asyncviews.streaming import ServerSentEvent
from asyncviews.views import AsyncView

UPDATE_SECONDS = 1.0
"""Time between two updates of a live page."""

STREAM_SECONDS = 60.0
"""Time after which a live page has to ask again, and so whether its reader still may look."""

LAG_STEP = 0.05
"""Seconds between two looks at the clock of the event loop."""


class Part(BaseModel):
    """A part of the page that has changed."""

    name: str
    html: str


class Dashboard(StaffOnly, AsyncView):
    """The page: complete as it is, and live where there is JavaScript."""

    async def get(self, request: HttpRequest) -> HttpResponse:
        parts = await look(await loop_lag(LAG_STEP), may_change=await may_change(request))
        template = "asyncviews/dashboard/page.html"
        response = await sync_to_async(render)(request, template, {"parts": parts})
        add_never_cache_headers(response)
        return response


class DashboardEvents(StaffOnly, AsyncView):
    """The parts of the page, each when it has changed."""

    async def get(self, request: HttpRequest) -> AsyncIterator[ServerSentEvent[Part]]:
        end = time.monotonic() + STREAM_SECONDS
        may = await may_change(request)
        lag = await loop_lag(LAG_STEP)
        sent: Parts = {}
        while True:
            parts = await look(lag, may_change=may)
            changed = {name: part for name, part in parts.items() if sent.get(name) != part}
            for part in await sync_to_async(rendered)(changed):
                yield ServerSentEvent(part, retry=1000)
            sent = parts
            if time.monotonic() >= end:
                return
            lag = await loop_lag(UPDATE_SECONDS)


def rendered(parts: Parts) -> list[Part]:
    """Render parts; in a thread: fifty rows of each kind would hold the event loop for a while."""
    return [
        Part(name=name, html=render_to_string(part.template, {"part": part}))
        for name, part in parts.items()
    ]


class CancelTask(StaffOnly, AsyncView):
    async def post(self, request: HttpRequest, task_id: str) -> HttpResponse:
        await require_change(request)
        cancelled = await sync_to_async(cancel_stored)(task_id) if durable() else False
        if not cancelled:
            task = runner.task(task_id)
            if task is None or not task.cancel():
                raise NotFound(
                    f"Process {os.getpid()} has no unfinished task {task_id}. It has ended, or "
                    "another process runs it: what is in memory is cancelled where it runs."
                )
        return redirect(home(request))


class RetryTask(StaffOnly, AsyncView):
    async def post(self, request: HttpRequest, task_id: str) -> HttpResponse:
        await require_change(request)
        if not (durable() and await sync_to_async(retry_stored)(task_id)):
            raise NotFound(
                f"There is no stored task {task_id} that has failed. What ran in memory cannot be "
                "run again: what it worked with is gone."
            )
        return redirect(home(request))


def durable() -> bool:
    """Return whether the project stores tasks in its database."""
    return apps.is_installed("asyncviews.durable")


def cancel_stored(task_id: str) -> bool:
    from asyncviews.durable import store

    return _change(task_id, store.cancel)


def retry_stored(task_id: str) -> bool:
    from asyncviews.durable import store

    return _change(task_id, store.retry)


def _change(task_id: str, change: Callable[[QuerySet[Any]], int]) -> bool:
    """Change a stored task; if this process runs such tasks, it hears of it at once."""
    from asyncviews.durable import store, worker

    task = store.tasks().filter(id=task_id)
    backends = list(task.values_list("backend", flat=True))
    changed = change(task)
    for alias in backends:
        worker.wake(alias)
    return bool(changed)


async def loop_lag(seconds: float) -> float:
    """Wait for `seconds`; return by how many seconds the event loop was late meanwhile, at worst."""
    end = time.monotonic() + seconds
    worst = 0.0
    while (began := time.monotonic()) < end:
        await asyncio.sleep(LAG_STEP)
        worst = max(worst, time.monotonic() - began - LAG_STEP)
    return worst
