"""Views that show whom they serve, in the middle of serving somebody else, too."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import defaultdict

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from tests.packages.site import load

site = load(os.environ["PACKAGES_SITE"])
PATIENCE = 20.0  # seconds


async def home(request: HttpRequest) -> HttpResponse:
    """Ask the database only who a visitor with a session is."""
    user = await request.auser() if "sessionid" in request.COOKIES else "nobody"
    return HttpResponse(f"<html><head></head><body>Hello {user}!</body></html>")


def home_sync(request: HttpRequest) -> HttpResponse:
    return render(request, "home.html")


async def fail(request: HttpRequest) -> HttpResponse:
    raise ValueError(f"for {await request.auser()}")


# Two requests meet in a room: neither goes on before the other one is there.

_rooms: defaultdict[str, asyncio.Barrier] = defaultdict(lambda: asyncio.Barrier(2))
_sync_rooms: defaultdict[str, threading.Barrier] = defaultdict(lambda: threading.Barrier(2))


async def meet(request: HttpRequest) -> HttpResponse:
    barrier = _rooms[request.GET["room"]]
    async with asyncio.timeout(PATIENCE):
        before = await sync_to_async(site.work)(request)
        await barrier.wait()
        between = await sync_to_async(site.work)(request)
        await barrier.wait()
    after = await sync_to_async(site.work)(request)
    return JsonResponse([before, between, after, str(await request.auser())], safe=False)


def meet_sync(request: HttpRequest) -> HttpResponse:
    barrier = _sync_rooms[request.GET["room"]]
    before = site.work(request)
    barrier.wait(PATIENCE)
    between = site.work(request)
    barrier.wait(PATIENCE)
    return JsonResponse([before, between, site.work(request), str(request.user)], safe=False)


def effects(request: HttpRequest) -> HttpResponse:
    return JsonResponse(site.effects(request.GET["name"]), safe=False)
