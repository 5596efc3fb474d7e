"""`AsyncListView` answers as Django's `ListView` does."""

from __future__ import annotations

import json

import django
import pytest
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.views.generic import ListView
from django.views.generic.list import MultipleObjectMixin
from pydantic import BaseModel

from asyncviews import Query
from asyncviews.generic import AsyncListView
from tests.generic.models import Article, Author
from tests.generic.twins import ask, get, post, twins

ARTICLES = Article.objects.select_related("author").prefetch_related("tags")
TEMPLATE = "generic/plain_list.html"


def pages(**attributes):
    return twins(ListView, AsyncListView, **attributes)


@pytest.mark.parametrize("user", [None, "guest"])
def test_a_list(compare, user):
    [answer, *_] = compare(pages(queryset=ARTICLES), get(), post(), ask("head"), user=user)
    assert "Article 2 by Ada: beef fish" in answer.content
    assert len(answer.context["article_list"]) == 4
    assert answer.queries == (2 if user is None else 4)


@pytest.mark.parametrize(
    "attributes",
    [
        {"model": Author},
        {"model": Author, "ordering": "-name"},
        {"model": Author, "ordering": ["-name", "pk"]},
        {"model": Author, "context_object_name": "things", "template_name": TEMPLATE},
        {"model": Author, "template_name_suffix": "_nothing"},
        {"model": Author, "extra_context": {"extra": "more"}},
        {"queryset": ["Ada", "Bob"], "template_name": TEMPLATE},
        {"queryset": ["Ada", "Bob"], "template_name": TEMPLATE, "paginate_by": 1},
        {"queryset": ["Ada", "Bob"]},
        {"queryset": Article.objects.values_list("pk", flat=True), "template_name": TEMPLATE},
        {},
    ],
)
def test_the_attributes(compare, attributes):
    compare(pages(**attributes), get())


@pytest.mark.parametrize("paginate_by", [None, 2])
@pytest.mark.parametrize("queryset", [ARTICLES.filter(pk=0), ARTICLES, [], ["Ada"]])
def test_a_list_that_must_not_be_empty(compare, paginate_by, queryset):
    attributes = {"allow_empty": False, "paginate_by": paginate_by, "template_name": TEMPLATE}
    [answer] = compare(pages(queryset=queryset, **attributes), get())
    if answer.status == 404:
        message = "Empty list and “Page.allow_empty” is False."
        assert answer.context["exception"] == message


@pytest.mark.parametrize(
    "query", ["", "?page=1", "?page=2", "?page=last", "?page=9", "?page=0", "?page=x", "?page="]
)
def test_pages(compare, query):
    [answer] = compare(pages(queryset=ARTICLES, paginate_by=3), get(f"/{query}"))
    if answer.status == 200:
        assert " of 2, " in answer.content
    else:
        assert answer.context["exception"].startswith(("Invalid page (", "Page is not “last”, "))


@pytest.mark.parametrize(
    "attributes",
    [
        {"paginate_orphans": 1},
        {"page_kwarg": "p"},
        {"paginate_by": 100},
        {"queryset": ARTICLES.filter(pk=0)},
        {"queryset": ARTICLES.filter(pk=0), "allow_empty": False},
        {"paginator_class": type("Other", (Paginator,), {})},
        {"get_paginate_by": lambda self, queryset: int(self.request.GET.get("by", 1))},
        {"get_paginate_orphans": lambda self: 2},
        {"get_allow_empty": lambda self: False},
        {"get_ordering": lambda self: "-title"},
    ],
)
def test_how_pages_are_made(compare, attributes):
    asks = [get("/"), get("/?p=2"), get("/?page=2"), get("/?by=3")]
    compare(pages(**{"queryset": ARTICLES, "paginate_by": 3} | attributes), *asks)


