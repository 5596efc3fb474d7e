"""The access mixins answer as Django's do; who wants JSON gets a problem."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth import middleware, mixins
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory
from django.utils.functional import SimpleLazyObject
from django.views import View
from django.views.generic import DetailView

from asyncviews import AsyncView, BackgroundTaskMixin, Forbidden, Unauthorized
from asyncviews.auth import (
    AccessMixin,
    LoginRequiredMixin,
    PermissionRequiredMixin,
    UserPassesTestMixin,
)
from asyncviews.generic import AsyncDetailView, AsyncUpdateView
from tests.generic.models import Article
from tests.generic.twins import ask, get, post, twins

ARTICLES = Article.objects.select_related("author").prefetch_related("tags")
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
USERS = [None, "guest", "cook"]


class SyncPage(View):
    def get(self, request, **kwargs):
        return HttpResponse(f"hello {request.user}")


class AsyncPage(AsyncView):
    is_page = True

    async def get(self, request: HttpRequest, **kwargs: str) -> HttpResponse:
        return HttpResponse(f"hello {await request.auser()}")


def pages(name, **attributes):
    mixin = getattr(mixins, name)
    ours = globals()[name]
    return twins(
        type("Page", (mixin, SyncPage), {}), type("Page", (ours, AsyncPage), {}), **attributes
    )


ASKS = [
    get("/?a=1&b=%C3%A4"), get(accept=BROWSER), get(accept="*/*"), get(accept="image/png"), post(),
    ask("options"), ask("head"), ask("delete"),
]  # fmt: skip


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"login_url": "/in/"},
        {"login_url": "article"},
        {"login_url": "https://other.example/in/"},
        {"login_url": "//testserver/in/"},
        {"raise_exception": True, "permission_denied_message": "no"},
        {"redirect_field_name": "back"},
        {"redirect_field_name": None},
        {"get_login_url": lambda self: "/mine/"},
        {"get_redirect_field_name": lambda self: "to"},
        {"get_permission_denied_message": lambda self: "mine", "raise_exception": True},
        {"handle_no_permission": lambda self: HttpResponse(f"no, {self.request.user}", status=418)},
    ],
)
def test_login_required(compare, user, attributes):
    answers = compare(pages("LoginRequiredMixin", **attributes), *ASKS, user=user)
    assert answers[0].status == 200 if user else answers[0].status in {302, 403, 418, 500, 0}


def test_no_login_url_is_djangos_error(compare, settings):
    settings.LOGIN_URL = ""
    [answer] = compare(pages("LoginRequiredMixin"), get())
    assert "Page is missing the login_url attribute" in answer.error


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize(
    "attributes",
    [
        {"permission_required": "generic.add_article"},
        {"permission_required": ["generic.add_article", "generic.change_article"]},
        {"permission_required": "generic.add_article", "raise_exception": True},
        {"permission_required": ()},
        {"get_permission_required": lambda self: ["generic.add_tag"]},
        {},
    ],
)
def test_permission_required(compare, user, attributes):
    compare(pages("PermissionRequiredMixin", **attributes), *ASKS[:4], user=user)


def test_a_permission_that_the_user_has(compare):
    """Which also becomes known to the template, without another query."""

    class Djangos(mixins.PermissionRequiredMixin, SyncPage): ...

    class Ours(PermissionRequiredMixin, AsyncPage): ...

    def djangos(self):
        grant()
        return mixins.PermissionRequiredMixin.has_permission(self)

    async def ours(self):
        from asgiref.sync import sync_to_async

        await sync_to_async(grant)()
        return await PermissionRequiredMixin.has_permission(self)

    def grant():
        permission = Permission.objects.get(codename="add_tag", content_type__app_label="generic")
        User.objects.get(username="guest").user_permissions.add(permission)

    views = twins(
        Djangos,
        Ours,
        permission_required="generic.add_tag",
        djangos={"has_permission": djangos},
        our={"has_permission": ours},
    )
    [answer] = compare(views, get(), user="guest")
    assert answer.content == "hello guest"


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize(
    "attributes",
    [
        {"test_func": lambda self: self.request.user.is_superuser},
        {"test_func": lambda self: Article.objects.filter(title="Article 1").exists()},
        {"test_func": lambda self: None},
        {"get_test_func": lambda self: lambda: self.request.user.username == "guest"},
        {},
    ],
)
def test_a_test_of_the_user(compare, user, attributes):
    compare(pages("UserPassesTestMixin", **attributes), *ASKS[:4], user=user)


@pytest.mark.parametrize("user", USERS)
def test_an_asynchronous_test_of_the_user(compare, user):
    def djangos(self):
        return self.get_object().author.name == "Bob" and self.request.user.is_authenticated

    async def ours(self):
        article = await self.get_object()
        return article.author.name == "Bob" and (await self.request.auser()).is_authenticated

    class Djangos(mixins.UserPassesTestMixin, DetailView): ...

    class Ours(UserPassesTestMixin, AsyncDetailView): ...

    views = twins(
        Djangos,
        Ours,
        queryset=ARTICLES,
        djangos={"test_func": djangos},
        our={"test_func": ours},
    )
    compare(views, get("/1/"), get("/2/"), get("/99/"), route="<int:pk>/", user=user)


@pytest.mark.parametrize("accept", ["application/json", "application/problem+json"])
@pytest.mark.parametrize(("user", "status"), [(None, 401), ("guest", 403)])
@pytest.mark.parametrize("raise_exception", [False, True])
def test_who_wants_json_gets_a_problem(visit, accept, user, status, raise_exception):
    class Page(PermissionRequiredMixin, AsyncPage):
        permission_required = "generic.add_article"
        permission_denied_message = "Cooks only."

    Page.raise_exception = raise_exception
    [answer] = visit(Page, get(accept=accept), user=user)
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert json.loads(answer.content)["detail"] == "Cooks only."
    assert answer.headers.get("WWW-Authenticate") == ("Cookie" if status == 401 else None)
    assert "Accept" in answer.headers["Vary"]


def test_a_redirect_to_the_login_page_varies(visit):
    class Page(LoginRequiredMixin, AsyncPage): ...

    [answer] = visit(Page, get())
    assert answer.status == 302
    assert set(answer.headers["Vary"].split(", ")) == {"Accept", "Cookie"}


@pytest.mark.parametrize(("accept", "status"), [("application/json", 401), ("text/html", 302)])
def test_a_mixin_of_the_project_may_refuse_in_dispatch(visit, accept, status):
    class ActiveRequiredMixin(AccessMixin):
        async def dispatch(self, request, *args, **kwargs):
            if not (await request.auser()).is_active:
                return self.handle_no_permission()
            return await super().dispatch(request, *args, **kwargs)

    class Page(ActiveRequiredMixin, AsyncPage): ...

    assert [answer.status for answer in visit(Page, get(accept=accept))] == [status]
    assert [answer.status for answer in visit(Page, get(accept=accept), user="guest")] == [200]


def test_the_user_is_there_for_synchronous_hooks_without_another_query(visit):
    class Page(LoginRequiredMixin, AsyncDetailView):
        template_name = "generic/article_detail.html"

        def get_queryset(self):
            return ARTICLES.exclude(author__name=self.request.user.username)

    [answer] = visit(Page, get("/1/"), route="<int:pk>/", user="guest")
    assert "user=guest" in answer.content
    assert answer.queries == 4  # session, user, article, tags


def test_a_user_that_an_asynchronous_test_has_fetched_is_known_as_well(visit):
    class Page(UserPassesTestMixin, AsyncDetailView):
        template_name = "generic/article_detail.html"

        async def test_func(self):
            return (await self.request.auser()).username == "guest"

        def get_queryset(self):
            return ARTICLES.exclude(author__name=self.request.user.username)

    [answer] = visit(Page, get("/1/"), route="<int:pk>/", user="guest")
    assert "user=guest" in answer.content
    assert answer.queries == 4


@pytest.mark.parametrize(
    ("attributes", "username"), [({}, "late"), ({"_cached_user": User(username="early")}, "early")]
)
async def test_the_two_caches_of_django_are_one(monkeypatch, attributes, username):
    """LoginRequiredMiddleware fills one, and `request.auser()` would ask again for the other."""

    async def late(request):
        return vars(request).setdefault("_acached_user", User(username="late"))

    request = AsyncRequestFactory().get("/")
    vars(request).update(attributes, session=SessionStore())
    monkeypatch.setattr(middleware, "auser", late)
    middleware.AuthenticationMiddleware(lambda request: HttpResponse()).process_request(request)
    assert (await LoginView.as_view()(request)).text == f"hello {username}"
    assert request.user.username == username


class LoginView(LoginRequiredMixin, AsyncPage): ...


@pytest.mark.parametrize(("user", "status"), [(AnonymousUser(), 302), (User(username="x"), 200)])
async def test_a_test_may_assign_the_user(user, status):
    class Page(LoginRequiredMixin, AsyncView):
        async def get(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse("hello")

    request = AsyncRequestFactory().get("/")
    request.user = user
    assert (await Page.as_view()(request)).status_code == status


async def test_a_user_model_without_asynchronous_permissions():
    class Cook:
        is_authenticated = True

        def has_perms(self, permissions):
            return permissions == ("smoke",)

    class Page(PermissionRequiredMixin, AsyncView):
        permission_required = "smoke"

        async def get(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse("hello")

    request = AsyncRequestFactory().get("/")
    request.user = Cook()
    assert (await Page.as_view()(request)).status_code == 200
    with pytest.raises(PermissionDenied):
        await Page.as_view(permission_required="burn")(request)


def test_mixins_add_up(visit):
    class Page(LoginRequiredMixin, PermissionRequiredMixin, BackgroundTaskMixin, AsyncPage):
        permission_required = "generic.add_article"

    assert [visit(Page, get(), user=user)[0].status for user in USERS] == [302, 403, 200]


def test_it_asks_before_parameters_are_read(visit):
    class Page(LoginRequiredMixin, AsyncView):
        async def get(self, request: HttpRequest, pk: int) -> HttpResponse: ...

    [answer] = visit(Page, get("/x/"), route="<str:pk>/")
    assert answer.status == 302


@pytest.mark.parametrize(
    "mixin", [LoginRequiredMixin, PermissionRequiredMixin, UserPassesTestMixin]
)
def test_a_mixin_that_would_not_protect_is_refused(mixin):
    with pytest.raises(ImproperlyConfigured, match=f"{mixin.__name__} stands before AsyncView in "):
        type("Page", (AsyncPage, mixin), {})
    with pytest.raises(ImproperlyConfigured, match=r"is no AsyncView.* django.contrib.auth.mixins"):
        type("Page", (mixin, View), {})


def test_a_protected_view_may_be_extended():
    class Base(LoginRequiredMixin, AsyncPage):
        async def handle(self, request, *args, **kwargs):
            return await super().handle(request, *args, **kwargs)

    class Page(UserPassesTestMixin, Base): ...

    assert Page.as_view()
    with pytest.raises(ImproperlyConfigured, match=r"UserPassesTestMixin stands before .*Base in"):

        class Unprotected(Base, UserPassesTestMixin): ...

    with pytest.raises(ImproperlyConfigured, match="LoginRequiredMixin stands before AsyncView in"):

        class OwnHandle(AsyncPage, LoginRequiredMixin):
            async def handle(self, request, *args, **kwargs): ...


def test_a_synchronous_has_permission_is_refused():
    with pytest.raises(ImproperlyConfigured, match=r"has_permission\(\) must be `async def`"):

        class Page(PermissionRequiredMixin, AsyncUpdateView):
            def has_permission(self): ...


def test_what_a_request_must_bring():
    """The OpenAPI document reads it."""
    assert LoginRequiredMixin.credentials == AccessMixin.credentials == ("session",)
    assert (Unauthorized.status, Forbidden.status) == (401, 403)


def test_under_wsgi_too(database, settings):
    from django.test import Client

    from tests.generic.twins import urls

    settings.ROOT_URLCONF = urls(LoginView, "")
    assert Client().get("/").status_code == 302


class Banning(ModelBackend):
    """A backend as Django's documentation has them: synchronous."""

    def get_user(self, user_id):
        user = super().get_user(user_id)
        return None if user and user.username == "guest" else user


