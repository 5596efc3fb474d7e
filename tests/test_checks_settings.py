"""Every mistake in the settings is named, by `manage.py check` and by a server that starts."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from functools import partial

import pytest
from django.core.asgi import get_asgi_application
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command, get_commands
from django.core.wsgi import get_wsgi_application
from django.utils.deprecation import MiddlewareMixin

from asyncviews import NotFound, Problem, checks, server
from asyncviews.asgi import StartupFailed, lifespan
from asyncviews.asgi import get_asgi_application as get_ours
from asyncviews.checks_settings import check_asgi_application, check_settings, check_tasks
from asyncviews.handler import HTTPHandler
from tests.test_docs import DOCS

HERE = __name__
MEMORY = "asyncviews.tasks.AsyncioBackend"


class Burnt(Exception): ...


class Needy(Problem):
    def __init__(self, meat: str) -> None:
        super().__init__(meat)


def make(exc: Burnt) -> Problem:
    return NotFound()


def make_of_two(exc: Burnt, meat: str) -> Problem:
    return NotFound()


async def make_slowly(exc: Burnt) -> Problem:
    return NotFound()


make_partially = partial(make_of_two, meat="ribs")


def __getattr__(name: str):
    """The applications, made when a check asks for them."""
    makers = {"wsgi": get_wsgi_application, "asgi": get_asgi_application, "ours": get_ours}
    if name in makers:
        return makers[name]()
    raise AttributeError(name)


def texts(check) -> list[str]:
    return [message.msg for message in check(None)]


@pytest.mark.parametrize(
    ("exception", "problem"),
    [
        (f"{HERE}.Burnt", "asyncviews.NotFound"),
        (f"{HERE}.Burnt", f"{HERE}.make"),
        (f"{HERE}.Burnt", f"{HERE}.make_partially"),
        ("builtins.KeyError", "asyncviews.problems.NotFound"),
    ],
)
def test_problems_that_can_be_used(settings, exception, problem):
    settings.ASYNCVIEWS = {"PROBLEMS": {exception: problem}}
    assert texts(check_settings) == []


@pytest.mark.parametrize(
    ("exception", "problem", "message"),
    [
        ("KeyError", f"{HERE}.make", "KeyError doesn't look like a module path"),
        (f"{HERE}.Burned", f"{HERE}.make", f'Module "{HERE}" does not define a "Burned"'),
        (f"{HERE}.make", f"{HERE}.make", "is not a subclass of Exception"),
        ("builtins.KeyboardInterrupt", f"{HERE}.make", "is not a subclass of Exception"),
        (f"{HERE}.Burnt", "asyncviews.NotFond", 'does not define a "NotFond"'),
        (f"{HERE}.Burnt", "tests.broken_module.x", "importing tests.broken_module.x raised Zero"),
        (f"{HERE}.Burnt", f"{HERE}.Burnt", "[Burnt] must be a subclass of Problem or a function"),
        (
            f"{HERE}.Burnt",
            f"{HERE}.Needy",
            "[Burnt] cannot be created without arguments: missing a required",
        ),
        (f"{HERE}.Burnt", f"{HERE}.make_slowly", "is a coroutine function"),
        (f"{HERE}.Burnt", f"{HERE}.make_of_two", "cannot be called with the exception: missing"),
        (f"{HERE}.Burnt", f"{HERE}.MEMORY", "must be a subclass of Problem or a function"),
    ],
)
def test_problems_that_cannot_be_used(settings, broken_module, exception, problem, message):
    settings.ASYNCVIEWS = {"PROBLEMS": {exception: problem}}
    (text,) = texts(check_settings)
    assert text.startswith('ASYNCVIEWS["PROBLEMS"]')
    assert message in text


@pytest.fixture
def broken_module(tmp_path, monkeypatch):
    """`tests.broken_module`, whose import raises."""
    (tmp_path / "broken_module.py").write_text("1 / 0")
    monkeypatch.setattr("tests.__path__", [*sys.modules["tests"].__path__, str(tmp_path)])


class Hooks(MiddlewareMixin):
    def process_request(self, request): ...

    async def process_view(self, request, callback, args, kwargs): ...


class Called:
    def __call__(self, request): ...

    def process_request(self, request): ...

    def process_view(self, request, callback, args, kwargs): ...


def factory(get_response): ...


@pytest.mark.parametrize(
    ("path", "hooks"), [("Hooks", ["process_request"]), ("Called", ["process_view"])]
)
def test_hooks_that_can_be_marked(settings, path, hooks):
    settings.ASYNCVIEWS = {"INLINE_MIDDLEWARE": {f"{HERE}.{path}": hooks}}
    assert texts(check_settings) == []


@pytest.mark.parametrize(
    ("path", "hooks", "message"),
    [
        ("nowhere.Hooks", ["process_request"], "No module named 'nowhere'."),
        ("tests.broken_module.Hooks", ["process_request"], "importing it raised ZeroDivision"),
        (f"{HERE}.factory", ["process_request"], "it is no class, and so has no hooks."),
        (f"{HERE}.Hooks", [], "it names no hooks (known: process_request, process_view, "),
        (f"{HERE}.Hooks", ["process_requests"], "(did you mean process_request?)"),
        (f"{HERE}.Hooks", ["process_exception"], "there is no hook 'process_exception'"),
        (f"{HERE}.Hooks", ["process_response"], "it has no process_response()."),
        (f"{HERE}.Hooks", ["process_view"], "process_view() is async, and runs on the event loop"),
        (f"{HERE}.Hooks", ["__call__"], "__call__() waits for what is behind the middleware"),
        (f"{HERE}.Called", ["process_request"], "its own __call__() calls process_request()"),
    ],
)
def test_hooks_that_cannot_be_marked(settings, broken_module, path, hooks, message):
    settings.ASYNCVIEWS = {"INLINE_MIDDLEWARE": {path: hooks}}
    (text,) = texts(check_settings)
    assert text.startswith(f"ASYNCVIEWS['INLINE_MIDDLEWARE'][{path!r}]: ")
    assert message in text
    with pytest.raises(ImproperlyConfigured, match=re.escape(message)):
        HTTPHandler()
    settings.ASGI_APPLICATION = f"{HERE}.ours"
    assert texts(check_asgi_application) == []  # it has been said


def test_every_mistake_has_a_message_of_its_own(settings, broken_module):
    settings.ASYNCVIEWS = {
        "PROBLEMS": {"KeyError": "asyncviews.NotFond"},
        "RESOURCES": ["nowhere.resource", f"{HERE}.make", "tests.broken_module.resource"],
    }
    expected = ["KeyError", "NotFond", "nowhere", "is not a resource", "ZeroDivisionError"]
    for text, word in zip(texts(check_settings), expected, strict=True):
        assert word in text
    settings.ASYNCVIEWS = {
        "problems": {},
        "MAX_RUNING": 1,
        "MAX_WAITING": -1,
        "RESOURCES": ["nowhere.resource"],
    }
    case, spelling, value, resource = texts(check_settings)
    assert "nowhere" in resource
    assert case == "ASYNCVIEWS['problems']: unknown key (did you mean PROBLEMS?)."
    assert "did you mean MAX_RUNNING?" in spelling
    assert "ASYNCVIEWS['MAX_WAITING']: Input should be greater" in value


def test_every_backend_that_cannot_be_used_is_named(settings):
    settings.TASKS = {
        "default": {"BACKEND": "asyncviews.tasks.AsyncoBackend"},
        "none": {},
        "nowhere": {"BACKEND": "nowhere.Backend"},
        "wrong": {"BACKEND": f"{HERE}.make"},
        "options": {"BACKEND": MEMORY, "OPTIONS": {"MAX_RUNING": 1, "timeout": 1}},
        "well": {"BACKEND": MEMORY},
    }
    found = texts(check_tasks)
    expected = {
        "default": "did you mean asyncviews.tasks.AsyncioBackend?",
        "none": 'must be a dictionary with a "BACKEND"',
        "nowhere": "No module named 'nowhere'",
        "wrong": "TypeError",
        "options": "MAX_RUNING: unknown (did you mean MAX_RUNNING?); timeout: unknown (did",
    }
    for text, (alias, words) in zip(found, expected.items(), strict=True):
        assert text.startswith(f'TASKS["{alias}"]')
        assert words in text


def test_tasks_that_are_no_dictionary(settings):
    settings.TASKS = [MEMORY]
    assert texts(check_tasks) == [f"TASKS must be a dictionary, not ['{MEMORY}']."]


def test_a_durable_backend_without_its_app(settings):
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if "durable" not in app]
    settings.TASKS = {"default": {"BACKEND": "asyncviews.tasks.DurableBackend"}}
    (error,) = [message for message in run_checks() if message.id == "asyncviews.E001"]
    assert "asyncviews.durable" in error.msg


async def test_a_server_that_starts_says_the_same(settings):
    settings.ASYNCVIEWS = {"PROBLEMS": {"KeyError": "asyncviews.NotFond"}}
    settings.TASKS = {"default": {"BACKEND": MEMORY, "OPTIONS": {"timeout": 1}}}
    with pytest.raises(StartupFailed) as caught:
        async with lifespan():
            pass
    said = await asyncio.to_thread(lambda: texts(check_settings) + texts(check_tasks))
    assert len(said) == 3
    assert str(caught.value) == "\n".join(said)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (f"{HERE}:asgi", f'ASGI_APPLICATION is a dotted path: write "{HERE}.asgi"'),
        (f"{HERE}.wsgi", "is a WSGI application"),
        (f"{HERE}.static", "is a WSGI application"),
        ("nowhere.application", "Cannot load settings.ASGI_APPLICATION: No module named 'nowhere'"),
        (f"{HERE}.aplication", f'Module "{HERE}" does not define a "aplication"'),
        ("tests.test_checks_settings", 'write "tests.test_checks_settings.application"'),
        (f"{HERE}.MEMORY", "is no application but"),
        (get_asgi_application, "ASGI_APPLICATION is a dotted path"),
    ],
)
def test_an_application_that_cannot_be_served(settings, monkeypatch, path, message):
    monkeypatch.setitem(globals(), "static", wrapped := type("Middleware", (), {})())
    wrapped.application = get_wsgi_application()
    settings.ASGI_APPLICATION = path
    (text,) = texts(check_asgi_application)
    assert message in text
    with pytest.raises(server.ServerError) as caught:
        server.load(path)
    assert str(caught.value) == text


def test_an_application_whose_module_fails(settings, broken_module):
    settings.ASGI_APPLICATION = "tests.broken_module.application"
    (text,) = texts(check_asgi_application)
    assert "importing tests.broken_module.application raised ZeroDivisionError" in text


@pytest.mark.parametrize("path", [f"{HERE}.asgi", None])
def test_an_application_that_can_be_served(settings, path):
    settings.ASGI_APPLICATION = path
    assert texts(check_asgi_application) == []


def test_what_an_application_raises_for_the_settings_is_said_once(settings):
    settings.ASGI_APPLICATION = f"{HERE}.ours"
    settings.ASYNCVIEWS = {"problems": {}}
    (error,) = run_checks(tags=[checks.TAG])
    assert error.id == "asyncviews.E002"


def test_nor_does_serve_show_a_traceback(settings):
    """If the checks, which come first, are left out."""
    settings.ASGI_APPLICATION = f"{HERE}.ours"
    settings.ASYNCVIEWS = {"problems": {}}
    with pytest.raises(CommandError, match=r"did you mean PROBLEMS\?"):
        call_command("serve", skip_checks=True)


@pytest.mark.parametrize(
    ("apps", "warned"),
    [
        (["django.contrib.staticfiles", "asyncviews"], True),
        (["asyncviews", "django.contrib.staticfiles"], False),
        (["tests.generic", "asyncviews"], False),
    ],
)
def test_whose_runserver_it_is(settings, apps, warned):
    settings.INSTALLED_APPS = apps
    get_commands.cache_clear()
    try:
        found = run_checks(tags=[checks.TAG])
    finally:
        get_commands.cache_clear()
    assert ("asyncviews.W011" in {message.id for message in found}) is warned


@pytest.fixture
def django(tmp_path):
    """Run a command of a project with mistakes, in which nothing imports `django.tasks`."""
    (tmp_path / "mistaken.py").write_text(
        "SECRET_KEY = 'x'\n"
        "INSTALLED_APPS = ['django.contrib.staticfiles', 'asyncviews']\n"
        "STATIC_URL = 'static/'\n"
        "ASGI_APPLICATION = 'project.asgi:application'\n"
        "ASYNCVIEWS = {'problems': {}, 'PROBLEMS': {'KeyError': 'asyncviews.NotFond'}}\n"
        "TASKS = {'default': {'BACKEND': 'asyncviews.tasks.DurableBackend'},\n"
        "         'other': {'BACKEND': 'asyncviews.tasks.Durable'}}\n"
    )
    (tmp_path / "mistaken_order.py").write_text(
        "from mistaken import *\nDEBUG = True\nINSTALLED_APPS = INSTALLED_APPS[::-1]\n"
    )
    path = os.pathsep.join([str(DOCS.parent), str(tmp_path)])

    def run(*args: str) -> str:
        ended = subprocess.run(
            [sys.executable, "-m", "django", *args],
            env={**os.environ, "PYTHONPATH": path},
            check=False,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 1
        return ended.stderr

    return run


def test_the_command_names_all_at_once(django):
    said = django("check", "--settings", "mistaken")
    assert "Traceback" not in said
    for number in ("E001", "E002", "E004", "E005", "W011"):
        assert f"(asyncviews.{number})" in said
    assert said.count("(asyncviews.E001)") == 1
    assert said.count("(asyncviews.E002)") == 3


def test_runserver_says_the_same(django):
    said = django("runserver", "--noreload", "--settings", "mistaken_order")
    assert "(asyncviews.E002)" in said
    assert "get_settings" not in said
