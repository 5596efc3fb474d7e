"""`AsyncDetailView` answers as Django's `DetailView` does."""

from __future__ import annotations

import pytest
from django.views.generic import DetailView
from django.views.generic.detail import SingleObjectMixin
from django.views.generic.list import ListView

from asyncviews.generic import AsyncDetailView, AsyncListView, AsyncSingleObjectMixin
from tests.generic.models import Article, Author
from tests.generic.twins import ask, get, post, twins

ARTICLES = Article.objects.select_related("author").prefetch_related("tags")


def pages(**attributes):
    return twins(DetailView, AsyncDetailView, **attributes)


@pytest.mark.parametrize("user", [None, "guest"])
def test_an_object_by_its_key(compare, user):
    [found, missing, *_] = compare(
        pages(queryset=ARTICLES), get("/2/"), get("/99/"), post("/2/"), ask("head", "/2/"),
        route="<int:pk>/", user=user,
    )  # fmt: skip
    assert "Article 2 by Ada article-2  #beef #fish" in found.content
    assert found.context["object"] == ("generic.Article", 2, "Article 2")
    assert missing.context["exception"] == "No article found matching the query"


def test_an_object_by_its_slug(compare):
    views = pages(queryset=ARTICLES)
    compare(views, get("/article-3/"), get("/nowhere/"), route="<slug:slug>/")


@pytest.mark.parametrize(
    ("route", "attributes"),
    [
        ("<int:number>/<slug:slug>/", {"pk_url_kwarg": "number"}),
        ("<int:pk>/<slug:slug>/", {"query_pk_and_slug": True}),
        ("<int:pk>/<slug:slug>/", {"context_object_name": "thing"}),
        ("<int:pk>/<slug:slug>/", {"template_name": "generic/special.html"}),
        ("<int:pk>/<slug:slug>/", {"template_name_suffix": "_form"}),
        ("<int:pk>/<slug:slug>/", {"template_name_field": "template"}),
        ("<int:pk>/<slug:slug>/", {"extra_context": {"extra": "more"}}),
        ("<int:x>/<slug:title>/", {"slug_url_kwarg": "title", "slug_field": "slug"}),
        ("<int:x>/<slug:y>/", {}),
    ],
)
def test_the_attributes(compare, route, attributes):
    asks = [get("/2/article-2/"), get("/2/article-3/")]
    compare(pages(queryset=ARTICLES, **attributes), *asks, route=route)


def test_a_template_that_the_object_names(compare):
    async def ours(self, queryset=None):
        article = await AsyncDetailView.get_object(self, queryset)
        article.template = "generic/special.html"
        return article

    def djangos(self, queryset=None):
        article = DetailView.get_object(self, queryset)
        article.template = "generic/special.html"
        return article

    views = pages(
        model=Article,
        template_name_field="template",
        djangos={"get_object": djangos},
        our={"get_object": ours},
    )
    [answer] = compare(views, get("/2/"), route="<int:pk>/")
    assert answer.content == "special Article 2\n"


@pytest.mark.parametrize("attributes", [{}, {"model": Article}])
def test_misconfiguration_has_djangos_messages(compare, attributes):
    [answer, *_] = compare(pages(**attributes), get("/x/"), route="x/")
    assert answer.error


@pytest.mark.parametrize("name", ["get_queryset", "get_slug_field", "get_context_object_name"])
def test_hooks_that_stay_synchronous(compare, name):
    def hook(self, *args):
        seen.append(name)
        return getattr(SingleObjectMixin, name)(self, *args)

    seen = []
    views = pages(queryset=ARTICLES, **{name: hook})
    compare(views, get("/article-2/"), route="<slug:slug>/")
    assert seen == [name, name]


def test_get_queryset_may_query(compare):
    def get_queryset(self):
        newest = Article.objects.order_by("-pk").values_list("pk", flat=True)[0]
        return ARTICLES.exclude(pk=newest, author__name=self.request.user.username)

    views = pages(get_queryset=get_queryset)
    [answer] = compare(views, get("/2/"), route="<int:pk>/", user="cook")
    assert answer.queries == 5


def test_an_object_that_is_no_model(compare):
    async def ours(self, queryset=None):
        return {"title": "Not stored"}

    views = pages(
        template_name="generic/article_detail.html",
        context_object_name="article",
        djangos={"get_object": lambda self, queryset=None: {"title": "Not stored"}},
        our={"get_object": ours},
    )
    [answer] = compare(views, get())
    assert "Not stored by" in answer.content


def test_one_object_and_the_list_that_belongs_to_it(compare):
    """As Django's documentation combines SingleObjectMixin and ListView."""

    def djangos_get(self, request, *args, **kwargs):
        self.object = self.get_object(queryset=Author.objects.all())
        return ListView.get(self, request, *args, **kwargs)

    async def our_get(self, request, *args, **kwargs):
        self.object = await self.get_object(queryset=Author.objects.all())
        return await AsyncListView.get(self, request, *args, **kwargs)

    def get_queryset(self):
        return self.object.articles.select_related("author").prefetch_related("tags")

    attributes = {"paginate_by": 1, "get_queryset": get_queryset, "template_name": TEMPLATE}

    class Mixed(SingleObjectMixin, ListView): ...

    class AsyncMixed(AsyncSingleObjectMixin, AsyncListView): ...

    views = twins(
        Mixed, AsyncMixed, djangos={"get": djangos_get}, our={"get": our_get}, **attributes
    )
    [answer] = compare(views, get("/2/"), route="<int:pk>/")
    assert answer.context["object"] == ("generic.Author", 2, "Bob")
    assert answer.context["page_obj"][3] == ["paginator", 2, 2, 1]


TEMPLATE = "generic/plain_list.html"
