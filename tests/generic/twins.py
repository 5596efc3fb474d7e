"""A view of Django's and its asynchronous twin, asked the same and compared."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.messages.storage.base import BaseStorage
from django.core.management.color import no_style
from django.core.paginator import Page, Paginator
from django.db import connections, transaction
from django.db.models import Model, QuerySet
from django.forms import BaseForm
from django.forms.formsets import BaseFormSet
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.urls import path

from tests.generic.models import Article, Author, Tag


class Router:
    """Keeps all models in the database of the test."""

    alias = ""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return self.alias

    db_for_write = db_for_read


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A request of the client."""

    path: str = "/"
    method: str = "get"
    data: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


def get(path: str = "/", **headers: str) -> Ask:
    return Ask(path=path, headers=headers)


def post(path: str = "/", **data: Any) -> Ask:
    return Ask(path=path, method="post", data=data)


def ask(method: str, path: str = "/") -> Ask:
    return Ask(path=path, method=method)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What can be seen of an answer."""

    error: str = ""
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: tuple[str, ...] = ()
    content: str = ""
    templates: tuple[str | None, ...] = ()
    context: Mapping[str, Any] = field(default_factory=dict)
    queries: int = 0


def compare(
    database: str,
    settings: Any,
    twins: tuple[type, type],
    *asks: Ask,
    route: str = "",
    user: str | None = None,
    left: Callable[[], Any] = lambda: None,
) -> list[Answer]:
    """Ask both; assert that they answer the same, and leave the same behind; return the answers.

    Each finds the rows of `fill()` and takes all that it does back. `user` is who is logged in; `left`
    tells what else is to be compared afterwards.
    """
    djangos, ours = (
        visit(database, settings, view, *asks, client=client, route=route, user=user, left=left)
        for view, client in zip(twins, (Client(), AsyncClient()), strict=True)
    )
    assert ([*map(as_if_not_negotiated, ours[0])], *ours[1:]) == djangos
    return ours[0]


def as_if_not_negotiated(answer: Answer) -> Answer:
    """Take ``Accept`` out of ``Vary`` where clients that want JSON get something else from ours."""
    if answer.status not in {302, 405}:
        return answer
    headers = dict(answer.headers)
    vary = [name for name in headers.pop("Vary", "").split(", ") if name not in {"", "Accept"}]
    return replace(answer, headers=headers | ({"Vary": ", ".join(vary)} if vary else {}))


def visit(
    database: str,
    settings: Any,
    view: type,
    *asks: Ask,
    client: Client | AsyncClient,
    route: str = "",
    user: str | None = None,
    left: Callable[[], Any] = lambda: None,
) -> tuple[list[Answer], Any, Any]:
    """Return how a view answers, which articles there are afterwards, and what else is left."""
    settings.ROOT_URLCONF = urls(view, route)
    with rolled_back(database):
        reset_sequences(database)
        answers = [*_ask(client, asks, database, user)]
        rows = [(a.pk, a.title, sorted(map(str, a.tags.all()))) for a in Article.objects.all()]
        return answers, rows, left()


def urls(view: type, route: str) -> tuple[Any, ...]:
    def article(request: HttpRequest, pk: int) -> HttpResponse:
        return HttpResponse(f"article {pk}")

    return (
        path(route, view.as_view(), name="view"),
        path("articles/<int:pk>/", article, name="article"),
    )


@contextmanager
def rolled_back(database: str) -> Iterable[None]:
    with transaction.atomic(using=database):
        yield
        transaction.set_rollback(True, using=database)


def fill(database: str) -> None:
    """Store three authors, four articles from three years, and two users."""
    authors = [Author(pk=pk, name=name) for pk, name in enumerate(["Ada", "Bob", "Cleo"], 1)]
    Author.objects.using(database).bulk_create(authors)
    tags = [Tag(pk=pk, name=name) for pk, name in enumerate(["beef", "fish"], 1)]
    Tag.objects.using(database).bulk_create(tags)
    days = [(2023, 5, 6), (2024, 2, 29), (2024, 3, 1), (2025, 12, 31)]
    for pk, day in enumerate(days, 1):
        article = Article(pk=pk, title=f"Article {pk}", slug=f"article-{pk}")
        article.author = authors[pk % 2]
        article.published_on = dt.date(*day)
        article.changed_at = dt.datetime(*day, 12, tzinfo=dt.UTC)
        article.save(using=database, force_insert=True)
    Article.objects.using(database).get(pk=2).tags.set(tags)
    User.objects.using(database).create(pk=1, username="cook", is_superuser=True)
    User.objects.using(database).create(pk=2, username="guest")


def reset_sequences(database: str) -> None:
    """Have new rows get the same keys again: a rollback does not take back the used ones."""
    sql = connections[database].ops.sequence_reset_sql(no_style(), [Author, Tag, Article, User])
    with connections[database].cursor() as cursor:
        for statement in sql:
            cursor.execute(statement)


def _ask(client: Any, asks: Iterable[Ask], database: str, user: str | None) -> Iterable[Answer]:
    if user is not None:
        client.force_login(User.objects.get(username=user))
    for each in asks:
        call = getattr(client, each.method)
        if isinstance(client, AsyncClient):
            call = async_to_sync(call)
        options = {} if each.data is None else {"data": each.data}
        try:
            with CaptureQueriesContext(connections[database]) as queries:
                response = call(each.path, headers=dict(each.headers), **options)
        except Exception as exc:  # noqa: BLE001 - whatever it is, both raise it
            yield Answer(error=f"{type(exc).__name__}: {exc}")
        else:
            yield _answer(response, len(queries))


def _answer(response: Any, queries: int) -> Answer:
    content = without_tokens(response.content.decode())
    context = response.context or []
    contexts = context if isinstance(context, list) else [context]
    values = {key: value for each in contexts for key, value in each.flatten().items()}
    return Answer(
        status=response.status_code,
        headers=dict(response.headers) | {"Content-Length": ""},
        cookies=tuple(sorted(response.cookies)),
        content=content,
        templates=tuple(template.name for template in response.templates),
        context={key: plain(values[key]) for key in values.keys() - NOT_COMPARED},
        queries=queries,
    )


def without_tokens(page: str) -> str:
    return re.sub(r'(csrfmiddlewaretoken" value=)"\w+"', r"\1", page)


NOT_COMPARED = {"csrf_token", "view", "request", "block", "forloop", "perms", "widget"}


def plain(value: Any) -> Any:
    """Return what two values have in common that are as good as the same."""
    match value:
        case Model():
            found: Any = (value._meta.label, value.pk, str(value))
        case QuerySet() | list() | tuple() | BaseStorage():
            found = [plain(each) for each in value]
        case Page():
            found = ["page", value.number, plain(list(value)), plain(value.paginator)]
        case Paginator():
            found = ["paginator", value.count, value.num_pages, value.per_page]
        case BaseForm() | BaseFormSet():
            found = [type(value).__name__, value.is_bound, str(value.errors), plain(value.initial)]
        case dict():
            found = {str(key): plain(each) for key, each in value.items()}
        case str() | int() | None | dt.date():
            found = value
        case _:
            found = str(value) if isinstance(value, AnonymousUser) else type(value).__name__
    return found


def twins(
    django: type,
    ours: type,
    *,
    djangos: Mapping[str, Any] | None = None,
    our: Mapping[str, Any] | None = None,
    **attributes: Any,
) -> tuple[type, type]:
    """Return two views of the same name, with the same `attributes` and others of their own."""
    return (
        type("Page", (django,), {**attributes, **(djangos or {})}),
        type("Page", (ours,), {**attributes, **(our or {})}),
    )
