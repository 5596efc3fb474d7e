"""``manage.py middleware`` says where each middleware runs, and that is where it runs."""

from __future__ import annotations

import io
import re

import pytest
from django.core.management import CommandError, call_command
from django.utils.decorators import async_only_middleware, sync_and_async_middleware
from django.utils.deprecation import MiddlewareMixin

from asyncviews.management.commands import middleware as command

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
    call_command("middleware", stdout=out, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("path", "expected"),
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
def test_an_entry_is_told_in_a_line(settings, path, expected):
    assert f"{path}  {expected}\n" in told(settings, path)


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
    with pytest.raises(CommandError, match=r"settings\.MIDDLEWARE: No module named 'nowhere'"):
        told(settings, "nowhere.Middleware")
