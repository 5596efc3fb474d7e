"""`AsyncTemplateView` and `AsyncRedirectView` answer as Django's do."""

from __future__ import annotations

import logging

import django
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.shortcuts import aget_object_or_404, get_object_or_404
from django.template.response import TemplateResponse
from django.test import AsyncClient, AsyncRequestFactory, Client
from django.urls import path
from django.views.generic import RedirectView, TemplateView

from asyncviews import AsyncView, BackgroundTaskMixin, Query
from asyncviews.generic import (
    AsyncContextMixin,
    AsyncListView,
    AsyncRedirectView,
    AsyncTemplateView,
    AsyncUpdateView,
)
from tests.generic.models import Article
from tests.generic.twins import ask, get, post, twins


def pages(**attributes):
    return twins(TemplateView, AsyncTemplateView, **attributes)


TEMPLATE = "generic/template.html"


def test_a_template(compare):
    views = pages(template_name=TEMPLATE, extra_context={"extra": "more"}, name="me")
    [answer, *_] = compare(views, get(), ask("head"), ask("options"), post())
    assert answer.templates == (TEMPLATE, "generic/base.html")
    assert "more me" in answer.content


def test_the_arguments_of_the_url_are_in_the_context(compare):
    [answer] = compare(pages(template_name=TEMPLATE), get("/bar/"), route="<str:foo>/")
    assert answer.context["foo"] == "bar"


def test_querysets_in_the_context_are_fetched_for_the_template(compare):
    async def get_context_data(self, **kwargs):
        context = await AsyncTemplateView.get_context_data(self, **kwargs)
        return context | {"articles": Article.objects.all()}

    def djangos(self, **kwargs):
        context = TemplateView.get_context_data(self, **kwargs)
        return context | {"articles": Article.objects.all()}

    views = pages(
        template_name=TEMPLATE,
        djangos={"get_context_data": djangos},
        our={"get_context_data": get_context_data},
    )
    [answer] = compare(views, get())
    assert "Article 1 Article 2 Article 3 Article 4" in answer.content
    assert answer.queries == 1


@pytest.mark.parametrize("user", ["cook", "guest"])
def test_the_user_is_there_for_the_template(compare, user):
    [first, _] = compare(pages(template_name=TEMPLATE), get(), get(), user=user)
    assert f"user={user}\n" in first.content
    assert first.headers["Vary"] == "Cookie"
    assert first.queries == 2


@pytest.mark.parametrize(
    "attributes",
    [
        {"content_type": "text/plain"},
        {"template_engine": "django"},
        {"response_class": TemplateResponse},
        {},
        {"template_name": "generic/nowhere.html"},
    ],
)
def test_the_attributes_of_a_template_view(compare, attributes):
    compare(pages(**{"template_name": TEMPLATE} | attributes), get())


def test_no_template_is_an_error_with_djangos_message(compare):
    [answer] = compare(pages(), get())
    assert "requires either a definition of 'template_name'" in answer.error


def redirects(**attributes):
    return twins(RedirectView, AsyncRedirectView, **attributes)


@pytest.mark.parametrize("method", ["get", "head", "post", "put", "patch", "delete", "options"])
def test_a_redirect_whatever_the_method(compare, method):
    [answer, _] = compare(redirects(url="/bar/"), ask(method, "/?pork=ribs"), ask("trace"))
    assert (answer.status, answer.headers["Location"]) == (302, "/bar/")


@pytest.mark.parametrize(
    "attributes",
    [
        {"url": "/bar/", "permanent": True},
        {"url": "/bar/%(pk)d/"},
        {"url": "/bar/", "query_string": True},
        {"pattern_name": "article"},
        {"pattern_name": "article", "permanent": True},
        {"pattern_name": "nowhere"},
        {},
    ],
)
def test_the_attributes_of_a_redirect(compare, attributes):
    compare(redirects(**attributes), get("/7/"), get("/7/?pork=ribs%20%25"), route="<int:pk>/")


def test_what_is_gone_is_logged(compare, caplog):
    caplog.set_level(logging.WARNING, logger="django.request")
    [answer] = compare(redirects(), get())
    assert answer.status == 410
    assert [r.getMessage() for r in caplog.records if r.name == "django.request"] == ["Gone: /"] * 2


def test_where_to_redirect_may_need_the_database(compare):
    async def ours(self, *args, **kwargs):
        article = await aget_object_or_404(Article, pk=kwargs["pk"])
        return await AsyncRedirectView.get_redirect_url(self, slug=article.slug)

    def djangos(self, *args, **kwargs):
        article = get_object_or_404(Article, pk=kwargs["pk"])
        return RedirectView.get_redirect_url(self, slug=article.slug)

    views = redirects(
        url="/by-slug/%(slug)s/",
        djangos={"get_redirect_url": djangos},
        our={"get_redirect_url": ours},
    )
    [there, nowhere] = compare(views, get("/2/"), get("/99/"), route="<int:pk>/")
    assert there.headers["Location"] == "/by-slug/article-2/"
    assert nowhere.status == 404


