"""``manage.py asyncviews`` lists what there is, and says where each middleware runs."""

from __future__ import annotations

import io
import re

import pytest
from asgiref.sync import iscoroutinefunction
from django.contrib import admin
from django.core.exceptions import MiddlewareNotUsed
from django.core.management import CommandError, call_command
from django.http import HttpRequest
from django.middleware.security import SecurityMiddleware
from django.urls import include, path
from django.utils.decorators import async_only_middleware, sync_and_async_middleware
from django.utils.deprecation import MiddlewareMixin
from django.views.decorators.csrf import csrf_exempt
from pydantic import BaseModel

from asyncviews import AsyncView, CommaSeparated, Query, resource
from asyncviews.management.commands import asyncviews as command

SECURITY = "django.middleware.security.SecurityMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
REMOTE_USER = "django.contrib.auth.middleware.RemoteUserMiddleware"


def sync_function(get_response):
    def middleware(request):
        return get_response(request)

    return middleware


@async_only_middleware
def async_function(get_response):
    async def middleware(request):
        return await get_response(request)

    return middleware


@sync_and_async_middleware
def either(get_response):
    return (async_function if iscoroutinefunction(get_response) else sync_function)(get_response)


class Called:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_view(self, request, callback, args, kwargs): ...


class Hooks(MiddlewareMixin):
    def process_request(self, request): ...

    def process_response(self, request, response): ...


class Marked(Hooks):
    inline_capable = True


class MarkedWhole(MiddlewareMixin):
    inline_capable = True

    def process_request(self, request): ...


class Native(MiddlewareMixin):
    async def __acall__(self, request): ...


class NothingToDo(MiddlewareMixin): ...


class Secure(SecurityMiddleware):
    def process_response(self, request, response):
        return response


class Same(SecurityMiddleware): ...


class Instance(SecurityMiddleware):
    inline_capable = True

    def __init__(self, get_response):
        super().__init__(get_response)
        self.process_request = lambda request: None


def raises(get_response):
    raise ValueError("no")


def unused(get_response):
    raise MiddlewareNotUsed


def told(settings, *middleware: str, **options) -> str:
    settings.MIDDLEWARE = list(middleware)
    out = io.StringIO()
    call_command("asyncviews", "middleware", stdout=out, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (SECURITY, "inline"),
        (SESSIONS, "inline unless the session must be saved"),
        (REMOTE_USER, "native async"),
        (f"{__name__}.sync_function", "thread, 1 hop: synchronous"),
        (f"{__name__}.Called", "thread, 2 hops: synchronous, not known"),
        (f"{__name__}.async_function", "native async"),
        (f"{__name__}.either", "native async"),
        (f"{__name__}.Hooks", "thread, 2 hops: not known"),
        (f"{__name__}.Marked", f"thread, 2 hops: its base {__name__}.Hooks is not known"),
        (
            f"{__name__}.Secure",
            "thread, 2 hops: a subclass of SecurityMiddleware that overrides process_response, "
            "and is not marked",
        ),
        (
            f"{__name__}.Same",
            "thread, 2 hops: a subclass of SecurityMiddleware that overrides nothing, and is not "
            "marked",
        ),
        (f"{__name__}.Instance", "thread, 2 hops: the instance overrides process_request"),
        (f"{__name__}.MarkedWhole", "inline"),
        (f"{__name__}.Native", "native async"),
        (f"{__name__}.NothingToDo", "nothing to do"),
    ],
)
def test_an_entry_is_told_in_a_line(settings, entry, expected):
    assert f"{entry}  {expected}\n" in told(settings, entry)


def test_more_verbosely_it_tells_of_each_hook(settings):
    text = told(settings, SESSIONS, verbosity=2)
    assert "    process_request: inline\n" in text
    assert "    process_response: inline unless the session must be saved\n" in text


def test_a_setting_that_decides_is_taken_into_account(settings):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.file"
    expected = "; thread, 1 hop: SESSION_ENGINE is custom or keeps files\n"
    assert expected in told(settings, SESSIONS)


def test_what_is_in_front_of_synchronous_middleware_shares_its_thread(settings):
    """Django loads it synchronously, too: one hop for all of them."""
    text = told(settings, f"{__name__}.sync_function", SECURITY, f"{__name__}.sync_function")
    assert re.search(
        rf"""^{__name__}.sync_function +thread, 0 hops: synchronous
{SECURITY} +thread, 0 hops: what is behind it in MIDDLEWARE is synchronous
{__name__}.sync_function +thread, 1 hop: synchronous

.* Middleware makes 1 in each""",
        text,
    )


def test_an_entry_that_is_not_used_costs_nothing(settings):
    text = told(settings, SECURITY, f"{__name__}.unused", f"{__name__}.Hooks")
    assert "unused" not in text
    assert "Middleware makes 2 in each" in text


def test_a_patched_hook_is_told_with_who_has_patched_it(settings, monkeypatch):
    monkeypatch.setattr(SecurityMiddleware, "process_request", lambda self, request: None)
    expected = f"{SECURITY}  thread, 1 hop: patched by tests\n"
    assert expected in told(settings, SECURITY)


