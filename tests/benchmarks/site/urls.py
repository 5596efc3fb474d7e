"""Views that read so many rows, one query each, and answer with their names."""

from django.conf import settings
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.urls import path


def answer(names: list[str]) -> HttpResponse:
    return HttpResponse("\n".join(names), content_type="text/plain")


def synchronous(request: HttpRequest, count: int) -> HttpResponse:
    return answer([Group.objects.get(pk=pk).name for pk in range(1, count + 1)])


async def asynchronous(request: HttpRequest, count: int) -> HttpResponse:
    return answer([(await Group.objects.aget(pk=pk)).name for pk in range(1, count + 1)])


async def async_backend(request: HttpRequest, count: int) -> HttpResponse:
    return answer([(await Group.async_objects.aget(pk=pk)).name for pk in range(1, count + 1)])


urlpatterns = [path("sync/<int:count>/", synchronous)]
if "django_async_backend" in settings.INSTALLED_APPS:
    urlpatterns.append(path("async/<int:count>/", async_backend))
else:
    urlpatterns.append(path("async/<int:count>/", asynchronous))