class Away(AsyncRedirectView):
    async def get(self, request, to: Query[int]):
        self.url = f"/{to}/"
        return await super().get(request)


@pytest.mark.parametrize("method", ["get", "head", "post", "put", "patch", "delete", "options"])
def test_all_methods_have_the_parameters_of_get(visit, method):
    [found, refused] = visit(Away, ask(method, "/?to=7"), ask(method, "/?to=x"))
    assert (found.status, found.headers["Location"]) == (302, "/7/")
    assert refused.status == 422


def test_a_handler_of_ones_own_has_parameters_of_its_own(visit):
    class Other(Away):
        async def post(self, request, to: Query[str]):
            return await super().get(request, to=8)

    answers = visit(Other, ask("post", "/?to=x"), ask("put", "/?to=7"))
    assert [answer.headers["Location"] for answer in answers] == ["/8/", "/7/"]


@pytest.mark.parametrize("preserve", [False, True])
async def test_a_redirect_may_preserve_method_and_body(preserve):
    """As Django's does from 6.1 on."""
    view = AsyncRedirectView.as_view(url="/bar/", preserve_request=preserve)
    assert (await view(AsyncRequestFactory().post("/"))).status_code == (307 if preserve else 302)
    if django.VERSION >= (6, 1):
        assert RedirectView.preserve_request is False


class Typed(AsyncTemplateView):
    template_name = TEMPLATE

    async def get(self, request, foo: Query[int], **kwargs):
        return await super().get(request, foo=foo, **kwargs)


class Background(BackgroundTaskMixin, AsyncTemplateView):
    template_name = TEMPLATE

    async def get_context_data(self, **kwargs):
        self.add_background_task(done.append, "done")
        return await super().get_context_data(**kwargs)


done: list[str] = []
urlpatterns = [path("typed/", Typed.as_view()), path("background/", Background.as_view())]


@pytest.mark.urls(__name__)
@pytest.mark.usefixtures("templates")
async def test_a_handler_with_parameters():
    response = await AsyncClient().get("/typed/?foo=7")
    assert "7" in response.text
    assert (await AsyncClient().get("/typed/?foo=x")).status_code == 422


@pytest.mark.urls(__name__)
@pytest.mark.usefixtures("templates")
def test_the_same_view_answers_under_wsgi():
    response = Client().get("/typed/?foo=7")
    assert isinstance(response, TemplateResponse)
    assert "7" in response.text


@pytest.mark.urls(__name__)
@pytest.mark.usefixtures("templates", "app_lifespan")
async def test_background_tasks_start_after_the_response():
    done.clear()
    assert (await AsyncClient().get("/background/")).status_code == 200
    from asyncviews.background import runner

    for task in runner.unfinished():
        await task
    assert done == ["done"]


# Hooks of the wrong kind


def test_a_hook_that_is_awaited_cannot_be_synchronous():
    with pytest.raises(ImproperlyConfigured) as caught:

        class Page(AsyncTemplateView):
            def get_context_data(self, **kwargs): ...

    message = str(caught.value)
    assert "Page.get_context_data() must be `async def`: it is awaited." in message
    assert "`super().get_context_data()`" in message


def test_a_hook_that_is_called_cannot_be_asynchronous():
    with pytest.raises(ImproperlyConfigured, match=r"Page\.get_queryset\(\) must be a plain `def`"):

        class Page(AsyncListView):
            async def get_queryset(self): ...


def test_a_hook_that_a_mixin_brings_along_is_named():
    class Owned:
        def form_valid(self, form): ...

    with pytest.raises(
        ImproperlyConfigured, match=r"Owned\.form_valid\(\), which .*Page inherits,"
    ):

        class Page(Owned, AsyncUpdateView): ...


def test_a_mixin_of_djangos_is_refused_with_the_way_out():
    from django.contrib.messages.views import SuccessMessageMixin

    with pytest.raises(ImproperlyConfigured, match=r"SuccessMessageMixin.* is synchronous: take "):

        class Page(SuccessMessageMixin, AsyncUpdateView): ...


def test_a_redirects_hook_is_looked_at_as_well():
    with pytest.raises(ImproperlyConfigured, match=r"Away\.get_redirect_url\(\) must be `async"):

        class Away(AsyncRedirectView):
            def get_redirect_url(self, *args, **kwargs): ...


def test_other_methods_may_be_of_either_kind():
    class Page(AsyncContextMixin, AsyncView):
        def name(self): ...

        async def meats(self): ...

        get_context_data = None

    assert Page.as_view()