@pytest.mark.parametrize("user", USERS)
def test_a_backend_that_knows_no_such_user_any_more(compare, settings, user):
    """`request.auser()` does not ask it."""
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.Banning"]
    [answer] = compare(pages("LoginRequiredMixin"), get(), user=user)
    assert answer.status == (200 if user == "cook" else 302)


def lazy_guest(get_response):
    """Middleware that says who it is, as that for tokens does; `request.auser()` says otherwise."""

    def middleware(request):
        request.user = SimpleLazyObject(lambda: User.objects.get(username="guest"))
        return get_response(request)

    return middleware


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize(
    ("mixin", "attributes", "status"),
    [
        ("LoginRequiredMixin", {}, 200),
        ("PermissionRequiredMixin", {"permission_required": "generic.add_article"}, 403),
    ],
)
def test_a_lazy_user_of_other_middleware_counts(compare, settings, user, mixin, attributes, status):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.lazy_guest"]

    class SyncHello(View):
        def get(self, request):
            return HttpResponse("hello")

    class AsyncHello(AsyncView):
        async def get(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse("hello")

    djangos = type("Page", (getattr(mixins, mixin), SyncHello), {})
    ours = type("Page", (globals()[mixin], AsyncHello), {})
    views = twins(djangos, ours, raise_exception=True, **attributes)
    [answer] = compare(views, get(), user=user)
    assert answer.status == status
