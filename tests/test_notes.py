"""Notes on exceptions: what a lazy attribute of a request, looked at in async code, answers."""

from __future__ import annotations

import logging

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

from asyncviews import AsyncView

pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db]


class Me(AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.user.get_username())


class Basket(AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.session.get("basket"))


class Users(AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(User.objects.count()))


class Known(AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse((await request.auser()).get_username())


urlpatterns = [
    path("me/", Me.as_view()),
    path("basket/", Basket.as_view()),
    path("users/", Users.as_view()),
    path("known/", Known.as_view()),
]


def client(**options: bool) -> Client:
    """Return a client that is logged in."""
    client = Client(**options)
    client.force_login(User.objects.create(username="ann"))
    return client


@pytest.mark.parametrize(
    ("url", "remedy"),
    [("/me/", "`user = await request.auser()`"), ("/basket/", "`await request.session.aget(...)`")],
)
def test_log_and_debug_page_say_what_to_await(url, remedy, caplog, settings):
    settings.DEBUG = True
    browser = client(raise_request_exception=False)
    with caplog.at_level(logging.ERROR):
        page = browser.get(url, headers={"Accept": "text/plain"})
    assert page.status_code == 500
    assert remedy in page.content.decode()
    assert caplog.text.count(remedy) == 1


def test_another_query_gets_no_note():
    browser = client()
    with pytest.raises(SynchronousOnlyOperation) as caught:
        browser.get("/users/")
    assert not hasattr(caught.value, "__notes__")


def test_what_the_note_says_works():
    browser = client()
    assert (browser.get("/known/")).content == b"ann"
