"""Django's base classes have twins too: views without templates, which render as they like."""

from __future__ import annotations

import inspect

import pytest
from django import forms
from django.http import JsonResponse
from django.views.generic import base, dates, detail, edit
from django.views.generic import list as list_

from asyncviews import AsyncView, Query, generic
from asyncviews.generic import AsyncBaseListView, AsyncDeletionMixin, AsyncDetailView
from tests.generic.models import Article, Author
from tests.generic.twins import ask, get, plain, post, twins

ARTICLES = Article.objects.select_related("author").prefetch_related("tags")
NEITHER_ASYNC_NOR_A_VIEW = {"DateMixin", "DayMixin", "MonthMixin", "WeekMixin", "YearMixin"}
DJANGOS = {
    name: value
    for module in (base, list_, detail, edit, dates)
    for name, value in vars(module).items()
    if inspect.isclass(value)
    and value.__module__ == module.__name__
    and name not in NEITHER_ASYNC_NOR_A_VIEW
}


def twin(name: str) -> type:
    return AsyncView if name == "View" else getattr(generic, f"Async{name}")


@pytest.mark.parametrize("name", DJANGOS)
def test_every_class_has_a_twin_with_the_twins_of_its_bases(name):
    inherited = [each.__name__ for each in DJANGOS[name].__mro__ if each.__name__ in DJANGOS]
    if name == "RedirectView":
        assert issubclass(twin(name), AsyncView)
    else:
        # Our View, unlike Django's, is no base that mixins must stand before.
        wanted = [twin(each) for each in inherited if each != "View"]
        assert [each for each in twin(name).__mro__ if each in wanted] == wanted
        assert issubclass(twin(name), AsyncView) == ("View" in inherited)


def as_json(self, context, **kwargs):
    """Look at all that is in the context, which queries, as nothing was fetched before."""
    return JsonResponse({key: plain(context[key]) for key in sorted(context.keys() - {"view"})})


def views(name, **attributes):
    attributes = {"render_to_response": as_json} | attributes
    return twins(DJANGOS[name], twin(name), our={"is_page": True}, **attributes)


CHANGED = {"form_class": forms.modelform_factory(Author, fields=["name"]), "model": Author}


@pytest.mark.parametrize(
    ("name", "attributes", "status"),
    [
        ("BaseListView", {"queryset": ARTICLES}, 200),
        ("BaseListView", {"queryset": ARTICLES, "paginate_by": 3}, 200),
        ("BaseListView", {"queryset": ARTICLES.none(), "allow_empty": False}, 404),
        ("BaseDetailView", {"queryset": ARTICLES}, 200),
        ("BaseDetailView", {"queryset": ARTICLES.none()}, 404),
        ("BaseFormView", {"form_class": CHANGED["form_class"], "success_url": "/"}, 200),
        ("BaseCreateView", CHANGED | {"success_url": "/{id}/"}, 200),
        ("BaseUpdateView", CHANGED | {"success_url": "/{id}/"}, 200),
        ("BaseDeleteView", {"model": Article, "success_url": "/{slug}/"}, 200),
        ("BaseArchiveIndexView", {"queryset": ARTICLES}, 200),
        ("BaseYearArchiveView", {"queryset": ARTICLES, "make_object_list": True}, 200),
        ("BaseMonthArchiveView", {"queryset": ARTICLES}, 200),
        ("BaseWeekArchiveView", {"queryset": ARTICLES, "week": 10}, 404),
        ("BaseDayArchiveView", {"queryset": ARTICLES}, 200),
        ("BaseTodayArchiveView", {"queryset": ARTICLES, "allow_empty": True}, 200),
        ("BaseDateDetailView", {"queryset": ARTICLES}, 200),
    ],
)
def test_they_answer_as_djangos(compare, name, attributes, status):
    if issubclass(DJANGOS[name], dates.DateMixin):
        attributes = attributes | {"date_field": "published_on", "month_format": "%m"}
        attributes |= {"year": "2024", "month": "3", "day": "1"}
    asks = [get("/3/"), post("/3/", name="Dora"), post("/3/"), get("/99/")]
    asks += [ask("put", "/3/"), ask("delete", "/2/"), ask("head", "/3/"), ask("options", "/3/")]
    [answer, *_] = compare(views(name, **attributes), *asks, route="<int:pk>/")
    assert answer.status == status


def test_a_deletion_without_a_form(compare):
    """As `DeletionMixin` was combined before Django 4.0: any POST deletes."""

    class Djangos(edit.DeletionMixin, detail.DetailView): ...

    class Ours(AsyncDeletionMixin, AsyncDetailView): ...

    pair = twins(Djangos, Ours, queryset=ARTICLES, success_url="/gone/{slug}/")
    asks = [get("/2/"), post("/2/"), ask("delete", "/3/"), post("/2/")]
    [page, posted, *_] = compare(pair, *asks, route="<int:pk>/")
    assert page.status == 200
    assert posted.headers["Location"] == "/gone/article-2/"


class Typed(AsyncDeletionMixin, AsyncDetailView):
    model = Article

    async def delete(self, request, to: Query[int]):
        self.success_url = f"/{to}/"
        return await super().delete(request)


@pytest.mark.parametrize("method", ["post", "delete"])
@pytest.mark.parametrize(("query", "status"), [("?to=7", 302), ("?to=x", 422)])
def test_post_has_the_parameters_of_delete(visit, method, query, status):
    [answer] = visit(Typed, ask(method, f"/1/{query}"), route="<int:pk>/")
    assert answer.status == status


class Names(AsyncBaseListView[Author]):
    model = Author
    render_to_response = as_json


def test_without_a_template_a_wrong_method_is_a_problem(visit):
    [wrong] = visit(Names, post())
    assert wrong.status == 405
    assert wrong.headers["Content-Type"] == "application/problem+json"
