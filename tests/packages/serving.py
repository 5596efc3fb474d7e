"""``python -m tests.packages.serving SITE HANDLER``: the process that serves a site.

HANDLER is ``django`` or ``asyncviews``. What the process says of itself is at ``/-/measured``: how often
a thread has handed a request back to the event loop, and how many seconds each request took, since that
was asked last.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

from tests.packages.site import Site, load
from tests.packages.visitor import NAMES, PASSWORD


class Measured:
    """An application, and what its requests cost."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._in_flight = 0
        self._hops = 0
        self._seconds: list[float] = []
        self._hear_of_hops()

    def _hear_of_hops(self) -> None:
        """Whatever way code takes to a thread, the thread wakes the event loop to tell the result."""
        wake = asyncio.BaseEventLoop.call_soon_threadsafe

        def counted(*args: Any, **kwargs: Any) -> Any:
            self._hops += 1
            return wake(*args, **kwargs)

        asyncio.BaseEventLoop.call_soon_threadsafe = counted  # type: ignore[assignment]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
        elif scope["path"] == "/-/measured":
            await self._tell(send)
        else:
            self._in_flight += 1
            began = time.perf_counter()
            try:
                await self._application(scope, receive, send)
            finally:
                self._seconds.append(time.perf_counter() - began)
                self._in_flight -= 1

    async def _tell(self, send: Any) -> None:
        while self._in_flight:  # a request has its answer before it has ended
            await asyncio.sleep(0.001)
        measured = {"hops": self._hops, "seconds": self._seconds}
        self._hops, self._seconds = 0, []
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(measured).encode()})


def prepare(site: Site) -> None:
    """Make the tables, and a user for each visitor."""
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import connections, transaction

    call_command("migrate", run_syncdb=True, verbosity=0)
    with transaction.atomic():
        for name in NAMES:
            User.objects.create_user(name, f"{name}@example.com", PASSWORD)
    site.prepare()
    connections.close_all()


def application(handler: str) -> Any:
    if handler == "django":
        from django.core.asgi import get_asgi_application

        return get_asgi_application()
    from asyncviews.asgi import get_asgi_application as get_ours

    return get_ours()


def main(name: str, handler: str) -> None:
    import django
    import uvicorn

    os.environ |= {"PACKAGES_SITE": name, "DJANGO_SETTINGS_MODULE": "tests.packages.settings"}
    site = load(name)
    site.instrument()
    django.setup()
    prepare(site)
    config = uvicorn.Config(
        Measured(site.application(application(handler))),
        port=0,
        loop="asyncio",
        http="h11",
        log_level="warning",
        access_log=False,
    )
    listening = config.bind_socket()
    listening.listen()
    sys.stdout.write(f"http://127.0.0.1:{listening.getsockname()[1]}\n")
    uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    main(*sys.argv[1:])
