"""The dated archives answer as Django's do."""

from __future__ import annotations

import datetime as dt

import pytest
from django.views import generic
from django.views.generic.dates import BaseDateListView

import asyncviews.generic as ours
from tests.generic.models import Article
from tests.generic.twins import get, post, twins

VIEWS = {
    "ArchiveIndexView": ("", ["/"]),
    "YearArchiveView": ("<int:year>/", ["/2024/", "/2023/", "/2019/", "/0/", "/9999/"]),
    "MonthArchiveView": (
        "<int:year>/<str:month>/",
        ["/2024/feb/", "/2024/mar/", "/2024/apr/", "/2024/x/", "/9999/dec/"],
    ),
    "WeekArchiveView": ("<int:year>/<str:week>/", ["/2024/8/", "/2024/9/", "/2024/99/"]),
    "DayArchiveView": (
        "<int:year>/<str:month>/<int:day>/",
        ["/2024/feb/29/", "/2024/mar/1/", "/2024/feb/28/", "/2023/feb/29/", "/2025/dec/31/"],
    ),
    "TodayArchiveView": ("", ["/"]),
    "DateDetailView": (
        "<int:year>/<str:month>/<int:day>/<int:pk>/",
        ["/2024/feb/29/2/", "/2024/feb/28/2/", "/2024/x/1/2/", "/9999/dec/1/2/"],
    ),
}

ATTRIBUTES = {
    "defaults": {},
    "empty": {"allow_empty": True},
    "future": {"allow_future": True},
    "both": {"allow_empty": True, "allow_future": True},
    "times": {"date_field": "changed_at"},
    "times, empty": {"date_field": "changed_at", "allow_empty": True},
    "pages": {"paginate_by": 1},
    "objects": {"make_object_list": True},
    "ordered": {"ordering": "title", "make_object_list": True},
    "named": {"context_object_name": "thing_list", "make_object_list": True},
    "queryset": {"model": None, "queryset": Article.objects.select_related("author")},
    "period": {"date_list_period": "month"},
    "no date field": {"date_field": None},
    "template": {"template_name": "generic/archive.html", "extra_context": {"extra": 1}},
}


ESSENTIAL = ["defaults", "empty", "both", "times", "pages", "no date field"]
"""What is also tried with the views that differ from the others by their dates alone."""

CASES = [
    pytest.param(name, attributes, id=f"{name}, {case}")
    for name in VIEWS
    for case, attributes in ATTRIBUTES.items()
    if case in ESSENTIAL or name in {"ArchiveIndexView", "YearArchiveView"}
]


def pages(name, **attributes):
    attributes = {"model": Article, "date_field": "published_on"} | attributes
    return twins(getattr(generic, name), getattr(ours, f"Async{name}"), **attributes)


@pytest.mark.parametrize(("name", "attributes"), CASES)
def test_an_archive(compare, name, attributes):
    route, paths = VIEWS[name]
    if name == "DateDetailView":
        attributes = {"queryset": Article.objects.select_related("author")} | attributes
        attributes["template_name"] = "generic/special.html"
    answers = compare(pages(name, **attributes), *map(get, paths), route=route)
    assert {answer.status for answer in answers if not answer.error} <= {200, 404}


def test_what_an_archive_shows(compare):
    [answer, refused] = compare(
        pages("YearArchiveView", make_object_list=True),
        get("/2024/"),
        post("/2024/"),
        route="<int:year>/",
    )
    assert "2024-02-01 2024-03-01" in answer.content
    assert "Article 3 Article 2" in answer.content
    assert answer.context["previous_year"] == dt.date(2023, 1, 1)
    assert refused.status == 405


@pytest.mark.parametrize("user", [None, "guest"])
def test_the_objects_of_today(compare, user):
    """There are none; the page is there all the same, if it may be empty."""
    [answer] = compare(pages("TodayArchiveView", allow_empty=True), get(), user=user)
    assert answer.status == 200


@pytest.mark.parametrize("format_", ["%U", "%W", "%V", "%x"])
def test_the_formats_of_weeks(compare, format_):
    attributes = {"week_format": format_, "year_format": "%G" if format_ == "%V" else "%Y"}
    views = pages("WeekArchiveView", **attributes)
    compare(views, get("/2024/9/"), route="<int:year>/<str:week>/")


@pytest.mark.parametrize("format_", ["%m", "%b"])
def test_the_formats_of_months(compare, format_):
    views = pages("MonthArchiveView", month_format=format_)
    compare(views, get("/2024/2/"), get("/2024/feb/"), route="<int:year>/<str:month>/")


def test_dates_may_come_from_the_query_or_from_attributes(compare):
    compare(pages("MonthArchiveView"), get("/?year=2024&month=feb"), get("/?year=2024"), get())
    compare(pages("DayArchiveView", year="2024", month="feb", day="29"), get())


@pytest.mark.parametrize(
    "name",
    ["get_dated_queryset", "get_date_list", "get_date_field", "get_allow_future", "get_ordering",
     "get_date_list_period"],
)  # fmt: skip
def test_hooks_that_stay_synchronous(compare, name):
    def hook(self, *args, **kwargs):
        seen.append(type(self).__mro__[1].__name__)
        return getattr(BaseDateListView, name)(self, *args, **kwargs)

    seen = []
    compare(pages("YearArchiveView", **{name: hook}), get("/2024/"), route="<int:year>/")
    assert {"YearArchiveView", "AsyncYearArchiveView"} == set(seen)


def test_get_dated_items_is_awaited(compare):
    def djangos(self):
        dates, objects, context = generic.YearArchiveView.get_dated_items(self)
        return dates, objects.exclude(pk=2), context | {"extra": "more"}

    async def our(self):
        dates, objects, context = await ours.AsyncYearArchiveView.get_dated_items(self)
        return dates, objects.exclude(pk=2), context | {"extra": "more"}

    views = pages(
        "YearArchiveView",
        make_object_list=True,
        djangos={"get_dated_items": djangos},
        our={"get_dated_items": our},
    )
    [answer] = compare(views, get("/2024/"), route="<int:year>/")
    assert [title for _, _, title in answer.context["object_list"]] == ["Article 3"]
