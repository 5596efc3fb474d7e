"""What the documentation shows works as it is shown, and its references are complete."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from django.contrib.staticfiles.management.commands.runserver import Command as DjangoRunserver
from django.core.management import BaseCommand, load_command_class
from django.test import AsyncClient, AsyncRequestFactory
from django.urls import path

import asyncviews
import asyncviews.generic
import asyncviews.testing
from asyncviews import inline_packages, inline_rules
from asyncviews.asgi import lifespan
from asyncviews.conf import Settings
from tests.live.server_process import free_port

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    page
    for page in [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
    if "_build" not in page.relative_to(ROOT).parts
)
page_ids = [str(page.relative_to(ROOT)) for page in PAGES]


@dataclass(frozen=True)
class Block:
    """A fenced code block."""

    language: str
    caption: str
    text: str


FENCE = re.compile(
    r"^```(?:\{code-block\} )?(?P<language>\w+)\n(?P<options>(?::[\w-]+:[^\n]*\n)*)\n?"
    r"(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def blocks(page: Path) -> list[Block]:
    found = []
    for match in FENCE.finditer(page.read_text()):
        options = dict(re.findall(r"^:(\S+): (.+)$", match["options"], re.MULTILINE))
        found.append(Block(match["language"], options.get("caption", ""), match["text"]))
    return found


# The tutorial, followed to the letter.

PACE = 0.1  # where the tutorial sleeps for a second
BY_HAND = ("mkdir ", "python3 -m venv ", ". .venv", "pip install ")  # this environment has it all
TERMINAL = "in the server's terminal"
WHOLE = "(the whole file)"
EXECUTABLES = str(Path(sys.executable).parent)


class Reader:
    """Types what the tutorial says into a project directory, and compares what it shows."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.serve = ""
        self.server: Server | None = None
        self.seen: list[str] = []

    def follow(self, block: Block) -> None:
        self.seen.append(block.caption or block.language)
        if block.caption == TERMINAL:
            self._watch(block.text)
        elif block.caption:
            self._stop()
            name, _, how = block.caption.partition(" ")
            edit(self.home / name, block.text, whole=how == WHOLE)
        elif block.language == "console":
            for command, shown in transcript(block.text):
                self._type(command, shown)
        else:
            raise AssertionError(f"a block that nobody follows: {block}")

    def _type(self, command: str, shown: str) -> None:
        if command.startswith(BY_HAND):
            return
        if command.startswith("curl "):
            assert self._answer(command) == shown.rstrip("\n"), command
        elif command in {"python manage.py runserver", "python manage.py serve"}:
            self._stop()
            self.serve = command
        else:
            assert_shows(run(shlex.split(command), self.home), shown)

    def _answer(self, command: str) -> str:
        curl, _, tool = command.partition(" | ")
        assert tool in {"", "python -m json.tool"}
        server = self.server = self.server or Server(self.home, self.serve)
        url = shlex.split(curl)[-1].replace("127.0.0.1:8000", server.address)
        text = httpx.get(url, timeout=20).text
        return json.dumps(json.loads(text), indent=4) if tool else text

    def _watch(self, shown: str) -> None:
        assert self.server
        for line in shown.splitlines():
            if line == "^C":
                self.server.process.send_signal(signal.SIGINT)
            elif line.strip() != "...":
                self.server.wait_for(line)
        if "^C" in shown:
            assert self.server.process.wait(20) == 0
            self._stop()

    def _stop(self) -> None:
        if self.server:
            self.server.close()
            self.server = None

    close = _stop


