"""`StrictTemplateResponse`: what a template fetches by itself is refused, and named."""

from __future__ import annotations

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django import forms
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.core.cache import caches
from django.core.management import call_command
from django.core.paginator import Paginator
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.urls import path

from asyncviews import AsyncView
from asyncviews.rendering import StrictTemplateResponse, UnplannedQuery
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
    "session.html": "meat={{ request.session.meat }}",
    "perms.html": "{% if perms.generic.add_article %}yes{% else %}no{% endif %}",
    "messages.html": "{% for message in messages %}{{ message }}{% endfor %}",
    "form.html": "{{ form.author }} {{ formsets.0 }}",
    "processor.html": "{{ count }}",
    "cache.html": "{% load cache %}{% cache 60 meat %}ribs{% endcache %}",
}


def count(request: HttpRequest) -> dict[str, int]:
    return {"count": Article.objects.count()}


@pytest.fixture(autouse=True)
def _templates(settings):
    processors = settings.TEMPLATES[0]["OPTIONS"]["context_processors"]
    loaders = [("django.template.loaders.locmem.Loader", TEMPLATES)]
    settings.TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "context_processors": [*processors, f"{__name__}.count"],
                "loaders": [*loaders, "django.template.loaders.app_directories.Loader"],
            },
        }
    ]


@pytest.fixture
def database(db):
    """The rows of the tests of generic views."""
    fill("default")


class AuthorForm(forms.ModelForm):
    class Meta:
        model = Article
        fields = ["author"]


async def articles(request):
    return {"articles": Article.objects.all()}


async def raw(request):
    return {"articles": Article.objects.raw("SELECT * FROM generic_article WHERE id = 3")}


async def page(request):
    return {"page": await sync_to_async(Paginator(Article.objects.all(), 3).get_page)(1)}


async def one(request):
    return {"article": await Article.objects.aget(pk=2)}


async def a_form(request):
    formset = forms.formset_factory(AuthorForm)
    return {"form": AuthorForm(), "formsets": [formset()]}


async def nothing(request):
    return {}


def view(template, make_context, response_class):
    class Page(AsyncView):
        async def get(self, request: HttpRequest) -> HttpResponse:
            return response_class(request, template, await make_context(request))

    return Page.as_view()


@pytest.fixture(params=[Client, AsyncClient])
def visit(request, database, settings):
    def visit(
        template, make_context=nothing, response_class=StrictTemplateResponse, user=None, session=""
    ):
        """Return the response to a client and how many queries it took."""
        settings.ROOT_URLCONF = (path("", view(template, make_context, response_class)),)
        client = request.param()
        if user:
            client.force_login(User.objects.get(username=user))
        if session:
            client.cookies[settings.SESSION_COOKIE_NAME] = session
        get = async_to_sync(client.get) if request.param is AsyncClient else client.get
        with CaptureQueriesContext(connection) as queries:
            response = get("/")
        return response, len(queries) - 1  # that of the context processor

    return visit


@pytest.mark.parametrize(
    ("template", "make_context", "text"),
    [
        ("list.html", articles, "Article 1 Article 2 Article 3 Article 4 "),
        ("list.html", raw, "Article 3 "),
        ("page.html", page, "Article 1 Article 2 Article 3 True"),
    ],
)
def test_what_is_in_the_context_is_fetched_once(visit, template, make_context, text):
    strict, lax = (
        visit(template, make_context, c) for c in (StrictTemplateResponse, TemplateResponse)
    )
    assert (strict[0].text, strict[1]) == (lax[0].text, lax[1])
    assert strict[0].text == text


NAMED = [
    ("relation.html", "'relation.html', line 2: {{ article.author.name|upper }}, 'article.author.name', needs"),
    ("included.html", "'relation.html', line 2: {{ article.author.name|upper }}"),
    ("child.html", "'child.html', line 2: {{ article.author }} needs"),
    ("tag.html", "'tag.html', line 1: {% if 1 and article.author.name == 'Ada' %}, 'article.author.name'"),
    ("boolean.html", "'boolean.html', line 1: {% if not article.author.name %}, 'article.author.name'"),
    ("loop.html", "'loop.html', line 3: {% for tag in article.tags.all %} needs"),
]  # fmt: skip


@pytest.mark.parametrize(("template", "named"), NAMED)
def test_a_lazy_relation_is_named_with_the_way_out(visit, template, named):
    with pytest.raises(UnplannedQuery) as caught:
        visit(template, one)
    message = str(caught.value)
    assert f"Template {named}" in message
    assert "select_related()" in message
    assert "response_class = TemplateResponse" in message


@pytest.mark.parametrize(("template", "named"), NAMED)
def test_djangos_response_lets_templates_query(visit, template, named):
    assert visit(template, one, TemplateResponse)[0].status_code == 200


@pytest.mark.parametrize(
    ("user", "text", "queries"), [(None, "user=", 0), ("guest", "user=guest", 2)]
)
def test_the_user_may_be_fetched(visit, user, text, queries):
    response, asked = visit("user.html", user=user)
    assert (response.text, asked) == (text, queries)
    assert response["Vary"] == "Cookie"


def test_the_session_may_be_fetched(visit):
    session = SessionStore()
    session["meat"] = "ribs"
    session.save()
    assert visit("session.html", session=session.session_key)[0].text == "meat=ribs"


@pytest.mark.parametrize(("user", "text"), [("guest", "no"), ("cook", "yes")])
def test_permissions_may_be_fetched(visit, user, text):
    assert visit("perms.html", user=user)[0].text == text


def test_messages_of_the_session(visit, settings):
    settings.MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
    assert visit("messages.html", user="guest")[0].text == ""


def test_a_widget_may_query(visit):
    assert visit("form.html", a_form)[0].text.count("Cleo") == 2


def test_a_context_processor_may_query(visit):
    assert visit("processor.html")[0].text == "4"


def test_the_cache_may_be_in_the_database(visit, settings):
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "pages"}
    }
    call_command("createcachetable", verbosity=0)
    assert [visit("cache.html")[0].text for _ in range(2)] == ["ribs", "ribs"]
    assert caches["default"].get("meat") is None


def test_queries_are_refused_in_templates_only(visit):
    """The wrappers are gone afterwards."""
    with pytest.raises(UnplannedQuery):
        visit("relation.html", one)
    assert connection.execute_wrappers == []
    assert Article.objects.count() == 4
