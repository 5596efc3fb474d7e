"""Hooks that decide: a coroutine is true, and nothing may be granted because of that."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django import forms
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory

from asyncviews import AsyncView
from asyncviews.auth import LoginRequiredMixin, PermissionRequiredMixin, UserPassesTestMixin
from asyncviews.generic import (
    AsyncArchiveIndexView,
    AsyncDateDetailView,
    AsyncFormView,
    AsyncListView,
    AsyncYearArchiveView,
)
from tests.generic.models import Article
from tests.generic.twins import get, post


class Page(AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("in")


GUEST = User(username="guest")


async def status(view: type[Any], user: Any = GUEST, **attributes: Any) -> int | str:
    """Return how a view answers a user who is logged in."""
    request = AsyncRequestFactory().get("/")
    request.user = user
    try:
        response = await type("View", (view,), {"raise_exception": True, **attributes}).as_view()(
            request
        )
    except Exception as exc:  # noqa: BLE001 - which one it is, is what is compared
        return type(exc).__name__
    return response.status_code


def plainly(function):
    """Decorate as one does who knows nothing of coroutines."""

    @functools.wraps(function)
    def decorated(*args):
        return function(*args)

    return decorated


class Answers:
    """Functions that answer `answer`, in each way in which an asynchronous one can hide."""

    def __init__(self, answer: Any) -> None:
        async def asynchronous(self):
            return answer

        async def of_another(self):
            return asynchronous(self)  # not awaited

        class Callable:
            async def __call__(self):
                return answer

        class Awaitable:
            def __await__(self):
                yield from ()
                return answer

        self.ways = {
            "async": asynchronous,
            "lambda": lambda self: asynchronous(self),  # noqa: PLW0108 - that it hides one is the point
            "returned": of_another,
            "decorated": plainly(asynchronous),
            "callable": Callable(),
            "partial": staticmethod(functools.partial(asynchronous, None)),
            "awaitable": lambda self: Awaitable(),
            "in a thread": lambda self: sync_to_async(lambda: answer)(),
        }


WAYS = [*Answers(True).ways]


class ByTest(UserPassesTestMixin, Page): ...


class Permitted(PermissionRequiredMixin, Page): ...


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("answer", "expected"),
    [(True, 200), (False, "PermissionDenied"), (None, "PermissionDenied"), ("x", "TypeError")],
)
async def test_what_a_test_returns_is_awaited(way, answer, expected):
    assert await status(ByTest, test_func=Answers(answer).ways[way]) == expected


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("answer", "expected"), [(True, 200), (False, "PermissionDenied")])
async def test_what_another_test_function_returns_is_awaited(way, answer, expected):
    function = Answers(answer).ways[way]
    bound = function if way in {"callable", "partial"} else functools.partial(function, None)
    assert await status(ByTest, get_test_func=lambda self: bound) == expected


@pytest.mark.parametrize("answer", [object(), 1, "yes", Article, [True], Article.objects, 0, ""])
async def test_an_answer_that_is_neither_yes_nor_no_is_an_error(answer):
    assert await status(ByTest, test_func=lambda self: answer) == "TypeError"
    assert await status(Permitted, has_permission=sync_to_async(lambda: answer)) == "TypeError"


async def test_the_error_names_what_was_asked():
    class Orders(UserPassesTestMixin, Page):
        def test_func(self):
            return self.request.user

    request = AsyncRequestFactory().get("/")
    request.user = AnonymousUser()
    message = r"Orders.test_func\(\) must be True or False, not of type AnonymousUser: return `bool"
    with pytest.raises(TypeError, match=message):
        await Orders.as_view()(request)


@pytest.mark.parametrize(("answer", "expected"), [(True, 200), (False, "PermissionDenied")])
async def test_a_forgotten_await_in_has_permission(answer, expected):
    async def has_permission(self):
        return Answers(answer).ways["async"](self)

    assert await status(Permitted, has_permission=has_permission) == expected


async def test_permissions_that_are_named_asynchronously():
    class Cook:
        is_authenticated = True

        def has_perms(self, permissions):
            return permissions == ("smoke",)

    for name, expected in {"smoke": 200, "burn": "PermissionDenied"}.items():
        hook = plainly(Answers([name]).ways["async"])
        assert await status(Permitted, Cook(), get_permission_required=hook) == expected


@pytest.mark.parametrize("answer", [Answers(False).ways["async"], lambda self: False])
async def test_a_user_who_is_asked_for_by_a_method(answer):
    """It is true, whatever it would return."""

    class Protected(LoginRequiredMixin, Page): ...

    request = AsyncRequestFactory().get("/")
    request.user = type("OldUser", (), {"is_authenticated": answer})()
    with pytest.raises(TypeError, match=r"OldUser\.is_authenticated must be True or False"):
        await Protected.as_view()(request)


# Generic views


@pytest.mark.parametrize(
    ("view", "hook", "route", "path"),
    [
        (AsyncListView, "get_allow_empty", "", "/"),
        (AsyncArchiveIndexView, "get_allow_empty", "", "/"),
        (AsyncArchiveIndexView, "get_allow_future", "", "/"),
        (AsyncYearArchiveView, "get_make_object_list", "<int:year>/", "/2024/"),
        (AsyncYearArchiveView, "get_allow_future", "<int:year>/", "/2024/"),
        (AsyncDateDetailView, "get_allow_future", "<int:year>/<str:month>/<int:day>/<int:pk>/",
         "/2024/feb/29/2/"),
    ],
)  # fmt: skip
def test_hooks_that_django_calls_are_no_coroutines(visit, view, hook, route, path):
    """An object of the future would be shown, for example."""
    attributes = {"date_field": "published_on", "model": Article, "template_name": "x"}
    attributes |= {hook: plainly(Answers(False).ways["async"])}
    page = type("Page", (view,), attributes)
    [answer] = visit(page, get(path), route=route)
    assert f"Page.{hook}() must be True or False, not of type coroutine" in answer.error


def test_a_form_that_is_validated_asynchronously(visit):
    class AskForm(forms.Form):
        is_valid = plainly(Answers(False).ways["async"])

    class AskPage(AsyncFormView):
        form_class = AskForm
        success_url = "/done/"

        async def form_invalid(self, form):
            return HttpResponse("invalid")

    [answer] = visit(AskPage, post())
    assert answer.content == "invalid"
