"""What a request leaves behind in its context, on its thread, and for its URLs."""

import threading
from contextvars import ContextVar

from django.utils.decorators import async_only_middleware, sync_and_async_middleware

token = ContextVar("token", default="nobody's")
on_thread = threading.local()


@async_only_middleware
def context(get_response):
    async def middleware(request):
        token.set(request.headers.get("X-Token", "none"))
        return await get_response(request)

    return middleware


def third_party(get_response):
    """Keeps the token where all sync code of the request finds it, as many packages do."""

    def middleware(request):
        on_thread.token = request.headers.get("X-Token", "none")
        try:
            return get_response(request)
        finally:
            found, on_thread.token = on_thread.token, None
            assert found == request.headers.get("X-Token", "none"), found

    return middleware


@sync_and_async_middleware
def urlconf(get_response):
    async def middleware(request):
        if chosen := request.headers.get("X-Urlconf"):
            request.urlconf = f"tests.live.load.urls_{chosen}"
        return await get_response(request)

    return middleware
