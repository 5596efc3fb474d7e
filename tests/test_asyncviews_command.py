"""``manage.py asyncviews`` lists what there is, and says where each middleware runs."""

from __future__ import annotations

import io
import re

import pytest
from django.contrib import admin
from django.core.management import CommandError, call_command
from django.http import HttpRequest
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


def sync_function(get_response): ...


@async_only_middleware
def async_function(get_response): ...


@sync_and_async_middleware
def either(get_response): ...


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
        (f"{__name__}.sync_function", "thread, 1 hop"),
        (f"{__name__}.async_function", "native async"),
        (f"{__name__}.either", "native async"),
        (f"{__name__}.Hooks", "thread, 2 hops"),
        (f"{__name__}.Marked", "thread, 2 hops"),  # its base is not
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
    assert "thread, 1 hop" in told(settings, SESSIONS)


def test_the_cost_is_measured(settings):
    text = told(settings, SECURITY, f"{__name__}.Hooks", f"{__name__}.sync_function")
    match = re.search(r"takes about (\d+) µs here\. Middleware makes 3 in each.*: (\d+) µs", text)
    assert match
    hop, all_hops = map(int, match.groups())
    assert 1 <= hop < 100_000
    assert abs(all_hops - 3 * hop) <= 3


def test_an_unknown_django_is_said(settings, monkeypatch):
    monkeypatch.setattr(command, "IS_CHECKED", False)
    assert "nothing runs inline" in told(settings, SECURITY)


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
