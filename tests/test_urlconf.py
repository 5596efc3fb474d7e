"""The URLconf is walked as Django resolves it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import override_settings
from django.urls import include, path, re_path, register_converter, resolve, reverse
from django.urls.converters import IntConverter, PathConverter
from django.utils.translation import gettext_lazy, override
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import RedirectView, TemplateView

from asyncviews import AsyncView
from asyncviews.urlconf import Route, view_of, view_path, walk


class Order(AsyncView):
    async def get(self, request, pk: int): ...


def function(request, *args, **kwargs):
    return HttpResponse()


def without_wraps(view):
    def inner(request, *args, **kwargs):
        return view(request, *args, **kwargs)

    return inner


class Callable:
    def __call__(self, request): ...


class FourDigits(IntConverter):
    regex = "([0-9])([0-9]{3})"  # groups of its own, which capture nothing for the view


@pytest.fixture(autouse=True)
def four_digits(monkeypatch):
    from django.urls import converters

    monkeypatch.setattr(converters, "REGISTERED_CONVERTERS", {})
    register_converter(FourDigits, "yyyy")
    yield
    converters.get_converters.cache_clear()


@contextmanager
def root_urlconf(*patterns) -> Iterator[None]:
    module = ModuleType("tests.walked_urls")
    module.urlpatterns = list(patterns)
    sys.modules[module.__name__] = module
    try:
        with override_settings(ROOT_URLCONF=module.__name__):
            yield
    finally:
        del sys.modules[module.__name__]


def walked(*patterns) -> list[Route]:
    with root_urlconf(*patterns):
        routes = list(walk())
        for route in routes:
            assert_resolves(route)
    return routes


SAMPLES = {"pk": "7", "year": "2020", "slug": "ribs", "var": "1", "name": "x", "rest": "a/b"}


def assert_resolves(route: Route) -> None:
    """Assert that a route is what Django itself makes of a path that its template describes."""
    match = resolve("/" + route.path.format(**SAMPLES))
    assert match.func is route.callback
    assert match.route == route.route
    assert set(match.kwargs) == {*route.parameters, *route.defaults}
    assert len(match.args) == route.positional
    assert match.extra_kwargs == route.defaults
    assert (match.view_name if match.url_name else None) == route.name


def test_a_route_says_what_it_is():
    (route,) = walked(path("orders/<int:pk>/", Order.as_view(), {"a": 1}, name="order"))
    assert (route.path, route.route, route.name) == (
        "orders/{pk}/",
        "orders/<int:pk>/",
        "order",
    )
    assert (route.view, route.view_class, route.initkwargs) == (Order, Order, {})
    assert route.parameters == ("pk",)
    assert isinstance(route.converters["pk"], IntConverter)
    assert route.defaults == {"a": 1}


def test_routes_come_in_the_order_in_which_they_are_tried():
    patterns = [path("b/", function), path("a/", include([path("c/", function)])), path("", Order)]
    module = include(patterns[:2])
    assert [route.path for route in walked(path("", module))] == ["b/", "a/c/"]


def test_includes_and_namespaces_nest():
    inner = ([path("<slug:slug>/", function, {"b": 2}, name="item")], "meat")
    outer = ([path("<yyyy:year>/", include(inner, namespace="ribs"), {"a": 1})], "shop")
    (route,) = walked(path("shop/", include(outer)))
    assert route.path == "shop/{year}/{slug}/"
    assert route.route == "shop/<yyyy:year>/<slug:slug>/"
    assert route.name == "shop:ribs:item"
    assert route.parameters == ("year", "slug")
    assert isinstance(route.converters["year"], FourDigits)
    assert route.defaults == {"a": 1, "b": 2}


def test_the_innermost_default_wins():
    routes = walked(path("", include([path("", function, {"a": 2})]), {"a": 1}))
    assert routes[0].defaults == {"a": 2}


def test_a_route_without_a_name_has_none():
    assert walked(path("", include(([path("", function)], "shop"))))[0].name is None


@pytest.mark.parametrize(
    ("regex", "template", "parameters", "positional"),
    [
        (r"^$", "", (), 0),
        (r"^weather\.json$", "weather.json", (), 0),
        (r"^year/(?P<year>[0-9]{4})/\Z", "year/{year}/", ("year",), 0),
        (r"^(?P<slug>(ribs|brisket))/$", "{slug}/", ("slug",), 0),
        (r"^(\d+)/(\d+)$", "{var}/{var}", (), 2),
        (r"^(\d+)/(?P<pk>\d+)$", "{var}/{pk}", ("pk",), 0),
        (r"^a(?:/(?P<pk>\d+))?$", "a/{pk}", ("pk",), 0),
        (r"^100%/$", "100%/", (), 0),
    ],
)
def test_regular_expressions(regex, template, parameters, positional):
    (route,) = walked(re_path(regex, function))
    assert (route.path, route.parameters, route.positional) == (template, parameters, positional)
    assert route.converters == {}


def test_a_regular_expression_that_cannot_be_reversed_stays_as_it_is():
    with override_settings(ROOT_URLCONF=__name__):
        assert [route.path for route in walk()] == ["(?:a|b)/"]


urlpatterns = [re_path(r"^(?:a|b)/$", function)]


@pytest.mark.parametrize(
    ("outer", "inner", "template", "positional"),
    [
        (r"^(\d+)/", r"^(\d+)/$", "{var}/{var}/", 2),
        (r"^(?P<pk>\d+)/", r"^(\d+)/$", "{pk}/{var}/", 1),
        (r"^(\d+)/", r"^(?P<pk>\d+)/$", "{var}/{pk}/", 0),
        (r"^shop", r"^/(\d+)/$", "shop/{var}/", 1),
    ],
)
def test_regular_expressions_in_regular_expressions(outer, inner, template, positional):
    (route,) = walked(re_path(outer, include([re_path(inner, function)])))
    assert (route.path, route.positional) == (template, positional)


def test_a_regular_expression_in_a_route():
    (route,) = walked(path("<int:pk>/", include([re_path(r"^(?P<rest>.+)$", function)])))
    assert (route.path, route.parameters) == ("{pk}/{rest}", ("pk", "rest"))
    assert list(route.converters) == ["pk"]


@pytest.mark.parametrize(
    ("language", "prefix_default", "template"),
    [("en-us", True, "en-us/a/"), ("en-us", False, "a/"), ("de", False, "de/a/")],
)
def test_the_prefix_of_the_active_language(language, prefix_default, template):
    with override(language):
        (route,) = walked(
            *i18n_patterns(path("a/", function), prefix_default_language=prefix_default)
        )
    assert route.path == template


def test_a_translated_route_is_in_the_active_language():
    translated = path(gettext_lazy("Home"), function)  # Django's own catalogs have it
    with override("de"):
        assert walked(translated)[0].path == "Start"


@pytest.mark.parametrize(
    "decorate",
    [
        csrf_exempt,
        login_not_required,
        lambda view: functools.wraps(view)(without_wraps(view)),
        lambda view: functools.wraps(view, updated=())(without_wraps(view)),
        functools.partial,
        lambda view: functools.partial(functools.partial(csrf_exempt(view)), a=1),
    ],
    ids=["csrf_exempt", "login_not_required", "wraps", "wraps-only-names", "partial", "several"],
)
def test_decorators_do_not_hide_the_view(decorate):
    decorated = decorate(Order.as_view())
    (route,) = walked(path("", decorated))
    assert route.callback is decorated
    assert route.view_class is Order
    (route,) = walked(path("", decorate(function)))
    assert (route.view, route.view_class) == (function, None)


def test_a_decorator_that_says_nothing_hides_it():
    (route,) = walked(path("", without_wraps(Order.as_view())))
    assert route.view_class is None


def test_what_as_view_was_called_with():
    view = csrf_exempt(TemplateView.as_view(template_name="a.html"))
    assert walked(path("", view))[0].initkwargs == {"template_name": "a.html"}
    assert walked(path("", function))[0].initkwargs == {}


def test_views_have_dotted_paths():
    assert view_path(csrf_exempt(Order.as_view())) == f"{__name__}.Order"
    assert view_path(functools.partial(function)) == f"{__name__}.function"
    assert view_path(Callable()) == f"{__name__}.Callable"
    assert view_path(RedirectView.as_view()) == "django.views.generic.base.RedirectView"
    assert view_of(Order.as_view()) is Order


def test_the_admin_is_walked():
    with root_urlconf(path("admin/", admin.site.urls)):
        routes = {route.name: route for route in walk()}
        assert reverse("admin:login") == f"/{routes['admin:login'].path}"
    view_on_site = routes["admin:view_on_site"]
    assert isinstance(view_on_site.converters["content_type_id"], PathConverter)
    assert view_on_site.path == "admin/r/{content_type_id}/{object_id}/"


def test_a_broken_include_raises_as_it_does_when_it_is_reached():
    with pytest.raises(ImproperlyConfigured, match="does not appear to have any patterns"):
        walked(path("", include("tests.conftest")))
