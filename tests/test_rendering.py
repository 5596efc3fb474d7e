"""`AsyncTemplateResponse`: what a template needs is fetched before; what it cannot have is named."""

from __future__ import annotations

import threading

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django import forms
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import SynchronousOnlyOperation
from django.core.paginator import Paginator
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.test import AsyncClient, AsyncRequestFactory, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.utils.deprecation import MiddlewareMixin
from django.utils.functional import SimpleLazyObject

from asyncviews import AsyncView
from asyncviews.rendering import AsyncTemplateResponse
from tests.generic.models import Article
from tests.generic.twins import fill

TEMPLATES = {
    "list.html": "{% for article in articles %}{{ article }} {% endfor %}",
    "page.html": "{% for article in page %}{{ article }} {% endfor %}{{ page.has_next }}",
    "relation.html": "line 1\n{{ article.author.name|upper }}",
    "included.html": "{% include 'relation.html' %}",
    "child.html": "{% extends 'base.html' %}\n{% block body %}{{ article.author }}{% endblock %}",
    "base.html": "<body>{% block body %}{% endblock %}</body>",
    "tag.html": "{% if 1 and article.author.name == 'Ada' %}{% endif %}",
    "boolean.html": "{% if not article.author.name %}{% endif %}",
    "loop.html": "\n\n{% for tag in article.tags.all %}{{ tag }}{% endfor %}",
    "user.html": "user={{ user.username }}",
    "request.html": "user={{ request.user.username }}",
    "session.html": "meat={{ request.session.meat }}",
    "perms.html": "{% if perms.generic.add_article %}yes{% else %}no{% endif %}",
    "messages.html": "{% for message in messages %}{{ message }}{% endfor %}",
    "plain.html": "plain {{ thread }}",
    "form.html": "{{ form.author }} {{ formset }}",
}


@pytest.fixture(autouse=True)
def _templates(settings):
    processors = settings.TEMPLATES[0]["OPTIONS"]["context_processors"]
    loaders = [("django.template.loaders.locmem.Loader", TEMPLATES)]
    settings.TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {"context_processors": processors, "loaders": [*loaders, BUILTIN]},
        }
    ]


BUILTIN = "django.template.loaders.app_directories.Loader"


@pytest.fixture
def database(db):
    """The rows of the tests of generic views."""
    fill("default")
    return "default"


class Author(forms.ModelForm):
    class Meta:
        model = Article
        fields = ["author"]


def articles(**context):
    async def make(request):
        return context | {"articles": Article.objects.all()}

    return make


async def page(request):
    return {"page": await sync_to_async(Paginator(Article.objects.all(), 3).get_page)(1)}


async def one(request):
    return {"article": await Article.objects.aget(pk=2)}


async def nothing(request):
    return {}


async def the_thread(request):
    return {"thread": SimpleLazyObject(lambda: threading.current_thread().name)}


async def a_form(request):
    return await the_thread(request) | {"form": Author()}


async def a_formset(request):
    return await the_thread(request) | {"formset": forms.formset_factory(forms.Form)()}


async def permissions(request):
    await (await request.auser()).aget_all_permissions()
    return {}


async def logged_in(request):
    await request.auser()
    return {}


def view(template, make_context, response_class=AsyncTemplateResponse):
    class Page(AsyncView):
        async def get(self, request: HttpRequest) -> AsyncTemplateResponse:
            return response_class(request, template, await make_context(request))

    return Page.as_view()


@pytest.fixture
def visit(database, settings):
    def visit(template, make_context=nothing, response_class=AsyncTemplateResponse, user=None):
        """Return the response to a client and how many queries it took."""
        settings.ROOT_URLCONF = (path("", view(template, make_context, response_class)),)
        client = AsyncClient()
        if user:
            client.force_login(User.objects.get(username=user))
        with CaptureQueriesContext(connection(database)) as queries:
            response = async_to_sync(client.get)("/")
        return response, len(queries)

    return visit


def connection(alias):
    from django.db import connections

    return connections[alias]


def test_querysets_are_fetched_once(visit):
    response, queries = visit("list.html", articles())
    assert response.text == "Article 1 Article 2 Article 3 Article 4 "
    assert queries == 1


def test_raw_querysets_are_fetched(visit):
    async def make(request):
        return {"articles": Article.objects.raw("SELECT * FROM generic_article WHERE id = 3")}

    response, queries = visit("list.html", make)
    assert (response.text, queries) == ("Article 3 ", 1)


def test_pages_are_fetched(visit):
    response, queries = visit("page.html", page)
    assert response.text == "Article 1 Article 2 Article 3 True"
    assert queries == 2


@pytest.mark.parametrize(
    ("template", "named"),
    [
        ("relation.html", "'relation.html', line 2: {{ article.author.name|upper }}, 'article.author.name', needs"),
        ("included.html", "'relation.html', line 2: {{ article.author.name|upper }}"),
        ("child.html", "'child.html', line 2: {{ article.author }} needs"),
        ("tag.html", "'tag.html', line 1: {% if 1 and article.author.name == 'Ada' %}, 'article.author.name'"),
        ("boolean.html", "'boolean.html', line 1: {% if not article.author.name %}, 'article.author.name'"),
        ("loop.html", "'loop.html', line 3: {% for tag in article.tags.all %} needs"),
    ],
)  # fmt: skip
def test_a_lazy_relation_is_named_with_the_way_out(visit, template, named):
    with pytest.raises(SynchronousOnlyOperation) as caught:
        visit(template, one)
    message = str(caught.value)
    assert f"Template {named}" in message
    assert "select_related()" in message
    assert "response_class = TemplateResponse" in message


