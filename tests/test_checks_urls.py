"""Path parameters are checked against the URLconf before the first request."""

import functools
from collections.abc import Callable
from typing import Annotated

import pytest
from django.conf import settings as django_settings
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import include, path, re_path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from pydantic import AliasChoices, BaseModel, Field

from asyncviews import AsyncView, Path, Query
from asyncviews.checks_urls import check_path_parameters
from tests.test_urlconf import root_urlconf


class Month(BaseModel):
    year: int
    month: int = 1


class Order(AsyncView):
    async def get(self, request: HttpRequest, pk: int) -> HttpResponse: ...

    async def delete(self, request: HttpRequest, pk: int, reason: Query[str]) -> HttpResponse: ...


class Optional(AsyncView):
    async def get(self, request: HttpRequest, pk: int = 0) -> HttpResponse: ...


class Keywords(AsyncView):
    async def get(self, request: HttpRequest, **kwargs: str) -> HttpResponse: ...


class Nothing(AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse: ...


class Archive(AsyncView):
    async def get(self, request: HttpRequest, month: Path[Month]) -> HttpResponse: ...


class Aliased(AsyncView):
    async def get(
        self, request: HttpRequest, number: Path[Annotated[int, Field(alias="pk")]]
    ) -> HttpResponse: ...


class Choices(AsyncView):
    async def get(
        self,
        request: HttpRequest,
        number: Path[Annotated[int, Field(validation_alias=AliasChoices("pk", "id"))]],
    ) -> HttpResponse: ...


class Odd(AsyncView):
    async def get(self, request: HttpRequest, pk: Callable[[], int]) -> HttpResponse: ...


class Without(AsyncView):
    """A view that has no handlers of its own."""


class Searched(AsyncView):
    async def get(self, request: HttpRequest, q: str = "x") -> HttpResponse: ...


class AlsoSearched(Searched):
    """Inherits the handler."""


class Meant(AsyncView):
    async def get(self, request: HttpRequest, q: Path[str] = "x") -> HttpResponse: ...


class Positional(AsyncView):
    async def get(self, request: HttpRequest, q: str = "x", *args: str) -> HttpResponse: ...


class Given(Searched):
    async def dispatch(self, request: HttpRequest, *args, **kwargs) -> HttpResponse:
        return await super().dispatch(request, *args, q="y", **kwargs)


@method_decorator(never_cache, name="dispatch")
class Decorated(Searched): ...


class Configured(Searched):
    page_size = 10


def giving(view):
    @functools.wraps(view)
    async def wrapper(request, *args, **kwargs):
        return await view(request, *args, q="y", **kwargs)

    return wrapper


def hiding(view):
    async def wrapper(request, *args, **kwargs):
        return await view(request, *args, q="y", **kwargs)

    wrapper.view_class = view.view_class
    return wrapper


class Django(View):
    def get(self, request, pk): ...


def checked(*patterns):
    with root_urlconf(*patterns):
        return check_path_parameters(None)


@pytest.mark.parametrize(
    "pattern",
    [
        path("<int:pk>/", Order.as_view()),
        path("", Order.as_view(), {"pk": 1}),
        path("<int:pk>/", include([path("", Order.as_view())])),
        re_path(r"^(?P<pk>\d+)/$", Order.as_view()),
        path("", Meant.as_view()),
        re_path(r"^(\w+)/$", Positional.as_view()),
        path("", Given.as_view()),
        path("", Decorated.as_view()),
        path("", giving(Searched.as_view())),
        path("", hiding(Searched.as_view())),
        path("", csrf_exempt(giving(Searched.as_view()))),
        path("", functools.partial(Searched.as_view(), q="y")),
        path("<int:pk>/<slug:slug>/", Keywords.as_view()),
        path("<int:year>/", Archive.as_view()),
        path("<int:year>/<int:month>/", Archive.as_view()),
        path("<int:pk>/", Aliased.as_view()),
        path("<int:id>/", Choices.as_view()),
        path("<int:pk>/", Odd.as_view()),
        re_path(r"^(\d+)/$", Nothing.as_view()),
        path("<int:pk>/", Without.as_view()),
        path("", Django.as_view()),
        path("<int:pk>/", lambda request: None),
    ],
)
def test_what_fits(pattern):
    assert checked(pattern) == []


@pytest.mark.parametrize(
    "patterns",
    [
        [path("<int:pk>/", Optional.as_view()), path("", Optional.as_view())],
        [path("<slug:q>/", Searched.as_view()), path("", AlsoSearched.as_view())],
        [path("", Searched.as_view()), path("more/", Searched.as_view(), {"q": "y"})],
        [path("more/", include([path("", Configured.as_view(page_size=5))]), {"q": "y"})],
        [path("", Searched.as_view()), path("more/", giving(Searched.as_view()))],
    ],
)
def test_a_default_for_what_one_of_several_urls_gives(patterns):
    assert checked(*patterns) == []


@pytest.mark.parametrize(
    "callback",
    [Searched.as_view(), csrf_exempt(Searched.as_view()), Configured.as_view(page_size=5)],
)
def test_a_default_for_what_no_url_captures(callback):
    """The habit of frameworks where such a parameter is one of the query."""
    (warning,) = checked(path("", callback), path("more/", callback))
    assert (warning.id, warning.is_serious()) == ("asyncviews.W010", False)
    assert ".get() has the parameter 'q' without a source" in warning.msg
    assert "write `q: Query[str] = 'x'`" in warning.hint


def test_a_handler_that_asks_for_what_the_pattern_has_not_got():
    get, delete, unused = checked(path("orders/<int:id>/", Order.as_view()))
    assert (get.id, get.obj, get.is_serious()) == ("asyncviews.E003", Order, True)
    assert "Order.get() requires the path parameter 'pk'" in get.msg
    assert "'orders/<int:id>/'" in get.msg
    assert "The pattern captures 'id'." in get.hint
    assert "`pk: Query[int]`" in get.hint
    assert "Order.delete()" in delete.msg
    assert unused.id == "asyncviews.W007"


def test_a_name_that_no_handler_takes():
    (warning,) = checked(path("<slug:shop>/<int:pk>/", Order.as_view()))
    assert (warning.id, warning.obj, warning.is_serious()) == ("asyncviews.W007", Order, False)
    assert "captures 'shop', which no handler of Order takes (get(), delete())" in warning.msg
    assert "The path parameters of the handlers are 'pk'." in warning.hint


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (path("<int:month>/", Archive.as_view()), [("E003", "'year'")]),
        (path("<int:number>/", Aliased.as_view()), [("E003", "'pk'"), ("W007", "'number'")]),
        (path("<int:pk>/", Nothing.as_view()), [("W007", "'pk'")]),
    ],
)
def test_structures_and_aliases(pattern, expected):
    found = [(message.id, message.msg) for message in checked(pattern)]
    assert [id_ for id_, _ in found] == [f"asyncviews.{id_}" for id_, _ in expected]
    for (_, text), (_, name) in zip(found, expected, strict=True):
        assert name in text


def test_a_project_without_urls():
    with override_settings():
        del django_settings.ROOT_URLCONF
        assert check_path_parameters(None) == []
