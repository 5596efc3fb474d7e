"""Problems: JSON for programs, a page for people, values only escaped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.core.exceptions import (
    BadRequest,
    ImproperlyConfigured,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.http import Http404, HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.test import AsyncClient, AsyncRequestFactory, RequestFactory, override_settings
from django.urls import path

from asyncviews import (
    AsyncView,
    Body,
    ContentTooLarge,
    Forbidden,
    InvalidParameters,
    MalformedRequest,
    NotFound,
    Problem,
    Query,
    TooManyRequests,
    Unauthorized,
)
from asyncviews.asgi import StartupFailed, lifespan
from asyncviews.problems import (
    DOCUMENTATION,
    Problems,
    ServiceUnavailable,
    prefers_html,
    problem_response,
)


def answer(problem: Problem, accept: str | None = None):
    headers = {} if accept is None else {"accept": accept}
    return problem_response(RequestFactory().get("/", headers=headers), problem)


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "application/problem+json"),
        ("*/*", "application/problem+json"),
        ("application/json", "application/problem+json"),
        ("application/problem+json", "application/problem+json"),
        ("image/png", "application/problem+json"),
        ("nonsense", "application/problem+json"),
        ("text/html", "text/html; charset=utf-8"),
        (BROWSER, "text/html; charset=utf-8"),
    ],
)
def test_a_browser_gets_a_page_and_everyone_else_json(accept, content_type):
    response = answer(Problem("no"), accept)
    assert response["Content-Type"] == content_type
    assert response["Vary"] == "Accept"


@pytest.mark.parametrize(
    ("accept", "undecided", "html"),
    [
        ("*/*", True, True),
        ("*/*", False, False),
        ("image/png", True, True),
        ("image/png", False, False),
        ("text/*", False, True),
        ("application/*", True, False),
        ("application/json, text/plain, */*", True, False),
        ("application/json, text/html", True, False),
        ("text/html;q=0.5, application/json", True, False),
        (BROWSER, False, True),
    ],
)
def test_who_prefers_html(accept, undecided, html):
    request = RequestFactory().get("/", headers={"accept": accept})
    assert prefers_html(request, undecided=undecided) is html


def test_a_document_has_the_members_of_rfc_9457():
    assert Gone("sold out", meat="ribs").document() == {
        "type": "about:blank",
        "title": "Gone",
        "status": 410,
        "detail": "sold out",
        "meat": "ribs",
    }
    assert "detail" not in Gone().document()


def test_a_status_may_be_that_of_one_occurrence():
    problem = Problem("gone", status=404, instance="/orders/7")
    assert problem.document() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "gone",
        "instance": "/orders/7",
    }
    assert answer(problem).status_code == 404
    assert Problem().status == 500


def test_title_and_type_are_not_those_of_one_occurrence():
    for name in ("title", "type"):
        with pytest.raises(TypeError, match=rf"class MyProblem\(Gone\): {name} = 'mine'$"):
            Gone("sold out", **{name: "mine"})


@pytest.mark.parametrize("status", [200, 304, 399, 600, "404", None])
def test_a_status_must_be_one_of_an_error(status):
    with pytest.raises(ImproperlyConfigured, match=r"^Odd\.status must be .* 400 to 599, not "):
        type("Odd", (Problem,), {"status": status})
    if status is not None:
        with pytest.raises(ValueError, match="must be a number from 400 to 599, not "):
            Problem(status=status)


@pytest.mark.parametrize("accept", ["*/*", BROWSER])
def test_a_status_without_a_phrase_is_answered(accept):
    response = answer(type("ClientLeft", (Problem,), {"status": 499})(), accept)
    assert (response.status_code, response.reason_phrase) == (499, "Unknown Status Code")
    assert b"Unknown Status Code" in response.content


@pytest.mark.parametrize(
    ("problem", "own", "value"),
    [
        (partial(Unauthorized, challenge="Bearer"), "WWW-Authenticate", "Bearer"),
        (partial(TooManyRequests, retry_after=60), "Retry-After", "60"),
        (ServiceUnavailable, "Retry-After", "5"),
    ],
)
def test_further_headers_are_sent_with_those_that_a_problem_has(problem, own, value):
    response = answer(problem("no", headers={"X-Smoker": "hot"}, meat="ribs"))
    assert (response[own], response["X-Smoker"]) == (value, "hot")
    assert json.loads(response.content)["meat"] == "ribs"
    assert answer(problem(headers={own: "mine"}))[own] == "mine"


def test_headers_are_sent():
    assert answer(Problem(headers={"Retry-After": "5"}))["Retry-After"] == "5"


EVIL = {
    "location": "query",
    "name": "<script>alert(1)</script>",
    "pointer": "/",
    "type": "x",
    "detail": "<img src=x>",
}


@pytest.mark.parametrize("templates", [None, []])
def test_the_page_escapes_what_the_client_sent(templates, settings):
    if templates is not None:
        settings.TEMPLATES = templates
    response = answer(InvalidParameters([EVIL]), "text/html")
    assert response.status_code == 422
    assert b"<script>" not in response.content
    assert b"<img" not in response.content
    assert b"&lt;script&gt;" in response.content


def test_a_project_may_replace_the_page():
    engine = {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {
            "loaders": [
                (
                    "django.template.loaders.locmem.Loader",
                    {"asyncviews/problem.html": "mine: {{ problem.title }}"},
                )
            ]
        },
    }
    with override_settings(TEMPLATES=[engine]):
        assert answer(InvalidParameters([EVIL]), BROWSER).content == b"mine: Unprocessable Content"


# Exceptions that are problems


class SoldOut(Exception):
    def __init__(self, meat: str) -> None:
        super().__init__(meat)
        self.meat = meat


class SoldOutToday(SoldOut): ...


class Gone(Problem):
    status = 410


def sold_out(exc: SoldOut) -> Problem:
    return Gone(f"There are no more {exc.meat}.")


class Raises(AsyncView):
    problems: ClassVar[Problems] = {KeyError: NotFound}
    raises: Exception = ZeroDivisionError()

    async def get(self, request: HttpRequest) -> dict[str, str]:
        raise self.raises


class RaisesInPage(Raises):
    async def get(self, request: HttpRequest) -> HttpResponse:  # type: ignore[override]
        raise self.raises


async def answer_to(exc: Exception, view: type[Raises] = Raises, **headers: str) -> HttpResponse:
    request = AsyncRequestFactory().get("/", headers=headers)
    return await view.as_view(raises=exc)(request)


@pytest.mark.parametrize(
    ("exc", "status"),
    [
        (Http404("no such meat"), 404),
        (PermissionDenied("not yours"), 403),
        (SuspiciousOperation("hm"), 400),
        (RequestDataTooBig("big"), 413),
        (TooManyFieldsSent("many"), 413),
        (TooManyFilesSent("many"), 413),
        (BadRequest("bad"), 400),
        (MultiPartParserError("broken"), 400),
        (KeyError("ribs"), 404),
        (NotFound("There are no ribs."), 404),
    ],
)
async def test_an_exception_that_is_no_bug_is_a_problem(exc, status):
    response = await answer_to(exc)
    assert (response.status_code, response["Content-Type"]) == (status, "application/problem+json")
    document = json.loads(response.content)
    assert document["type"] == f"{DOCUMENTATION}#{type_name(status)}"
    assert "ribs" not in document.get("detail", "") or isinstance(exc, Problem)


def type_name(status: int) -> str:
    classes = (MalformedRequest, Forbidden, NotFound, ContentTooLarge)
    return next(cls.__name__.lower() for cls in classes if cls.status == status)


@pytest.mark.parametrize("exc", [Http404(), PermissionDenied(), SuspiciousOperation()])
async def test_a_browser_gets_djangos_page_for_djangos_exceptions(exc):
    with pytest.raises(type(exc)):
        await answer_to(exc, accept=BROWSER)


@pytest.mark.parametrize("accept", ["*/*", "image/png", BROWSER])
async def test_a_page_answers_djangos_exceptions_as_django_does(accept):
    with pytest.raises(Http404):
        await answer_to(Http404(), RaisesInPage, accept=accept)
    response = await answer_to(Http404(), RaisesInPage, accept="application/json")
    assert response["Content-Type"] == "application/problem+json"


async def test_a_browser_gets_our_page_for_a_problem():
    response = await answer_to(KeyError("ribs"), accept=BROWSER)
    assert (response.status_code, b"404 Not Found" in response.content) == (404, True)


async def test_a_bug_stays_a_bug():
    with pytest.raises(ZeroDivisionError):
        await answer_to(ZeroDivisionError())


async def test_something_suspicious_is_logged_as_django_does(caplog):
    await answer_to(RequestDataTooBig("The body is too large."))
    record = next(r for r in caplog.records if r.name == "django.security.RequestDataTooBig")
    assert record.getMessage() == "The body is too large."


PROBLEMS = {
    f"{__name__}.SoldOut": f"{__name__}.sold_out",
    "builtins.LookupError": f"{__name__}.Gone",
}


@override_settings(ASYNCVIEWS={"PROBLEMS": PROBLEMS})
async def test_a_project_says_which_exceptions_are_problems():
    response = await answer_to(SoldOutToday("ribs"))
    assert response.status_code == 410
    assert json.loads(response.content)["detail"] == "There are no more ribs."
    assert (await answer_to(IndexError())).status_code == 410
    assert (await answer_to(KeyError())).status_code == 404  # the view goes before


def no_problem(exc: Exception) -> str:
    return "gone"


@override_settings(ASYNCVIEWS={"PROBLEMS": {"builtins.LookupError": f"{__name__}.no_problem"}})
async def test_what_makes_problems_must_make_problems():
    with pytest.raises(TypeError, match=r"For a IndexError, .*no_problem.* returned 'gone', which"):
        await answer_to(IndexError())


MISTAKES: list[tuple[Any, str]] = [
    (TooManyRequests, r".* 'retry_after'. .*, as in lambda exc: TooManyRequests\(\.\.\.\)\.$"),
    (lambda: NotFound(), r"cannot be called with the exception: too many positional arguments\.$"),  # noqa: PLW0108
    (HttpResponse, "must be a subclass of Problem or a function that makes one, not "),
    (404, "must be a subclass of Problem or a function that makes one, not 404"),
]
wrong: Any = None


@pytest.mark.parametrize(("make", "message"), MISTAKES)
def test_what_cannot_make_a_problem_is_refused_when_the_class_is_created(make, message):
    with pytest.raises(ImproperlyConfigured, match=rf"^View\.problems\[KeyError\] {message}"):
        type("View", (AsyncView,), {"problems": {KeyError: make}})


@pytest.mark.parametrize(("make", "message"), MISTAKES)
@override_settings(ASYNCVIEWS={"PROBLEMS": {"builtins.KeyError": f"{__name__}.wrong"}})
async def test_and_when_the_application_starts(make, message, monkeypatch):
    monkeypatch.setattr(f"{__name__}.wrong", make)
    with pytest.raises(StartupFailed, match=rf'^ASYNCVIEWS\["PROBLEMS"\]\[KeyError\] {message}'):
        async with lifespan():
            pass


@pytest.mark.parametrize("key", ["KeyError", HttpResponse, KeyboardInterrupt])
def test_only_exceptions_are_problems(key):
    with pytest.raises(ImproperlyConfigured, match="not a subclass of Exception"):
        type("View", (AsyncView,), {"problems": {key: NotFound}})


async def later(exc: Exception) -> Problem:
    return Problem()


@override_settings(ASYNCVIEWS={"PROBLEMS": {"builtins.LookupError": f"{__name__}.later"}})
async def test_and_must_not_be_async():
    with pytest.raises(ImproperlyConfigured, match=r"\[LookupError\] is a coroutine function, and"):
        await answer_to(IndexError())


@override_settings(ASYNCVIEWS={"PROBLEMS": {"builtins.LookupError": "nowhere.Gone"}})
async def test_a_path_that_leads_nowhere_is_named():
    with pytest.raises(ImproperlyConfigured, match=r'ASYNCVIEWS\["PROBLEMS"\]: .*nowhere'):
        await answer_to(LookupError())


class Refuses(AsyncView):
    async def authorize(self, request: HttpRequest) -> None:
        if "authorization" not in request.headers:
            raise Unauthorized(challenge="Bearer")

    async def throttle(self, request: HttpRequest) -> None:
        raise TooManyRequests("Smoke less.", retry_after=60)

    async def post(self, request: HttpRequest, body: Body[int]) -> None: ...


async def test_hooks_refuse_a_request_before_it_is_read():
    request = AsyncRequestFactory().post("/", b"{", content_type="application/json")
    response = await Refuses.as_view()(request)
    assert (response.status_code, response["WWW-Authenticate"]) == (401, "Bearer")
    request = AsyncRequestFactory().post("/", headers={"authorization": "Bearer x"})
    response = await Refuses.as_view()(request)
    assert (response.status_code, response["Retry-After"]) == (429, "60")


class Shows(AsyncView):
    async def get(self, request: HttpRequest, page: Query[int]) -> HttpResponse: ...

    async def handle_invalid(self, problem: InvalidParameters) -> HttpResponse:
        return HttpResponse(problem.detail, status=problem.status)


async def test_a_view_may_answer_invalid_input_itself():
    response = await Shows.as_view()(AsyncRequestFactory().get("/?page=x"))
    assert (response.status_code, response.content) == (422, b"1 parameter is invalid.")


def test_every_problem_of_this_package_is_documented():
    page = (Path(__file__).parents[1] / "docs/reference/problems.md").read_text()
    for cls in subclasses(Problem):
        if cls.__module__.startswith("asyncviews.") and not cls.__name__.startswith("_"):
            assert cls.type == f"{DOCUMENTATION}#{cls.__name__.lower()}"
            assert f"\n## {cls.__name__}\n" in page


def subclasses(cls: type) -> Iterator[Any]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


# What no view answers

handler400 = "asyncviews.problems.bad_request"
handler403 = "asyncviews.problems.permission_denied"
handler404 = "asyncviews.problems.page_not_found"
handler500 = "asyncviews.problems.server_error"


def raises(request: HttpRequest, name: str) -> HttpResponse:
    raise {
        "400": BadRequest("secret"),
        "403": PermissionDenied("secret"),
        "404": Http404("secret"),
        "413": RequestDataTooBig("secret"),
        "500": ZeroDivisionError("secret"),
    }[name]


urlpatterns = [path("raises/<name>/", raises)]


@pytest.mark.urls(__name__)
@pytest.mark.parametrize("status", [400, 403, 404, 413, 500])
async def test_what_django_answers_is_a_problem_too(status):
    client = AsyncClient(raise_request_exception=False)
    response = await client.get(f"/raises/{status}/")
    assert (response.status_code, response["Content-Type"]) == (status, "application/problem+json")
    assert b"secret" not in response.content
    response = await client.get(f"/raises/{status}/", headers={"accept": BROWSER})
    assert response["Content-Type"] == "text/html; charset=utf-8"
    assert response["Vary"] == "Accept"
    assert response.status_code == (400 if status == 413 else status)
    assert (await client.get("/nowhere/")).json()["status"] == 404


@override_settings(CSRF_FAILURE_VIEW="asyncviews.problems.csrf_failure")
@pytest.mark.urls(__name__)
async def test_a_missing_csrf_token_is_a_problem():
    client = AsyncClient(enforce_csrf_checks=True)
    response = await client.post("/raises/404/")
    assert (response.status_code, response.json()["title"]) == (403, "Permission denied")
    response = await client.post("/raises/404/", headers={"accept": BROWSER})
    assert b"CSRF verification failed" in response.content
    assert "Accept" in response["Vary"]
