"""Views over the database, sessions and streams, that raise, time out, and are left."""

import asyncio
from collections.abc import AsyncIterator

from asgiref.sync import sync_to_async
from django.contrib.auth import alogin, get_user_model
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import get_urlconf, path
from django.utils.decorators import method_decorator
from django.utils.translation import activate, get_language
from django.views.decorators.csrf import csrf_exempt

from asyncviews import AsyncView, BackgroundTaskMixin
from tests.live.load.middleware import on_thread, token
from tests.live.load.models import Row


def seen(**more: object) -> JsonResponse:
    """Answer with what this request sees; all of it must be its own."""
    urlconf = (get_urlconf() or "")[-2:]
    return JsonResponse(
        {"token": token.get(), "language": get_language(), "urlconf": urlconf} | more
    )


def mine() -> str:
    return str(on_thread.token)


class AsyncOrm(AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        row = await Row.objects.acreate(token=token.get())
        found = await Row.objects.aget(pk=row.pk)
        return seen(row=found.token, thread=await sync_to_async(mine)())


@transaction.atomic
def sync_orm(request: HttpRequest) -> HttpResponse:
    row = Row.objects.create(token=token.get())
    return seen(row=Row.objects.get(pk=row.pk).token, thread=mine())


class Session(AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        await request.session.aset("visits", await request.session.aget("visits", 0) + 1)
        await request.session.asetdefault("token", token.get())
        return seen(session=await request.session.aget("token"))


class Login(AsyncView):
    @method_decorator(csrf_exempt)
    async def dispatch(self, request: HttpRequest) -> HttpResponse:
        return await super().dispatch(request)

    async def post(self, request: HttpRequest) -> HttpResponse:
        users = get_user_model().objects
        user, _ = await users.aget_or_create(username=token.get())
        await alogin(request, user)
        return seen()


class User(AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        user = await request.auser()
        return seen(user=user.get_username())


class Stream(AsyncView):
    """Comes back to an open cursor between chunks."""

    async def get(self, request: HttpRequest) -> StreamingHttpResponse:
        await Row.objects.abulk_create([Row(token=token.get()) for _ in range(3)])
        return StreamingHttpResponse(self.chunks())

    async def chunks(self) -> AsyncIterator[str]:
        async for row in Row.objects.filter(token=token.get())[:3].aiterator(chunk_size=1):
            yield f"{row.token}\n"
            await asyncio.sleep(0.01)


class EndlessStream(AsyncView):
    async def get(self, request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(self.chunks())

    async def chunks(self) -> AsyncIterator[str]:
        while True:
            yield f"{await Row.objects.filter(token=token.get()).acount()}\n"
            await asyncio.sleep(0.05)


class Fails(AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        activate("fr")
        await Row.objects.acount()
        token.set("somebody's")
        raise RuntimeError("deliberately")


class TimesOut(AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        try:
            async with asyncio.timeout(0.02):
                await sync_to_async(self.sleep)()
        except TimeoutError:
            return seen(timeout=True)
        return seen(timeout=False)

    def sleep(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.05)")


class Waits(AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        await Row.objects.acount()
        await asyncio.sleep(0.5)
        return seen()


class Gathers(AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        found = await asyncio.gather(*(sync_to_async(mine)() for _ in range(5)))
        return seen(threads=sorted(set(found)))


class Background(BackgroundTaskMixin, AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        self.add_background_task(Row.objects.acreate, token="task")
        self.add_background_task(Row.objects.create, token="task")
        return seen()


class Posts(AsyncView):
    """Runs to its end though the client leaves."""

    @method_decorator(csrf_exempt)
    async def dispatch(self, request: HttpRequest) -> HttpResponse:
        return await super().dispatch(request)

    async def post(self, request: HttpRequest) -> HttpResponse:
        await Row.objects.acreate(token="began")
        await asyncio.sleep(0.05)
        await Row.objects.acreate(token="ended")
        return seen()


@csrf_exempt
def uploads(request: HttpRequest) -> HttpResponse:
    return seen(length=len(request.body))


class Counts(AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        names = ("task", "began", "ended")
        counts = {name: await Row.objects.filter(token=name).acount() for name in names}
        return JsonResponse(counts)


urlpatterns = [
    path("async_orm/", AsyncOrm.as_view()),
    path("sync_orm/", sync_orm),
    path("session/", Session.as_view()),
    path("login/", Login.as_view()),
    path("user/", User.as_view()),
    path("stream/", Stream.as_view()),
    path("endless_stream/", EndlessStream.as_view()),
    path("fails/", Fails.as_view()),
    path("times_out/", TimesOut.as_view()),
    path("waits/", Waits.as_view()),
    path("gathers/", Gathers.as_view()),
    path("background/", Background.as_view()),
    path("posts/", Posts.as_view()),
    path("uploads/", uploads),
    path("counts/", Counts.as_view()),
]