class Server:
    """A server that the tutorial has started, and its terminal."""

    def __init__(self, home: Path, command: str) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        options = ["--noreload"] if command.endswith("runserver") else []  # restarted by the test
        self.process = subprocess.Popen(
            [sys.executable, *shlex.split(command)[1:], self.address, *options],
            cwd=home,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: list[str] = []
        self._next = 0
        self._grown = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.wait_for("Quit the server with CONTROL-C." if options else "Serving ")
        except BaseException:
            self.close()
            raise

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._grown:
                self._lines.append(line.rstrip("\n"))
                self._grown.notify_all()

    def wait_for(self, shown: str) -> None:
        """Wait for a line like the one that is shown, after those that were waited for before."""
        wanted = pattern(shown.replace("127.0.0.1:8000", self.address))

        def search() -> bool:
            for number, line in enumerate(self._lines[self._next :], self._next):
                if wanted.match(line):
                    self._next = number + 1
                    return True
            return False

        with self._grown:
            found = self._grown.wait_for(search, 20)
        assert found, f"no {shown!r} in the terminal:\n" + "\n".join(self._lines)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


def run(command: list[str], home: Path) -> str:
    """Run a command that must succeed; return what it prints."""
    if command[0] == "python":
        command[0] = sys.executable
    process = subprocess.run(
        command,
        check=False,
        cwd=home,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=25,
    )
    assert process.returncode == 0, process.stdout
    return process.stdout


def environment() -> dict[str, str]:
    path = os.pathsep.join([EXECUTABLES, os.environ["PATH"]])
    inherited = {name: os.environ[name] for name in os.environ if name[:7] != "DJANGO_"}
    return {**inherited, "PATH": path, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def edit(file: Path, block: str, *, whole: bool) -> None:
    """Write a block into a file, as its reader would.

    Unless the block is the `whole` file, what it assigns or defines replaces what has that name,
    imports go to the top, everything else to the end.
    """
    block = re.sub(r"sleep\((\d+)\)", lambda match: f"sleep({int(match[1]) * PACE:g})", block)
    old = split(file.read_text()) if file.exists() and not whole else []
    new = dict(split(block))
    imports = [text for key, text in new.items() if key.startswith(("import ", "from "))]
    others = {key: text for key, text in new.items() if text not in imports}
    lines = imports + [others.pop(key, text) for key, text in old] + list(others.values())
    file.write_text("\n\n".join(lines) + "\n")


def split(source: str) -> list[tuple[str, str]]:
    """Return the top-level statements of a module, each with the name that it defines."""
    statements = []
    for node in ast.parse(source).body:
        text = ast.get_source_segment(source, node)
        assert text is not None
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                key = name
            case ast.AsyncFunctionDef(name=name) | ast.Assign(targets=[ast.Name(id=name)]):
                key = name
            case _:
                key = text
        statements.append((key, text))
    return statements


def transcript(console: str) -> Iterator[tuple[str, str]]:
    """Yield each command with what the terminal shows after it."""
    for part in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown


def pattern(shown: str) -> re.Pattern[str]:
    """Return what matches a line of output, whatever its ids and durations."""
    escaped = re.sub(r"[0-9a-f]{32}", "[0-9a-f]{32}", re.escape(shown))
    return re.compile(re.sub(r"\d+\\\.\d+s", r"[\\d.]+s", escaped))


def assert_shows(output: str, shown: str) -> None:
    lines = iter(output.splitlines())
    for line in shown.splitlines():
        assert any(pattern(line).match(actual) for actual in lines), f"{line!r} not in:\n{output}"


@pytest.mark.live
@pytest.mark.once_in_ci
def test_the_tutorial_can_be_followed(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    try:
        for block in blocks(DOCS / "tutorial.md"):
            reader.follow(block)
    finally:
        reader.close()
    assert {"smokehouse/tests.py", TERMINAL, "console"} <= set(reader.seen)


# The how-to guides: what they show in files is one project.

HOW_TO_SETTINGS = """
import django

SECRET_KEY = "docs"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": "db.sqlite3",
        "TEST": {"NAME": "test.sqlite3"},
    },
}
INSTALLED_APPS = [
    "asyncviews", "asyncviews.durable", "django.contrib.auth", "django.contrib.contenttypes",
    "project",
]
TASKS = {"default": {"BACKEND": "asyncviews.tasks.AsyncioBackend", "QUEUES": ["default", "mails"]}}
ROOT_URLCONF = "project.guests"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "OPTIONS": {},
}]
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
"""

HOW_TO_TESTS = '''
"""What the guides say about the code that they show."""

import asyncio
import hmac
import io
import json

from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core import mail
from django.core.cache import cache
from django.core.management import call_command
from django.db.models.signals import post_save
from django.test import (
    AsyncClient, AsyncRequestFactory, LiveServerTestCase, TransactionTestCase, override_settings,
)

from asyncviews import ResourceNotOpen, add_background_task, in_transaction
from asyncviews.asgi import lifespan
from project import (
    api, cooking, mails, meats, orders, people, resources, shopping, signals, views, visits,
)

post_save.disconnect(signals.welcome_new_user, sender=User)
BUTCHER = override_settings(ASYNCVIEWS={"RESOURCES": ["project.resources.butcher"]})


class GuideTests(TransactionTestCase):
    factory = AsyncRequestFactory()

    async def test_a_view_sends_mail_after_the_response(self):
        async with lifespan():
            response = await views.Invite.as_view()(self.factory.post("/"))
        self.assertEqual((response.status_code, len(mail.outbox)), (202, 1))

    async def test_a_signal_sends_mail(self):
        user = await User.objects.acreate_user("jace", "jace@example.com")
        async with lifespan():
            await sync_to_async(signals.welcome_new_user)(instance=user, created=True)
        self.assertEqual(mail.outbox[0].subject, "Welcome")

    async def test_handles(self):
        self.assertEqual(await cooking.dinner(), ["ribs smoked", "brisket smoked"])

    @override_settings(ASYNCVIEWS={"MAX_RUNNING": 1, "MAX_WAITING": 0})
    async def test_work_that_may_be_dropped(self):
        async with lifespan():
            task = add_background_task(cooking.smoke, "ribs")
            response = await visits.Page.as_view()(self.factory.get("/"))
            await task
        self.assertEqual(response.status_code, 200)

    async def test_tasks_of_django_tasks(self):
        async with lifespan():
            response = await orders.Order.as_view()(self.factory.get("/?meat=ribs"))
            order = json.loads(response.content)
            asked = orders.Status.as_view()
            while True:
                response = await asked(self.factory.get("/"), id=order["id"])
                status = json.loads(response.content)
                if status["status"] == "SUCCESSFUL":
                    break
                await asyncio.sleep(0.01)
            unknown = await asked(self.factory.get("/"), id="unknown")
            confirmation = await mails.confirm.aenqueue("a@example.com", token="secret")
        self.assertEqual(status["result"], "ribs smoked")
        self.assertEqual(unknown.status_code, 404)
        await confirmation.arefresh()
        self.assertEqual(confirmation.return_value, "attempt 1: a@example.com")

    async def test_generic_views(self):
        ada = await User.objects.acreate_user("ada", is_staff=True)
        await User.objects.acreate_user("bob")
        request = self.factory.get("/?is_staff=yes")
        request.user = ada
        response = await people.People.as_view()(request)
        await sync_to_async(response.render)()
        self.assertInHTML("<p>ada: </p>", response.text)
        self.assertInHTML("<p>Page 1 of 1, 2 people in all</p>", response.text)
        self.assertNotIn("bob", response.text)

    async def test_a_form_for_oneself(self):
        ada = await User.objects.acreate_user("ada")
        request = self.factory.post("/", {"first_name": "Ada"})
        request.user = ada

        async def auser():
            return ada

        request.auser = auser
        response = await people.Profile.as_view()(request)
        self.assertEqual((response.status_code, response.url), (302, "/people/"))
        await ada.arefresh_from_db()
        self.assertEqual(ada.first_name, "Ada")
        with self.assertRaises(ZeroDivisionError):
            await in_transaction(lambda: User.objects.update(first_name="Bob") / 0)
        await ada.arefresh_from_db()
        self.assertEqual(ada.first_name, "Ada")

    @BUTCHER
    async def test_resources(self):
        self.assertTrue(await shopping.with_one())
        with self.assertLogs("project.resources", "INFO"):
            self.assertTrue(await shopping.with_all())
        with self.assertRaises(ResourceNotOpen):
            await meats.Meats.as_view()(self.factory.get("/"))


@override_settings(ROOT_URLCONF="project.api")
class ApiTests(TransactionTestCase):
    def setUp(self):
        cache.clear()

    async def put(self, pk, name, **headers):
        body = json.dumps({"name": name})
        return await self.async_client.put(
            f"/tables/{pk}/", body, content_type="application/json", headers=headers
        )

    async def test_tables(self):
        client = self.async_client
        new = {"name": "by the window"}
        created = await client.post("/tables/", new, content_type="application/json")
        self.assertEqual(created.status_code, 201)
        table = created.json()
        self.assertEqual(created["Location"], f"/tables/{table['id']}/")
        again = await client.post("/tables/", new, content_type="application/json")
        self.assertEqual((again.status_code, again.json()["title"]), (409, "The name is taken"))
        self.assertEqual((await client.get("/tables/?q=WINDOW")).json(), [table])
        shown = await client.get(created["Location"])
        self.assertEqual((shown["ETag"], shown.json()), ('"0"', table))
        unchanged = await client.get(created["Location"], headers={"if-none-match": '"0"'})
        self.assertEqual(unchanged.status_code, 304)
        changed = await self.put(table["id"], "outside", **{"if-match": '"0"'})
        self.assertEqual(changed.json()["name"], "outside")
        late = await self.put(table["id"], "inside", **{"if-match": '"0"'})
        self.assertEqual(late.status_code, 412)
        self.assertEqual((await client.delete(created["Location"])).status_code, 204)
        gone = await client.get(created["Location"])
        self.assertEqual((gone.status_code, gone.json()["status"]), (404, 404))

    async def test_a_client_that_asks_too_often(self):
        for _ in range(100):
            await self.async_client.get("/tables/")
        response = await self.async_client.get("/tables/")
        self.assertEqual((response.status_code, response["Retry-After"]), (429, "60"))

    async def test_guests_and_a_webhook(self):
        response = await self.async_client.get("/guests/", headers={"last-event-id": "2"})
        self.assertEqual([e async for e in response.streaming_content], [b"id: 3\\ndata: 3\\n\\n"])
        client = AsyncClient(enforce_csrf_checks=True)
        self.assertEqual((await client.post("/webhook/")).status_code, 401)
        token = {"authorization": "Bearer secret"}
        self.assertEqual((await client.post("/webhook/", headers=token)).status_code, 202)

    async def test_a_signed_webhook(self):
        client = AsyncClient(enforce_csrf_checks=True)
        body = b'{"table": 3}'
        signature = hmac.new(b"shared secret", body, "sha256").hexdigest()
        for header, status in [(signature, 200), ("\xe9", 403), ("", 403)]:
            response = await client.post(
                "/payments/", body, content_type="application/json",
                headers={"x-signature": header},
            )
            self.assertEqual(response.status_code, status)

    async def test_each_address_has_a_limit_of_its_own(self):
        # And nobody chooses it with a header.
        class Client(self.async_client_class):
            address = "192.0.2.1"

            def _base_scope(self, **request):
                return super()._base_scope(**request) | {"client": (self.address, 1)}

        one, other = Client(), Client()
        other.address = "192.0.2.2"
        for number in range(101):
            made_up = {"x-forwarded-for": f"198.51.100.{number}"}
            refused = await one.get("/tables/", headers=made_up)
        answered = await other.get("/tables/")
        self.assertEqual((refused.status_code, answered.status_code), (429, 200))


class CommandTests(LiveServerTestCase):
    def test_a_command_awaits_its_tasks(self):
        url = f"{self.live_server_url}/guests/"
        out = io.StringIO()
        call_command("fetch", url, stdout=out)
        self.assertEqual(out.getvalue(), f"{url}: 422\\n")
'''


@pytest.mark.live
@pytest.mark.once_in_ci
def test_the_guides_show_a_project_that_works(tmp_path: Path) -> None:
    for page in sorted((DOCS / "how-to").glob("*.md")):
        for block in blocks(page):
            if block.caption:
                file = tmp_path / block.caption
                file.parent.mkdir(parents=True, exist_ok=True)
                assert not file.exists(), f"{page.name} shows {block.caption} again"
                file.write_text(block.text)
    for directory in ("management/commands", "management", "."):
        (tmp_path / "project" / directory / "__init__.py").touch()
    (tmp_path / "project/settings.py").write_text(HOW_TO_SETTINGS)
    (tmp_path / "project/test_guides.py").write_text(HOW_TO_TESTS)
    test = ["python", "-W", "error", "-m", "django", "test", "--settings", "project.settings"]
    assert_shows(run(test, tmp_path), "Found 22 test(s).\nOK")
    without = ("-pno:schemathesis", "-pno:hypothesispytest")  # they take long to load
    pytest = ["python", "-W", "error", "-m", "pytest", "--ds=project.settings", *without]
    asyncio = ["-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"]
    assert "3 passed" in run([*pytest, *asyncio, "project/test_guests.py"], tmp_path)


# What can be compared or tried right here.


@pytest.fixture
def readme_urls(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Serve the README's example."""
    example = next(block for block in blocks(ROOT / "README.md") if block.language == "python")
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(compile(example.text, "README.md", "exec", dont_inherit=True), namespace)
    module = sys.modules[__name__]
    view = namespace["SmokeSomeMeats"].as_view()
    monkeypatch.setattr(module, "urlpatterns", [path("smoke_some_meats/", view)], raising=False)
    return namespace


@pytest.mark.urls(__name__)
async def test_the_readmes_example_runs(
    readme_urls: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real_sleep = readme_urls["asyncio"].sleep
    monkeypatch.setattr(readme_urls["asyncio"], "sleep", lambda _: real_sleep(0))
    client = AsyncClient()
    async with lifespan():
        response = await client.get("/smoke_some_meats/?to_smoke=ribs,salmon&flavor=Honey")
        assert response.text == "Smoking ribs, salmon...."
    assert capsys.readouterr().out == "Ribs smoked, with 'Honey'.\nSalmon smoked, with 'Honey'.\n"
    assert (await client.get("/smoke_some_meats/?flavor=" + "x" * 61)).status_code == 422


def test_the_settings_reference_has_every_key_and_its_default() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| `(.+?)` \| \S.+ \|$",
        section(DOCS / "reference/settings.md", "# Settings"),
        re.MULTILINE,
    )
    documented = {key: ast.literal_eval(default) for key, default in rows}
    defaults = Settings().model_dump(mode="json")
    assert documented == {name.upper(): default for name, default in defaults.items()}


@pytest.mark.parametrize("name", ["openapi", "runserver", "serve"])
def test_the_commands_reference_has_every_option(name: str) -> None:
    command = load_command_class("asyncviews", name)
    django = DjangoRunserver() if name == "runserver" else BaseCommand()
    parsers = [each.create_parser("manage.py", name) for each in (command, django)]
    own, others = ({o for a in parser._actions for o in a.option_strings} for parser in parsers)
    table = section(DOCS / "reference/commands.md", f"## {name}")
    assert set(re.findall(r"^\| `(--[\w-]+)` \|", table, re.MULTILINE)) == own - others


@pytest.mark.parametrize(
    "module", [asyncviews, asyncviews.generic, asyncviews.testing], ids=lambda m: m.__name__
)
def test_every_public_name_has_a_place_in_the_reference(module: ModuleType) -> None:
    pages = "\n".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
    missing = [name for name in module.__all__ if not re.search(rf"\b{name}\b", pages)]
    assert missing == []


def section(page: Path, heading: str) -> str:
    """Return what stands below a heading, down to the next one of whatever level."""
    _, found, rest = page.read_text().partition(f"{heading}\n")
    assert found
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_python_code_can_be_parsed_and_imports_what_there_is(page: Path) -> None:
    fences = len(re.findall(r"^```", page.read_text(), re.MULTILINE))
    directives = len(re.findall(r"^```\{(?!code-block)", page.read_text(), re.MULTILINE))
    assert fences == 2 * (len(blocks(page)) + directives)
    for block in blocks(page):
        if block.language == "python":
            for node in ast.walk(ast.parse(block.text)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("asyncv"):
                    module = importlib.import_module(node.module or "")
                    assert [a.name for a in node.names if not hasattr(module, a.name)] == []


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, target


def slug(heading: str) -> str:
    """Return the anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize(
    ("query", "status", "answer"),
    [
        ("", 200, {"status": None, "table": None}),
        ("?status=&table=", 200, {"status": None, "table": None}),
        ("?status=paid&table=3", 200, {"status": "paid", "table": 3}),
        ("?status=other", 422, None),
    ],
)
async def test_blank_fields_of_a_form(query: str, status: int, answer: Any) -> None:
    [example] = [b for b in blocks(DOCS / "how-to/api.md") if "BlankIsNone" in b.text]
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(compile(example.text, "api.md", "exec", dont_inherit=True), namespace)
    response = await namespace["Orders"].as_view()(AsyncRequestFactory().get(f"/{query}"))
    assert response.status_code == status
    assert answer is None or json.loads(response.content) == answer


def test_the_logging_reference_has_every_logger() -> None:
    used = {
        name
        for file in Path(asyncviews.__file__).parent.rglob("*.py")
        for name in re.findall(r'getLogger\("(asyncviews\.\w+)"\)', file.read_text())
    }
    intro = section(DOCS / "reference/logging.md", "# Log records").partition("Besides")[0]
    assert len(used) > 5
    assert set(re.findall(r"`(asyncviews\.\w+)`", intro)) == used


def test_the_table_of_other_packages_is_that_of_the_handler():
    page = (DOCS / "explanation" / "handler.md").read_text()
    for middleware, entry in inline_packages.PACKAGES.items():
        row = next(
            (line for line in page.splitlines() if line.startswith(f"| `{middleware}` ")), ""
        )
        assert f"| {entry.package} {', '.join(entry.read)} |" in row
        for hook, rule in entry.rules.items():
            assert (f"`{hook}` unless {rule.unless}" if rule.unless else f"`{hook}`") in row


def test_the_table_of_middleware_is_that_of_the_handler():
    page = (DOCS / "explanation" / "handler.md").read_text()
    for middleware, hooks in inline_rules.RULES.items():
        name = middleware.removeprefix("django.middleware.").removeprefix("django.")
        row = next((line for line in page.splitlines() if line.startswith(f"| `{name}` ")), "")
        for hook, rule in hooks.items():
            assert (f"`{hook}` unless {rule.unless}" if rule.unless else f"`{hook}`") in row
