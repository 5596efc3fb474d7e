"""`AsyncView` is Django's View with async handlers."""

from __future__ import annotations

import gc
import weakref
from functools import wraps

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import mixins
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.test import AsyncClient, AsyncRequestFactory, Client
from django.urls import path, re_path
from django.utils.decorators import method_decorator
from django.utils.log import log_response
from django.views import View
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET
from pydantic import BaseModel

from asyncviews import AsyncView, Path, Problem, Query


class Page(BaseModel):
    page: int = 1


class Articles(AsyncView):
    """Lists articles."""

    greeting = "page"

    async def get(self, request: HttpRequest, query: Query[Page]) -> HttpResponse:
        return HttpResponse(f"{self.greeting} {query.page}")

    async def post(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("posted", status=201)


class Article(AsyncView):
    async def get(self, request: HttpRequest, pk: Path[int]) -> HttpResponse:
        return HttpResponse(f"article {pk:03} {self.kwargs}")


class Positional(AsyncView):
    async def get(self, request: HttpRequest, *args: str) -> HttpResponse:
        return HttpResponse(" ".join(args))


@method_decorator(never_cache, name="dispatch")
@method_decorator(cache_control(private=True), name="get")
@method_decorator(csrf_exempt, name="dispatch")
class Decorated(AsyncView):
    async def get(self, request: HttpRequest, query: Query[Page]) -> HttpResponse:
        return HttpResponse(f"page {query.page}")

    @method_decorator(require_GET)
    async def put(self, request: HttpRequest, query: Query[Page]) -> HttpResponse:
        return HttpResponse("never")


class OwnHeadAndOptions(Articles):
    async def head(self, request: HttpRequest, page: Query[int]) -> HttpResponse:
        return HttpResponse(headers={"X-Page": str(page)})

    async def options(  # type: ignore[override]
        self, request: HttpRequest, query: Query[Page]
    ) -> HttpResponse:
        return HttpResponse("my options")


class TooHot(Problem):
    status = 409
    title = "Too hot"


class Raises(AsyncView):
    async def get(self, request: HttpRequest, what: Query[str]) -> HttpResponse:
        raise {
            "problem": TooHot("The smoker is at 200 °C.", temperature=200),
            "404": Http404("no such meat"),
            "403": PermissionDenied("not your meat"),
            "bug": ZeroDivisionError("bug"),
        }[what]


class ReturnsNoResponse(AsyncView):
    async def get(self, request: HttpRequest):
        return {"not": "yet"}


class Handles(AsyncView):
    async def get(self, request: HttpRequest) -> HttpResponse:
        raise ZeroDivisionError

    async def handle_exception(self, exc: Exception) -> HttpResponse:
        return HttpResponse(f"handled {type(exc).__name__}", status=418)


urlpatterns = [
    path("articles/", Articles.as_view()),
    path("hello/", Articles.as_view(greeting="hello")),
    path("only-get/", Articles.as_view(http_method_names=["get", "options"])),
    path("articles/<pk>/", Article.as_view()),
    re_path(r"^positional/(\d+)/(\w+)/$", Positional.as_view()),
    path("decorated/", Decorated.as_view()),
    path("own/", OwnHeadAndOptions.as_view()),
    path("raises/", Raises.as_view()),
    path("no-response/", ReturnsNoResponse.as_view()),
    path("handles/", Handles.as_view()),
]

pytestmark = pytest.mark.urls(__name__)


async def test_a_handler_gets_what_its_signature_names():
    response = await AsyncClient().get("/articles/?page=3")
    assert (response.status_code, response.content) == (200, b"page 3")


def test_the_same_view_answers_under_wsgi():
    assert Client().get("/articles/?page=3").content == b"page 3"


async def test_path_parameters_are_converted():
    response = await AsyncClient().get("/articles/7/")
    assert response.content == b"article 007 {'pk': '7'}"


async def test_positional_url_arguments_reach_a_handler_that_takes_them():
    assert (await AsyncClient().get("/positional/1/a/")).content == b"1 a"


async def test_as_view_takes_attributes_and_refuses_others():
    assert (await AsyncClient().get("/hello/")).content == b"hello 1"
    with pytest.raises(TypeError, match=r"Articles\(\) received an invalid keyword 'nope'"):
        Articles.as_view(nope=1)


async def test_head_is_answered_by_get():
    response = await AsyncClient().head("/articles/?page=2")
    assert (response.status_code, response.content) == (200, b"")
    assert (await AsyncClient().head("/articles/?page=x")).status_code == 422


@pytest.mark.parametrize(
    ("url", "allow"),
    [
        ("/articles/", "GET, POST, HEAD, OPTIONS"),
        ("/only-get/", "GET, OPTIONS"),
    ],
)
async def test_options_and_405_carry_allow(url, allow):
    for response, status in [
        (await AsyncClient().options(url), 200),
        (await AsyncClient().delete(url), 405),
        (await AsyncClient().generic("BREW", url), 405),
    ]:
        assert response.status_code == status
        assert set(response["Allow"].split(", ")) == set(allow.split(", "))


async def test_a_method_that_as_view_takes_away_is_not_allowed():
    assert (await AsyncClient().post("/only-get/")).status_code == 405


async def test_options_may_be_taken_away():
    view = Articles.as_view(http_method_names=["get"])
    response = await view(AsyncRequestFactory().options("/"))
    assert (response.status_code, response["Allow"]) == (405, "GET")


@pytest.mark.parametrize("is_page", [False, True])
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
async def test_a_405_varies_and_is_logged_once_as_django_does(caplog, is_page, accept):
    class View(Articles):
        pass

    View.is_page = is_page
    request = AsyncRequestFactory().delete("/articles/", headers={"accept": accept})
    response = await View.as_view()(request)
    assert (response.status_code, response["Vary"]) == (405, "Accept")
    log_response("Again", response=response, request=request)  # as Django's handler does
    [record] = caplog.records
    assert (record.name, record.levelname) == ("django.request", "WARNING")
    assert record.getMessage() == "Method Not Allowed (DELETE): /articles/"
    assert (record.status_code, record.request) == (405, request)


async def test_http_method_not_allowed_may_be_extended():
    class View(Articles):
        async def http_method_not_allowed(
            self, request: HttpRequest, *args: str, **kwargs: str
        ) -> HttpResponseBase:
            response = await super().http_method_not_allowed(request, *args, **kwargs)
            response["X-Args"] = f"{args} {kwargs}"
            return response

    response = await View.as_view()(AsyncRequestFactory().delete("/"), 1, pk=2)
    assert (response.status_code, response["X-Args"]) == (405, "(1,) {'pk': 2}")


async def test_a_view_is_called_without_as_view():
    """See Django's ticket 21564."""
    assert (await Article().dispatch(AsyncRequestFactory().get("/"), pk="5")).status_code == 200
    assert (await Articles().dispatch(AsyncRequestFactory().get("/?page=x"))).status_code == 422
    assert (await Articles().dispatch(AsyncRequestFactory().delete("/"))).status_code == 405


def refuses(self, request: HttpRequest, *args: str, **kwargs: str) -> None:
    raise TooHot("It is closed.")


async def refuses_later(self, request: HttpRequest, *args: str, **kwargs: str) -> HttpResponse:
    raise TooHot("It is closed.")


def closed(view):
    @wraps(view)
    async def refuse(*args, **kwargs):
        raise TooHot("It is closed.")

    return refuse


@pytest.mark.parametrize(
    "view",
    [
        type("View", (Articles,), {"setup": refuses}),
        type("View", (Articles,), {"dispatch": refuses_later}),
        type("View", (Articles,), {"get": refuses_later, "handle_exception": refuses_later}),
        type("View", (type("Mixin", (), {"dispatch": refuses_later}), Articles), {}),
        method_decorator(closed, name="dispatch")(type("View", (Articles,), {})),
    ],
)
@pytest.mark.parametrize("is_page", [False, True])
async def test_a_problem_raised_around_the_handling_is_a_problem_answered(view, is_page):
    view = type("View", (view,), {"is_page": is_page})
    response = await view.as_view()(AsyncRequestFactory().get("/"))
    assert response.status_code == 409
    assert response["Content-Type"].startswith(
        "text/html" if is_page else "application/problem+json"
    )


class AccessOfTheProject(mixins.AccessMixin):
    async def dispatch(self, request: HttpRequest, *args: str, **kwargs: str) -> HttpResponse:
        if not request.user.is_authenticated:
            return self.handle_no_permission()
        return await super().dispatch(request, *args, **kwargs)


async def test_an_access_mixin_of_the_project_protects():
    class View(AccessOfTheProject, Articles): ...

    request = AsyncRequestFactory().get("/?page=1")
    request.user = AnonymousUser()
    response = await View.as_view()(request)
    assert (response.status_code, response["Location"]) == (
        302,
        "/accounts/login/?next=/%3Fpage%3D1",
    )
    request.user = User(username="cook")
    assert (await View.as_view()(request)).content == b"page 1"


async def test_own_head_and_options_have_their_own_signatures():
    assert (await AsyncClient().head("/own/?page=4"))["X-Page"] == "4"
    assert (await AsyncClient().options("/own/")).content == b"my options"
    assert (await AsyncClient().options("/own/?page=x")).status_code == 422


async def test_djangos_decorators_wrap_classes_and_methods():
    response = await AsyncClient().get("/decorated/?page=2")
    assert response.content == b"page 2"
    assert "private" in response["Cache-Control"]
    assert "no-store" in response["Cache-Control"]
    assert (await AsyncClient().put("/decorated/")).status_code == 405
    assert Decorated.as_view().csrf_exempt


async def test_invalid_input_is_a_problem_document():
    response = await AsyncClient().get("/articles/?page=x")
    assert response.status_code == 422
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["errors"][0]["name"] == "page"


async def test_a_problem_raised_is_a_problem_answered():
    response = await AsyncClient().get("/raises/?what=problem")
    assert response.status_code == 409
    assert response.json() == {
        "type": "about:blank",
        "title": "Too hot",
        "status": 409,
        "detail": "The smoker is at 200 °C.",
        "temperature": 200,
    }


@pytest.mark.parametrize(("what", "status"), [("404", 404), ("403", 403), ("bug", 500)])
async def test_djangos_exceptions_stay_djangos(what, status):
    client = AsyncClient(raise_request_exception=False)
    assert (await client.get(f"/raises/?what={what}")).status_code == status


async def test_handle_exception_may_answer():
    response = await AsyncClient().get("/handles/")
    assert (response.status_code, response.content) == (418, b"handled ZeroDivisionError")


async def test_a_handler_that_returns_no_response_is_named():
    with pytest.raises(TypeError, match=r"ReturnsNoResponse\.get\(\) must return .* not dict"):
        await AsyncClient().get("/no-response/")


async def test_a_test_may_call_the_view_itself():
    request = AsyncRequestFactory().get("/?page=1")
    request.user = AnonymousUser()
    assert (await Article.as_view()(request, pk="5")).content == b"article 005 {'pk': '5'}"


def test_a_synchronous_handler_is_refused_with_the_ways_out():
    with pytest.raises(ImproperlyConfigured) as caught:

        class Sync(AsyncView):
            def get(self, request): ...

    assert "Sync.get() is not a coroutine function" in str(caught.value)
    assert "async def" in str(caught.value)
    assert "sync_to_async" in str(caught.value)
    assert "django.views.View" in str(caught.value)


def test_a_decorator_that_is_not_async_is_refused_like_a_synchronous_handler():
    def plain(view):
        return lambda *args, **kwargs: view(*args, **kwargs)  # noqa: PLW0108

    with pytest.raises(ImproperlyConfigured, match="decorator that does not support async"):

        class Wrapped(AsyncView):
            @plain
            async def get(self, request): ...


def test_a_function_that_makes_problems_and_is_async_is_refused():
    async def too_hot(exc: Exception) -> Problem:
        return TooHot()

    with pytest.raises(
        ImproperlyConfigured, match=r"View\.problems\[KeyError\] is a coroutine func"
    ):
        type("View", (AsyncView,), {"problems": {KeyError: too_hot}})


def test_a_decision_that_is_not_awaited_may_not_be_async():
    async def answers_json(self) -> bool:
        return False

    with pytest.raises(ImproperlyConfigured, match=r"View\.answers_json\(\) must be a plain `def`"):
        type("View", (AsyncView,), {"answers_json": answers_json})


HOOKS = ["dispatch", "handle", "http_method_not_allowed", "authorize", "throttle", "render"]


@pytest.mark.parametrize("hook", [*HOOKS, "handle_invalid", "handle_exception"])
@pytest.mark.parametrize("own", [True, False])
def test_a_hook_that_is_awaited_may_not_be_synchronous(hook, own):
    def plain(self, *args): ...

    mixin = type("Mixin", (), {hook: plain})
    bases, attributes = ((AsyncView,), {hook: plain}) if own else ((mixin, AsyncView), {})
    with pytest.raises(ImproperlyConfigured, match=rf"{hook}\(\).* must be `async def`: it is aw"):
        type("View", bases, attributes)


def test_setup_is_not_awaited_and_may_not_be_async():
    async def setup(self, *args): ...

    with pytest.raises(ImproperlyConfigured, match=r"View\.setup\(\) must be a plain `def`"):
        type("View", (AsyncView,), {"setup": setup})


@pytest.mark.parametrize(
    "mixin",
    [mixins.LoginRequiredMixin, mixins.PermissionRequiredMixin, mixins.UserPassesTestMixin],
)
@pytest.mark.parametrize("first", [True, False])
def test_djangos_access_mixins_are_refused_wherever_they_stand(mixin, first):
    bases = (mixin, AsyncView) if first else (AsyncView, mixin)
    with pytest.raises(ImproperlyConfigured, match=r"is synchronous: .* from asyncviews\.auth\."):
        type("View", bases, {})


@pytest.mark.parametrize("where", ["view", "mixin"])
@pytest.mark.parametrize(
    ("name", "value"),
    [("headers", {"X-Smoker": "hot"}), ("headers", property(str)), ("handlers", [])],
)
def test_an_attribute_that_would_be_overwritten_is_refused(name, value, where):
    mixin = type("Mixin", (), {name: value})
    own = where == "view"
    bases, attributes = ((AsyncView,), {name: value}) if own else ((mixin, AsyncView), {})
    with pytest.raises(ImproperlyConfigured, match=rf"^View\.{name} would be overwritten: "):
        type("View", bases, attributes)


@pytest.mark.parametrize("query", ["ribs", None, property(str), ["ribs"]])
async def test_an_attribute_that_cannot_be_called_is_no_handler(query):
    view = type("View", (Articles,), {"query": query})
    assert view.handlers.keys() == {"get", "head", "post"}
    response = await view.as_view()(AsyncRequestFactory().generic("QUERY", "/"))
    assert (response.status_code, response["Allow"]) == (405, "GET, POST, HEAD, OPTIONS")


def test_a_method_that_is_no_handler_is_told_so():
    with pytest.raises(ImproperlyConfigured, match="not for requests with the method QUERY, give"):
        type("View", (AsyncView,), {"query": lambda self: Page()})


async def passes_nobody(self, request: HttpRequest) -> None:
    raise PermissionDenied


class Awaitable:
    def __await__(self):
        raise PermissionDenied
        yield


async def forgets_to_await(self, request: HttpRequest) -> Awaitable:
    return Awaitable()


async def answers_a_question(self, request: HttpRequest) -> bool:
    return False


@pytest.mark.parametrize("hook", ["authorize", "throttle"])
@pytest.mark.parametrize(
    ("check", "error", "message"),
    [
        (passes_nobody, PermissionDenied, "^$"),
        (lambda self, request: Awaitable(), PermissionDenied, "^$"),
        (forgets_to_await, TypeError, "It must raise a Problem"),
        (answers_a_question, TypeError, "It must raise a Problem"),
    ],
)
async def test_no_hook_lets_pass_what_it_means_to_refuse(hook, check, error, message):
    async def get(self, request) -> HttpResponse:
        return HttpResponse("secret")

    view = type("Refusing", (AsyncView,), {"get": get})
    setattr(view, hook, check)  # where nobody looks any more
    with pytest.raises(error, match=message):
        await view.as_view()(AsyncRequestFactory().get("/"))


def test_a_synchronous_helper_with_another_name_is_no_handler():
    class Fine(AsyncView):
        def helper(self): ...

    assert Fine.as_view()


def test_a_view_without_handlers_allows_options_only():
    class Bare(AsyncView): ...

    assert Bare.view_is_async
    assert issubclass(Bare, View)


async def test_login_not_required_and_other_marks_reach_the_view_function():
    @method_decorator(login_not_required, name="dispatch")
    class Open(Articles): ...

    assert Open.as_view().login_required is False


async def test_streams_pass_through():
    async def chunks():
        yield b"a"
        yield await sync_to_async(lambda: b"b")()

    class Stream(AsyncView):
        async def get(self, request: HttpRequest) -> StreamingHttpResponse:
            return StreamingHttpResponse(chunks())

    response = await Stream.as_view()(AsyncRequestFactory().get("/"))
    assert [chunk async for chunk in response] == [b"a", b"b"]


async def test_a_request_and_its_view_leave_memory_without_the_garbage_collector():
    class View(AsyncView):
        async def get(self, request: HttpRequest) -> HttpResponse:
            views.append(weakref.ref(self))
            return HttpResponse("")

    views: list[weakref.ref[AsyncView]] = []
    gc.disable()
    try:
        request = AsyncRequestFactory().get("/")
        response = await View.as_view()(request)
        requests = weakref.ref(request)
        del request, response
        assert (views[0](), requests()) == (None, None)
    finally:
        gc.enable()
