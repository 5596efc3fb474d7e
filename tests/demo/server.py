"""The demo in a server process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.live.server_process import ServerProcess, until

PROJECT = Path(__file__).parents[2]
HYPERCORN = ["hypercorn", "demo_site.asgi:application", "--bind", "127.0.0.1:0"]
RUNSERVER = ["demo_site", "runserver", "127.0.0.1:0"]
SERVE = ["demo_site", "serve", "127.0.0.1:0"]


class DemoServer(ServerProcess):
    """The demo, whose terminal tells of each step of its work."""

    def __init__(self, var: Path, command: list[str], **variables: str) -> None:
        settings = {"DJANGO_SETTINGS_MODULE": "demo_site.settings", "DEMO_VAR": str(var)}
        super().__init__(command, cwd=PROJECT, environment=settings | variables)

    def wait_for(self, pattern: str, *, after: int = 0) -> re.Match[str]:
        """Wait until the terminal shows a line with `pattern`, leaving out the first `after`."""

        def search() -> re.Match[str] | None:
            found = (re.search(pattern, line) for line in self.lines[after:])
            return next(filter(None, found), None)

        match = until(search, self)
        assert match
        return match

    def steps(self, *, after: int = 0) -> list[str]:
        """What the demo's work has logged."""
        logged = (line.partition(" demo_site.tasks: ") for line in self.lines[after:])
        return [message for _, separator, message in logged if separator]


@cache
def migrated() -> bytes:
    """The demo's database, as `python -m demo_site migrate` leaves it."""
    with tempfile.TemporaryDirectory() as directory:
        manage(Path(directory), "migrate", "--verbosity", "0")
        return (Path(directory) / "db.sqlite3").read_bytes()


def manage(var: Path, *command: str, **variables: str) -> None:
    """Run a command of the demo's manage.py."""
    settings = {"DJANGO_SETTINGS_MODULE": "demo_site.settings", "DEMO_VAR": str(var)}
    subprocess.run(
        [sys.executable, "-m", "demo_site", *command],
        cwd=PROJECT,
        env={**os.environ, **settings, **variables},
        check=True,
        capture_output=True,
    )


def add_user(var: Path, name: str, *, staff: bool) -> None:
    """Add a user whose password is "smoke"; staff may do everything."""
    if staff:
        names = ("--username", name, "--email", f"{name}@example.com")
        manage(var, "createsuperuser", "--noinput", *names, DJANGO_SUPERUSER_PASSWORD="smoke")
        return
    add = "from django.contrib.auth.models import User; User.objects.create_user"
    manage(var, "shell", "--command", f"{add}({name!r}, password='smoke')")


@contextmanager
def serving(var: Path, command: list[str] = SERVE, **variables: str) -> Iterator[DemoServer]:
    """Serve the demo, with a migrated database if there is none yet."""
    database = var / "db.sqlite3"
    if not database.exists():
        database.write_bytes(migrated())
    server = DemoServer(var, command, **variables)
    try:
        assert server.url
        yield server
    finally:
        server.close()