def test_an_engine_without_nodes_names_the_template_at_least(database, rf):
    class Engine:
        def render(self, context, request):
            return str(Article.objects.count())

    response = AsyncTemplateResponse(rf.get("/"), Engine())
    with pytest.raises(SynchronousOnlyOperation, match=r"Template .*Engine.* needs the database"):
        async_to_sync(response_render)(response)


async def response_render(response):
    return await response.render()


def test_the_same_template_may_be_rendered_on_the_requests_thread(visit):
    response, queries = visit("relation.html", one, TemplateResponse)
    assert (response.text, queries) == ("line 1\nADA", 2)


@pytest.mark.parametrize("template", ["user.html", "request.html"])
def test_the_user_is_fetched(visit, template):
    response, queries = visit(template, user="guest")
    assert (response.text, queries) == ("user=guest", 2)
    assert response["Vary"] == "Cookie"


def test_the_user_is_fetched_once(visit):
    response, queries = visit("user.html", logged_in, user="guest")
    assert (response.text, queries) == ("user=guest", 2)


def test_without_a_session_nothing_is_fetched(visit):
    response, queries = visit("user.html")
    assert (response.text, queries) == ("user=", 0)
    assert response["Vary"] == "Cookie"


def test_fetching_is_no_access(visit):
    """A page that does not depend on who sees it says so to caches."""
    response, _ = visit("plain.html", user="guest")
    assert "Vary" not in response


def test_a_session_without_a_user_is_fetched(visit, settings):
    settings.MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware"]
    settings.ROOT_URLCONF = (path("", view("session.html", nothing)),)
    session = SessionStore()
    session["meat"] = "ribs"
    session.save()
    client = AsyncClient()
    client.cookies[settings.SESSION_COOKIE_NAME] = session.session_key
    response = async_to_sync(client.get)("/")
    assert response.text == "meat=ribs"
    assert response["Vary"] == "Cookie"


def test_a_user_that_was_assigned_stays(database):
    async def render():
        request = AsyncRequestFactory().get("/")
        request.session = SessionStore("a" * 32)
        request.user = User(username="assigned")
        return await AsyncTemplateResponse(request, "user.html", {}).render()

    assert async_to_sync(render)().text == "user=assigned"


def test_permissions_are_fetched_in_the_view(visit):
    with pytest.raises(SynchronousOnlyOperation, match=r"\{% if perms.generic.add_article %\}"):
        visit("perms.html", user="guest")
    assert visit("perms.html", permissions, user="guest")[0].text == "no"
    assert visit("perms.html", user="cook")[0].text == "yes"  # a superuser needs no query


def test_messages_of_the_session(visit, settings):
    settings.MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

    async def make(request):
        return {}

    assert visit("messages.html", make, user="guest")[0].text == ""


@pytest.mark.parametrize(
    ("make_context", "response_class", "on_main_thread"),
    [
        (the_thread, AsyncTemplateResponse, False),
        (the_thread, TemplateResponse, True),
        (a_form, AsyncTemplateResponse, True),
        (a_formset, AsyncTemplateResponse, True),
    ],
)
def test_where_it_is_rendered(visit, make_context, response_class, on_main_thread):
    """The main thread is the request's here, as it waits for the event loop."""
    response, _ = visit("plain.html", make_context, response_class)
    assert response.text.endswith(threading.main_thread().name) is on_main_thread


def test_a_widget_may_query(visit):
    assert "Cleo" in visit("form.html", a_form)[0].text


def test_a_callback_may_block(visit):
    def respond(request, template, context):
        response = AsyncTemplateResponse(request, template, context)
        response.add_post_render_callback(lambda _: count.append(Article.objects.count()))
        return response

    count = []
    visit("plain.html", nothing, respond)
    assert count == [4]


class ChangesTemplate(MiddlewareMixin):
    """Middleware that sees the response before it is rendered."""

    def process_template_response(self, request, response):
        response.context_data["articles"] = Article.objects.filter(pk=1)
        response.template_name = "list.html"
        return response


def test_middleware_may_change_what_is_rendered(visit, settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.ChangesTemplate"]
    assert visit("plain.html")[0].text == "Article 1 "


def test_without_an_event_loop_it_is_rendered_as_ever(database):
    request = RequestFactory().get("/")
    response = AsyncTemplateResponse(request, "list.html", {"articles": Article.objects.all()})
    assert response.render().text == "Article 1 Article 2 Article 3 Article 4 "


async def test_it_is_rendered_once():
    response = AsyncTemplateResponse(AsyncRequestFactory().get("/"), "plain.html", {"thread": 1})
    assert await response.render() is await response.render()
    assert response.text == "plain 1"