def test_other_code_in_a_hook_is_seen(settings, monkeypatch):
    """Some tools leave the function, and replace its code."""

    def other(self, request):
        raise AssertionError

    function = SecurityMiddleware.process_request
    monkeypatch.setattr(function, "__code__", other.__code__)
    assert "thread, 1 hop: patched by somebody" in told(settings, SECURITY)


def test_the_cost_is_measured(settings):
    text = told(settings, SECURITY, f"{__name__}.sync_function", f"{__name__}.Hooks")
    match = re.search(r"takes about (\d+) µs here\. Middleware makes 3 in each.*: (\d+) µs", text)
    assert match
    hop, all_hops = map(int, match.groups())
    assert 1 <= hop < 100_000
    assert abs(all_hops - 3 * hop) <= 3


def test_an_unknown_django_is_said(settings, monkeypatch):
    monkeypatch.setattr(command, "IS_CHECKED", False)
    assert "nothing runs inline" in told(settings, SECURITY)


def test_middleware_that_raises_is_an_error_of_the_command(settings):
    with pytest.raises(
        CommandError,
        match=r"middleware cannot be listed: settings\.MIDDLEWARE: ValueError\('no'\)",
    ):
        told(settings, f"{__name__}.raises")


def test_a_mistake_in_middleware_is_an_error_of_the_command(settings):
    with pytest.raises(
        CommandError,
        match=r"middleware cannot be listed: settings\.MIDDLEWARE: No module named 'nowhere'",
    ):
        told(settings, "nowhere.Middleware")


# The other sections


class Order(BaseModel):
    meats: CommaSeparated[str]
    flavor: str = "none"


class Shop(AsyncView):
    async def get(self, request: HttpRequest, pk: int, page: Query[int] = 1): ...

    async def post(self, request: HttpRequest, pk: int, order: Query[Order]): ...


class Quiet(AsyncView):
    async def get(self, request: HttpRequest): ...


def function(request): ...


async def async_view(request): ...


urlpatterns = [
    path("shop/", include([path("<int:pk>/", csrf_exempt(Shop.as_view()))])),
    path("quiet/", Quiet.as_view()),
    path("function/", function),
    path("async/", async_view),
    path("admin/", admin.site.urls),
]


@resource
async def smoker():
    """The one smoker.

    It is hot.
    """
    yield None


def listed(*sections: str, **options) -> str:
    out = io.StringIO()
    call_command("asyncviews", *sections, stdout=out, no_color=True, **options)
    return out.getvalue()


@pytest.mark.urls(__name__)
def test_views_are_listed_with_methods_and_parameters():
    lines = listed("views").splitlines()
    assert lines[:6] == [
        f"/shop/{{pk}}/  GET, POST, HEAD  {__name__}.Shop",
        "    GET: path pk; query [page]",
        "    POST: path pk; query meats [flavor]",
        f"/quiet/      GET, HEAD        {__name__}.Quiet",
        f"/function/   any (thread)     {__name__}.function",
        f"/async/      any              {__name__}.async_view",
    ]
    assert re.fullmatch(r"and \d+ of Django's own, with --verbosity 2", lines[6])


@pytest.mark.urls(__name__)
def test_those_of_django_are_listed_on_demand():
    assert "django.contrib.admin.sites.AdminSite.login" in listed("views", verbosity=2)


def test_homes_of_background_tasks_are_listed(settings):
    settings.ASYNCVIEWS = {"MAX_RUNNING": 7}
    text = listed("background")
    assert re.search(
        r"^add_background_task\(\) +in memory; 7 run, 1000 wait, 8 thr", text, re.MULTILINE
    )
    backend = r"asyncviews\.tasks\.AsyncioBackend; queues: default, slow$"
    assert re.search(rf'^TASKS\["default"\] +{backend}', text, re.MULTILINE)
    del settings.TASKS
    assert "TASKS" not in listed("background")


def test_resources_are_listed(settings):
    settings.ASYNCVIEWS = {"RESOURCES": [f"{__name__}.smoker"]}
    assert listed("resources") == f"{__name__}.smoker  The one smoker.\n"
    settings.ASYNCVIEWS = {"RESOURCES": []}
    assert listed("resources") == "none\n"


@pytest.mark.urls(__name__)
def test_all_sections_have_headings():
    text = listed()
    assert [line for line in text.splitlines() if line in command.SECTIONS] == [
        "views",
        "middleware",
        "background",
        "resources",
    ]


def test_a_section_that_is_unknown_is_an_error():
    with pytest.raises(CommandError, match="no section 'view'; there are views, middleware"):
        listed("view")


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("views", {"ROOT_URLCONF": "nowhere"}, "No module named 'nowhere'"),
        ("resources", {"ASYNCVIEWS": {"RESOURCES": ["nowhere.a"]}}, "No module named 'nowhere'"),
        ("background", {"ASYNCVIEWS": {"NO": 1}}, "unknown key"),
    ],
)
def test_what_cannot_be_listed_is_an_error(settings, section, change, message):
    for name, value in change.items():
        setattr(settings, name, value)
    with pytest.raises(CommandError, match=f"The {section} cannot be listed: .*{message}"):
        listed(section)
