from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.live.server_process import LIVE, ProjectServer

StartServer = Callable[..., ProjectServer]


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Start a server process with `python -m <command>`; it is gone after the test."""
    servers: list[ProjectServer] = []

    def start(*command: str, home: Path = LIVE, **settings: str) -> ProjectServer:
        journal = tmp_path / f"journal-{len(servers)}"
        servers.append(ProjectServer(*command, journal=journal, home=home, **settings))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 and its key, in one file."""
    if not shutil.which("openssl"):
        missing("no openssl to make a certificate with")
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    subject = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    new = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject)
    subprocess.run(
        ["openssl", *new, "-keyout", str(path), "-out", f"{path}.crt"],
        check=True,
        capture_output=True,
    )
    with path.open("a") as file:
        file.write(Path(f"{path}.crt").read_text())
    return path
