"""What the guide shows of nginx and systemd, as it stands there."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import missing
from tests.live.conftest import StartServer
from tests.live.server_process import LIVE, PATIENCE, free_port, is_running, until
from tests.live.test_restart import Crowd, workers
from tests.test_docs import DOCS, blocks

pytestmark = [pytest.mark.live, pytest.mark.once_in_ci, pytest.mark.timeout(120)]

NGINX = """
daemon off;
{user}
pid {home}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    gzip on;
    gzip_types text/event-stream;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    scgi_temp_path {home}/scgi;
    uwsgi_temp_path {home}/uwsgi;
    {site}
}}
"""

StartNginx = Callable[..., str]


def shown(language: str) -> str:
    """Return the block of the guide in this language."""
    return next(b.text for b in blocks(DOCS / "how-to/serve.md") if b.language == language)


@pytest.fixture
def start_nginx(tmp_path: Path) -> Iterator[StartNginx]:
    """Start nginx as the guide has it, before a Unix socket, with TLS if asked; return its URL."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        missing("no nginx")
    started: list[subprocess.Popen[bytes]] = []

    def start(path: Path, certificate: Path | None = None) -> str:
        port = free_port()
        tls = f"ssl; ssl_certificate {certificate}; ssl_certificate_key {certificate};"
        places = {
            "/run/site/http.sock": str(path),
            "/srv/site/static/": f"{LIVE}/project/static/",
            "listen 80;": f"listen 127.0.0.1:{port} {tls if certificate else ';'}",
        }
        site = shown("nginx")
        for place, here in places.items():
            assert place in site
            site = site.replace(place, here)
        me = f"user {pwd.getpwuid(os.geteuid()).pw_name} {grp.getgrgid(os.getegid()).gr_name};"
        user = me if os.geteuid() == 0 else ""
        config = tmp_path / "nginx.conf"
        config.write_text(NGINX.format(home=tmp_path, user=user, site=site))
        started.append(subprocess.Popen([nginx, "-c", str(config), "-p", str(tmp_path)]))
        url = f"http{'s' if certificate else ''}://127.0.0.1:{port}"
        until(lambda: listens(port))
        return url

    yield start
    for process in started:
        process.terminate()
        process.wait(PATIENCE)


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_behind_nginx_events_arrive_when_they_are_sent(
    start_server: StartServer, start_nginx: StartNginx, tmp_path: Path
) -> None:
    server = start_server("django", "serve", f"unix:{tmp_path}/http.sock")
    server.wait_for_output("Serving ")
    url = start_nginx(tmp_path / "http.sock")
    with httpx.stream("GET", f"{url}/twice/", timeout=PATIENCE) as response:
        lines = response.iter_lines()
        assert [next(lines) for _ in range(3)] == ["data: once", "", "data: twice"]
    assert httpx.get(f"{url}/static/hello.txt").status_code == 200
    assert int(httpx.get(url).text) == server.process.pid
    assert server.stop()[0] == 0


@pytest.mark.parametrize("secure", [False, True])
def test_behind_nginx_the_site_knows_who_asks_and_how(
    start_server: StartServer,
    start_nginx: StartNginx,
    tmp_path: Path,
    certificate: Path,
    secure: bool,
) -> None:
    """As the unit of systemd says it, and whatever the client makes up."""
    exec_start = re.findall(r"^ExecStart=.* serve (.*)$", shown("ini"), re.MULTILINE)[0]
    options = exec_start.replace("/run/site", str(tmp_path)).split()
    server = start_server("django", "serve", *options, "--access-log")
    server.wait_for_output("Serving ")
    url = start_nginx(tmp_path / "http.sock", certificate if secure else None)
    made_up = {
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Proto": "http" if secure else "https",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Port": "1",
        "Forwarded": "for=6.6.6.6;proto=https;host=evil.example",
    }
    context = ssl.create_default_context(cafile=str(certificate))
    answer = httpx.get(f"{url}/whoami/", headers=made_up, verify=context).json()
    scheme, port = ("https", "443") if secure else ("http", "80")
    assert answer == {"address": "127.0.0.1", "url": f"{scheme}://127.0.0.1/", "port": port}
    assert server.stop()[0] == 0
    assert re.search(r'(?m)^127\.0\.0\.1 - - .* "GET /whoami/ ', server.output)


def test_behind_nginx_a_restart_fails_no_request(
    start_server: StartServer, start_nginx: StartNginx, tmp_path: Path
) -> None:
    address = f"unix:{tmp_path}/http.sock"
    server = start_server("django", "serve", address, "--workers", "2", drain_timeout="20")
    server.wait_for_output("Serving ")
    crowd = Crowd(start_nginx(tmp_path / "http.sock"))
    with crowd.here():
        until(lambda: len(crowd.answers) > 100, server)
        old = workers(server)
        server.send(signal.SIGUSR2)
        server.wait_for_output("All workers have been restarted")
        until(lambda: not any(is_running(pid) for pid in old), server, seconds=60)
    assert crowd.wrong == []
    assert server.stop()[0] == 0


def test_systemd_knows_all_that_the_unit_says(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        missing("no systemd-analyze")
    text = shown("ini").replace("/srv/site/.venv/bin/python", sys.executable)
    assert re.search(
        rf"^ExecStart={re.escape(sys.executable)} manage\.py serve ", text, re.MULTILINE
    )
    assert int(re.findall(r"TimeoutStopSec=(\d+)", text)[0]) > 30
    unit = tmp_path / "asyncviews-site.service"
    unit.write_text(text)
    verified = subprocess.run(
        ["systemd-analyze", "verify", str(unit)],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert [line for line in verified.stdout.splitlines() if unit.name in line] == []
    assert verified.returncode == 0, verified.stdout