def test_a_page_that_the_url_names(compare):
    views = pages(queryset=ARTICLES, paginate_by=3)
    [answer] = compare(views, get("/page-2/"), route="page-<int:page>/")
    assert "page 2 of 2, 4 to 4 of 4, previous 1: 1 2" in answer.content


@pytest.mark.parametrize(
    "name",
    ["get_queryset", "get_ordering", "get_paginator", "paginate_queryset", "get_paginate_by",
     "get_paginate_orphans", "get_allow_empty", "get_context_object_name"],
)  # fmt: skip
def test_hooks_that_stay_synchronous(compare, name):
    def hook(self, *args, **kwargs):
        seen.append(type(self).__mro__[1])
        return getattr(MultipleObjectMixin, name)(self, *args, **kwargs)

    seen = []
    compare(pages(queryset=ARTICLES, paginate_by=2, **{name: hook}), get())
    assert {ListView, AsyncListView} == set(seen)


def test_the_context_can_be_extended(compare):
    def djangos(self, *, object_list=None, **kwargs):
        kwargs |= {"things": Author.objects.all(), "extra": Author.objects.count()}
        return ListView.get_context_data(self, object_list=object_list, **kwargs)

    async def ours(self, *, object_list=None, **kwargs):
        kwargs |= {"things": Author.objects.all(), "extra": await Author.objects.acount()}
        return await AsyncListView.get_context_data(self, object_list=object_list, **kwargs)

    views = pages(
        queryset=ARTICLES,
        template_name=TEMPLATE,
        djangos={"get_context_data": djangos},
        our={"get_context_data": ours},
    )
    [answer] = compare(views, get())
    assert (answer.context["extra"], len(answer.context["things"])) == (3, 3)


def test_get_queryset_may_look_at_the_user(compare):
    def get_queryset(self):
        return ARTICLES.exclude(author__name=self.request.user.username)

    [answer] = compare(pages(get_queryset=get_queryset, paginate_by=3), get(), user="guest")
    assert answer.queries == 5


@pytest.mark.skipif(django.VERSION < (6, 0), reason="Django has AsyncPaginator from 6.0 on")
@pytest.mark.parametrize("query", ["", "?page=2", "?page=9"])
def test_an_asynchronous_paginator(compare, query):
    from django.core.paginator import AsyncPaginator

    class Counting(AsyncPaginator):
        async def acount(self):
            return await self.object_list.acount()

    views = pages(
        queryset=ARTICLES,
        paginate_by=3,
        djangos={"paginator_class": Paginator},
        our={"paginator_class": Counting},
    )
    compare(views, get(f"/{query}"))


class ArticleFilter(BaseModel):
    """What the query of a list may ask for: each field is a lookup."""

    author__name: str | None = None
    published_on__year: int | None = None


class Filtered(AsyncListView[Article]):
    queryset = ARTICLES
    lookups: ArticleFilter

    async def get(self, request, lookups: Query[ArticleFilter]):
        self.lookups = lookups
        return await super().get(request)

    def get_queryset(self) -> QuerySet[Article]:
        return super().get_queryset().filter(**self.lookups.model_dump(exclude_none=True))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["Article 1", "Article 2", "Article 3", "Article 4"]),
        ("?author__name=Bob", ["Article 1", "Article 3"]),
        ("?author__name=Bob&published_on__year=2024", ["Article 3"]),
        ("?author__name__startswith=A", ["Article 1", "Article 2", "Article 3", "Article 4"]),
    ],
)
def test_declared_fields_filter_a_list(visit, query, found):
    [answer] = visit(Filtered, get(f"/{query}"))
    assert [title for _, _, title in answer.context["article_list"]] == found


def test_a_filter_that_does_not_fit_is_a_problem(visit):
    [answer] = visit(Filtered, get("/?published_on__year=x", accept="application/json"))
    assert answer.status == 422
    assert json.loads(answer.content)["errors"][0]["name"] == "published_on__year"


def test_a_class_may_be_subscripted_at_run_time():
    assert AsyncListView[Article] is AsyncListView
