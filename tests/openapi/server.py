"""The project with a document, in a server process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.live.server_process import ServerProcess

COMMAND = ["django", "runserver", "127.0.0.1:0", "--noreload", "--insecure"]
ROOT = Path(__file__).parents[2]


@contextmanager
def serving() -> Iterator[ServerProcess]:
    environment = {"DJANGO_SETTINGS_MODULE": "tests.openapi.settings", "PYTHONPATH": str(ROOT)}
    server = ServerProcess(COMMAND, cwd=ROOT, environment=environment)
    try:
        assert server.url
        yield server
    finally:
        server.close()
