"""Views by path: the answers are Django's, whether remembered or not."""

from __future__ import annotations

import uuid

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.http import HttpResponse
from django.urls import Resolver404, URLResolver, include, path, re_path, register_converter
from django.urls.resolvers import RegexPattern
from django.utils import translation
from django.utils.translation import gettext_lazy

from asyncviews.resolving import LONGEST, REMEMBERED, _resolve, resolve

ID = "7b1d7bba-3f2b-4ba5-a2b6-0d4f6f1f6b67"


def view(request, **kwargs):
    return HttpResponse("")


def resolver(*patterns) -> URLResolver:
    return URLResolver(RegexPattern(r"^/"), list(patterns))


@pytest.fixture
def plain() -> URLResolver:
    inner = [path("<slug:slug>/", view, name="slug"), re_path(r"^(\d+)/x/$", view, name="number")]
    return resolver(
        path("", view, name="home"),
        path("meats/<int:pk>/", view, {"extra": 1}, name="meat"),
        path("ids/<uuid:pk>/<path:rest>", view, name="id"),
        path("in/<str:space>/", include((inner, "app"), namespace="ns")),
        re_path(r"^years/(?P<year>[0-9]{4})/(?:(?P<month>[0-9]+)/)?$", view, name="year"),
    )


ANSWERED = [
    "/",
    "/meats/7/",
    f"/ids/{ID}/a/b",
    "/in/some/thing/",
    "/in/some/12/x/",
    "/years/2020/",
    "/years/2020/5/",
]


@pytest.mark.parametrize("url", ANSWERED)
def test_the_match_is_djangos_first_and_later(plain, url):
    expected = vars(plain.resolve(url))
    for _ in range(2):
        assert vars(resolve(plain, url)) == expected
    assert _resolve.cache_info().hits


def test_what_middleware_does_to_a_match_the_next_request_does_not_see(plain):
    first = resolve(plain, "/meats/7/")
    first.kwargs["pk"] = 8
    first.captured_kwargs.clear()
    first.extra = True
    second = resolve(plain, "/meats/7/")
    assert second.kwargs == {"pk": 7, "extra": 1}
    assert second.captured_kwargs == {"pk": 7}
    assert not hasattr(second, "extra")
    assert resolve(plain, f"/ids/{ID}/x").kwargs["pk"] == uuid.UUID(ID)


@pytest.mark.parametrize("url", ["/nothing/", "/meats/x/", "/years/20/"])
def test_a_path_that_matches_nothing_raises_each_time(plain, url):
    for _ in range(2):
        with pytest.raises(Resolver404):
            resolve(plain, url)


def test_a_long_path_is_resolved_but_not_remembered(plain):
    before = _resolve.cache_info().currsize
    assert resolve(plain, f"/ids/{ID}/{LONGEST * 'x'}").url_name == "id"
    assert _resolve.cache_info().currsize == before


def test_no_more_than_so_many_are_remembered(plain):
    for number in range(REMEMBERED + 10):
        assert resolve(plain, f"/meats/{number}/").kwargs["pk"] == number
    assert _resolve.cache_info().currsize == REMEMBERED


class EvenConverter:
    regex = "[0-9]+"
    found = 0

    def to_python(self, value):
        EvenConverter.found += 1
        if int(value) % 2:
            raise ValueError
        return int(value)


def test_a_projects_own_converter_is_asked_each_time():
    """It may look into a database."""
    register_converter(EvenConverter, "even")
    custom = resolver(path("<even:number>/", view), path("7/", view, name="seven"))
    for _ in range(3):
        assert resolve(custom, "/8/").kwargs == {"number": 8}
        assert resolve(custom, "/7/").url_name == "seven"
    assert EvenConverter.found == 6


@pytest.mark.parametrize(
    ("pattern", "url"),
    [
        (i18n_patterns(path("x/", view))[0], "/en/x/"),
        (path(gettext_lazy("Monday"), view), "/Monday"),
        (re_path(gettext_lazy("Monday"), view), "/Monday"),
    ],
)
def test_patterns_that_depend_on_the_language_are_matched_each_time(pattern, url):
    translated = resolver(path("", view), pattern)
    with translation.override("en"):
        assert resolve(translated, url).func is view
    with translation.override("de"), pytest.raises(Resolver404):
        resolve(translated, url)


def test_a_broken_urlconf_hurts_only_who_reaches_it():
    lazy = URLResolver(RegexPattern("^x/"), "tests.missing")
    broken = resolver(path("", view, name="home"), lazy)
    assert resolve(broken, "/").url_name == "home"
    with pytest.raises(ModuleNotFoundError):
        resolve(broken, "/x/")
