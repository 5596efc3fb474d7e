"""Views by path: the answers are Django's, whether remembered or not."""

from __future__ import annotations

import types
import uuid

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.http import HttpResponse
from django.test import override_settings
from django.urls import (
    Resolver404,
    URLResolver,
    clear_url_caches,
    get_resolver,
    include,
    path,
    re_path,
    register_converter,
)
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


register_converter(EvenConverter, "even")  # once in a process


def test_a_projects_own_converter_is_asked_each_time():
    """It may look into a database."""
    EvenConverter.found = 0
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


# Patterns that change while the site runs


def other(request, **kwargs):
    return HttpResponse("other")


def included(*patterns) -> tuple[list, URLResolver]:
    inner = list(patterns)
    return inner, resolver(path("in/", include((inner, "app"))), path("out/", view, name="out"))


def same(resolver, url):
    """Compare with Django's answer, which is returned."""
    try:
        expected = resolver.resolve(url)
    except Resolver404:
        with pytest.raises(Resolver404):
            resolve(resolver, url)
        return None
    assert vars(resolve(resolver, url)) == vars(expected)
    return expected.func


CHANGES = {
    "append": lambda patterns: patterns.append(path("new/", other)),
    "insert before": lambda patterns: patterns.insert(0, path("old/", other)),
    "replace": lambda patterns: patterns.__setitem__(0, path("old/", other)),
    "remove": lambda patterns: patterns.pop(),
    "clear": lambda patterns: patterns.clear(),
    "swap": lambda patterns: patterns.reverse(),
    "catch all": lambda patterns: patterns.insert(0, re_path("", other)),
    "include": lambda patterns: patterns.append(path("new/", include([path("", other)]))),
    "own converter": lambda patterns: patterns.insert(0, path("<even:number>/", other)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_patterns_that_are_changed_in_place_count_at_once(change):
    """As for Django, without clear_url_caches(): at the top, and in what is included."""
    for deep in (False, True):
        patterns, nested = included(path("old/", view), re_path("^old/$", other))
        top = resolver(*patterns)
        tried = [(nested, "/in/"), (nested, "/")] if deep else [(top, "/")]
        urls = ["old/", "new/", "nothing/", "8/", "", "out/"]
        changed = patterns if deep else top.url_patterns
        for _ in range(2):
            for root, prefix in tried:
                for url in urls:
                    same(root, prefix + url)
            CHANGES[change](changed)
        for root, prefix in tried:
            found = [same(root, prefix + url) for url in urls]
            assert deep or change in {"remove", "clear", "swap"} or other in found


def test_a_list_that_is_replaced_counts_at_once():
    """As by who deletes the cached property, to have a module read anew."""
    top = resolver(path("old/", view))
    assert same(top, "/old/") is view
    top.urlconf_name = [path("old/", other)]
    vars(top).pop("url_patterns")
    top.urlconf_module = top.urlconf_name
    assert same(top, "/old/") is other


def test_a_changed_urlconf_of_a_site(settings):
    """By its list, by clear_url_caches(), and by another setting."""
    module = types.ModuleType("changing")
    module.urlpatterns = [path("old/", view)]
    settings.ROOT_URLCONF = module
    assert same(get_resolver(), "/old/") is view
    module.urlpatterns.append(path("new/", other))
    assert same(get_resolver(), "/new/") is other
    module.urlpatterns = [path("old/", other)]
    same(get_resolver(), "/old/")  # Django does not notice that either
    clear_url_caches()
    assert same(get_resolver(), "/old/") is other
    assert same(get_resolver(), "/new/") is None
    with override_settings(ROOT_URLCONF=(path("x/", view),)):
        assert same(get_resolver(), "/x/") is view
        assert same(get_resolver(), "/old/") is None
    assert same(get_resolver(), "/x/") is None


def test_what_has_not_changed_stays_remembered(plain):
    resolve(plain, "/meats/7/")
    before = _resolve.cache_info()
    resolve(plain, "/meats/7/")
    assert (_resolve.cache_info().hits, _resolve.cache_info().misses) == (
        before.hits + 1,
        before.misses,
    )
