from __future__ import annotations

import json
from typing import Any

from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.packages.site import Site
from tests.packages.visitor import Visitor


class Sockets(Site):
    package = "channels"
    remarks = "`lifespan` has to go to the application, too: see below"

    def configure(self, settings: dict[str, Any]) -> None:
        settings["INSTALLED_APPS"].append("channels")
        settings["CHANNEL_LAYERS"] = {
            "default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}
        }

    def urls(self) -> list[Any]:
        return [path("tell/", tell), path("tell-sync/", tell_sync)]

    def application(self, application: Any) -> Any:
        from channels.auth import AuthMiddlewareStack
        from channels.routing import ProtocolTypeRouter, URLRouter
        from channels.security.websocket import AllowedHostsOriginValidator

        sockets = AuthMiddlewareStack(URLRouter([path("socket/", consumer())]))
        return ProtocolTypeRouter(
            {
                "http": application,
                "lifespan": application,
                "websocket": AllowedHostsOriginValidator(sockets),
            }
        )

    async def visit(self, visitor: Visitor) -> None:
        await visitor.sign_in()
        async with visitor.socket("/socket/") as socket:
            assert await socket.recv() == f"Hello {visitor.name}"
            for view in ("/tell/", "/tell-sync/"):
                await visitor.get(view)
                assert json.loads(await socket.recv()) == [visitor.name, view]
            await socket.send("count")
            assert await socket.recv() == "0 of mine"
        await visitor.get("/")


def consumer() -> Any:
    from channels.db import database_sync_to_async
    from channels.generic.websocket import AsyncWebsocketConsumer

    from tests.packages.models import Meat

    class Consumer(AsyncWebsocketConsumer):
        async def connect(self) -> None:
            self.user = self.scope["user"]
            await self.channel_layer.group_add(str(self.user), self.channel_name)
            await self.accept()
            await self.send(f"Hello {self.user}")

        async def receive(self, text_data: str) -> None:  # type: ignore[override]
            mine = Meat.objects.filter(owner=str(self.user))
            await self.send(f"{await database_sync_to_async(mine.count)()} of mine")

        async def told(self, event: dict[str, Any]) -> None:
            await self.send(json.dumps(event["what"]))

    return Consumer.as_asgi()


async def tell(request: HttpRequest) -> HttpResponse:
    await _tell(str(await request.auser()), request.path)
    return HttpResponse("told")


def tell_sync(request: HttpRequest) -> HttpResponse:
    async_to_sync(_tell)(str(request.user), request.path)
    return HttpResponse("told")


async def _tell(*what: str) -> None:
    from channels.layers import get_channel_layer

    await get_channel_layer().group_send(what[0], {"type": "told", "what": what})


site = Sockets()
