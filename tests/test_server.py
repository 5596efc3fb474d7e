"""The server with small ASGI applications, in a thread; tests/live has it in processes."""

from __future__ import annotations

import asyncio
import io
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import httpx
import pytest
from django.core.management import CommandError, call_command
from hypercorn.config import Sockets

from asyncviews import health, server, stop
from asyncviews.body_limit import BodyLimit
from asyncviews.management.commands.runserver import RequestLogger
from asyncviews.protocols import Config
from asyncviews.server import Application, Counted, Receive, Scope, Send, ServerError
from asyncviews.stop import TOLD, Stop
from tests.conftest import http_scope
from tests.http2 import Client


class Site:
    """A small application, and what it was told."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.request_open = threading.Event()
        self.release = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.live(receive, send)
        elif scope["path"] == "/wait":
            self.request_open.set()
            await self.release.wait()
            await self.answer(send, b"released")
        else:
            await self.answer(send, b"hello")

    async def live(self, receive: Receive, send: Send) -> None:
        for stage in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{stage}"
            self.events.append(stage)
            await getattr(self, stage)(send)

    async def startup(self, send: Send) -> None:
        await send({"type": "lifespan.startup.complete"})

    async def shutdown(self, send: Send) -> None:
        await send({"type": "lifespan.shutdown.complete"})

    async def answer(self, send: Send, body: bytes) -> None:
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Running:
    """An application that is being served in a thread."""

    def __init__(
        self, application: Application, drain_timeout: float, *, h2c: bool, shared: bool
    ) -> None:
        listener = server.listen("127.0.0.1:0")
        self.listener = listener.dup() if shared else None
        self.url = server.url(listener, secure=False)
        self.stop = Stop(drain_timeout)
        self.ready = threading.Event()
        self.error: Exception | None = None
        config = server.configure([listener], certfile=None, keyfile=None)
        config.cleartext_h2, config.shares_sockets = h2c, shared
        self._thread = threading.Thread(target=self._run, args=(application, config))
        self._thread.start()

    def _run(self, *what: Any) -> None:
        try:
            server.run(*what, self.stop, ready=self.ready.set)
        except Exception as exc:  # noqa: BLE001 - for the test to judge
            self.error = exc

    def get(self, path: str = "/") -> str:
        return httpx.get(f"{self.url}{path}").raise_for_status().text

    def wait(self) -> Exception | None:
        """Wait for the end; return the error."""
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self.error


Serve = Callable[..., Running]


@pytest.fixture
def serve() -> Iterator[Serve]:
    running: list[Running] = []

    def start(
        application: Application,
        *,
        drain_timeout: float = 5,
        h2c: bool = False,
        shared: bool = False,
    ) -> Running:
        running.append(Running(application, drain_timeout, h2c=h2c, shared=shared))
        return running[-1]

    yield start
    for one in running:
        one.stop.set()
        one.wait()


@pytest.fixture
def unfinished(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each time that unfinished tasks were logged."""
    calls: list[str] = []
    monkeypatch.setattr(stop, "log_unfinished", lambda: calls.append("logged"))
    return calls


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that knows no lifespan."""
    if scope["type"] == "lifespan":
        raise ValueError("http only")
    await Site()(scope, receive, send)


def test_an_application_is_served_and_stopped(serve: Serve, unfinished: list[str]) -> None:
    site = Site()
    running = serve(site)
    assert running.ready.wait(5)
    assert running.get() == "hello"
    assert site.events == ["startup"]
    running.stop.set()
    assert running.wait() is None
    assert site.events == ["startup", "shutdown"]
    assert unfinished == []


def test_the_shutdown_is_told_while_a_request_is_open(serve: Serve) -> None:
    """Which is answered, for the application waits for it."""

    class Patient(Site):
        async def shutdown(self, send: Send) -> None:
            self.release.set()
            await super().shutdown(send)

    site = Patient()
    running = serve(site, drain_timeout=30)
    answers: list[str] = []
    client = threading.Thread(target=lambda: answers.append(running.get("/wait")))
    client.start()
    assert site.request_open.wait(5)
    running.stop.set()
    assert running.wait() is None
    client.join(5)
    assert answers == ["released"]


def test_a_new_connection_may_still_bring_its_request(serve: Serve) -> None:
    """And is answered before the application is told of the shutdown."""
    site = Site()
    running = serve(site)
    assert running.ready.wait(5)
    with connect(running) as client:
        running.stop.set()
        time.sleep(0.1)
        client.sendall(b"GET / HTTP/1.1\r\nHost: testserver\r\n\r\n")
        answer = client.makefile("rb").read().lower()
    assert answer.startswith(b"http/1.1 200")
    assert b"connection: close" in answer
    assert running.wait() is None


def test_a_probe_hears_of_the_drain_at_once(serve: Serve) -> None:
    """Before the application does, which is told when the last connections are there."""

    class Probed(Site):
        async def startup(self, send: Send) -> None:
            health.started()
            await super().startup(send)

        async def answer(self, send: Send, body: bytes) -> None:
            await super().answer(send, str(health.is_ready()).encode())

    running = serve(Probed())
    assert running.ready.wait(5)
    assert running.get() == "True"
    with connect(running) as client:
        running.stop.set()
        while health.is_ready():
            time.sleep(0.001)
        client.sendall(b"GET / HTTP/1.1\r\nHost: testserver\r\n\r\n")
        assert client.makefile("rb").read().endswith(b"False")
    assert running.wait() is None


async def test_requests_are_counted_and_nothing_else() -> None:
    """Who is not heard is told again."""
    site, told = Site(), []

    async def ignore(message: Any) -> None:
        pass

    counted = Counted(site, 3, lambda: told.append(len(told)))
    startup = Counted(site, 1, lambda: told.append(-1))

    async def receive() -> Any:
        return {"type": f"lifespan.{'shutdown' if site.events else 'startup'}"}

    await startup({"type": "lifespan"}, receive, ignore)
    for count in range(1, 204):
        await counted(http_scope("/"), receive, ignore)
        assert len(told) == (0 if count < 3 else 1 + (count - 3) // 100)


def test_one_that_brings_none_is_not_waited_for(serve: Serve) -> None:
    running = serve(Site(), drain_timeout=60)
    assert running.ready.wait(5)
    with connect(running) as client:
        running.stop.set()
        assert client.recv(100) == b""
    assert running.wait() is None


def test_a_shared_socket_goes_on_for_the_others(serve: Serve) -> None:
    running = serve(Site(), shared=True)
    assert running.ready.wait(5)
    assert running.get() == "hello"
    running.stop.set()
    assert running.wait() is None
    assert running.listener is not None
    with running.listener as listener, connect(running):
        listener.settimeout(5)
        listener.accept()[0].close()


def connect(running: Running) -> socket.socket:
    url = httpx.URL(running.url)
    return socket.create_connection((url.host, url.port or 0), timeout=10)


def test_a_request_that_outlives_the_drain_is_cut(serve: Serve) -> None:
    site = Site()
    running = serve(site)
    with socket.create_connection(("127.0.0.1", httpx.URL(running.url).port or 0)) as client:
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: here\r\n\r\n")
        assert site.request_open.wait(5)
        running.stop.set()
        assert running.wait() is None
        assert client.recv(100).startswith(b"HTTP/1.1 500")


def test_a_body_that_comes_after_the_response_is_not_wanted(serve: Serve) -> None:
    """RFC 9113, section 8.1, has a code for that. Other requests go on."""
    running = serve(Site(), h2c=True)
    address = ("127.0.0.1", httpx.URL(running.url).port or 0)
    with Client(socket.create_connection(address, 5)) as client:
        number = client.ask("/", "POST", end=False)
        answer = client.answers[number]
        client.wait(lambda: answer.ended)
        for _ in range(3):
            client.h2.send_data(number, b"x" * 10_000)
        client.flush()
        client.wait(lambda: answer.reset is not None)
        assert answer.reset == 0
        assert client.get("/").body == b"hello"


def test_a_body_of_http2_that_is_too_long_is_refused(serve: Serve) -> None:
    """Other requests go on."""

    class Reader(Site):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            while scope["type"] == "http" and (await receive()).get("more_body"):
                pass
            await super().__call__(scope, receive, send)

    running = serve(BodyLimit(Reader(), 10), h2c=True)
    address = ("127.0.0.1", httpx.URL(running.url).port or 0)
    with Client(socket.create_connection(address, 5)) as client:
        number = client.ask("/", "POST", end=False)
        client.h2.send_data(number, b"x" * 11)
        client.flush()
        answer = client.answers[number]
        client.wait(lambda: answer.ended)
        assert (answer.status, answer.body[:8]) == ("413", b"The body")
        assert client.get("/").body == b"hello"


def test_a_failing_startup_carries_the_reason(serve: Serve) -> None:
    class Failing(Site):
        async def startup(self, send: Send) -> None:
            await send({"type": "lifespan.startup.failed", "message": "no oven"})
            await asyncio.sleep(0.1)  # as an application does that cleans up
            self.events.append("cleaned up")
            raise asyncio.CancelledError

    site = Failing()
    running = serve(site)
    error = running.wait()
    assert isinstance(error, ServerError)
    assert str(error) == "The application's startup failed: no oven"
    assert not running.ready.is_set()
    with pytest.raises(httpx.ConnectError):
        running.get()


def test_a_failing_shutdown_carries_the_reason(serve: Serve) -> None:
    class Failing(Site):
        async def shutdown(self, send: Send) -> None:
            await send({"type": "lifespan.shutdown.failed", "message": "hot oven"})

    running = serve(Failing())
    assert running.ready.wait(5)
    running.stop.set()
    error = running.wait()
    assert isinstance(error, ServerError)
    assert str(error) == "The application's shutdown failed: hot oven"


def test_a_stop_during_startup_cancels_it(serve: Serve) -> None:
    class Slow(Site):
        async def startup(self, send: Send) -> None:
            try:
                await asyncio.sleep(60)
            finally:
                self.events.append("cancelled")

    site = Slow()
    running = serve(site)
    while not site.events:
        assert not running.ready.wait(0.005)
    running.stop.set()
    assert running.wait() is None
    assert site.events == ["startup", "cancelled"]


def test_a_startup_that_takes_too_long_fails(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Site):
        async def startup(self, send: Send) -> None:
            await asyncio.sleep(60)

    monkeypatch.setattr(server, "STARTUP_TIMEOUT", 0.1)
    running = serve(Slow())
    error = running.wait()
    assert isinstance(error, ServerError)
    assert str(error) == "The application did not start within 0.1 s."
    with pytest.raises(httpx.ConnectError):
        running.get()


def test_a_drain_that_takes_too_long_is_an_error(serve: Serve, unfinished: list[str]) -> None:
    """Unfinished tasks are logged, and the application's cleanup still runs."""

    class Slow(Site):
        async def shutdown(self, send: Send) -> None:
            try:
                await asyncio.sleep(60)
            finally:
                self.events.append("cancelled")

    site = Slow()
    running = serve(site, drain_timeout=0.1)
    assert running.ready.wait(5)
    running.stop.set()
    error = running.wait()
    assert isinstance(error, ServerError)
    assert str(error) == "The application did not drain within 0.1 s."
    assert unfinished == ["logged"]
    assert site.events == ["startup", "shutdown", "cancelled"]


def test_an_application_without_lifespan_is_served(serve: Serve) -> None:
    running = serve(bare)
    assert running.ready.wait(5)
    assert running.get() == "hello"
    running.stop.set()
    assert running.wait() is None


def test_an_application_whose_lifespan_breaks_goes_on(serve: Serve) -> None:
    class Breaking(Site):
        async def startup(self, send: Send) -> None:
            await super().startup(send)
            raise ValueError("broken")

    running = serve(Breaking())
    assert running.ready.wait(5)
    assert running.get() == "hello"
    running.stop.set()
    assert running.wait() is None


def test_an_application_that_stays_after_its_shutdown_is_left(serve: Serve) -> None:
    class Staying(Site):
        async def shutdown(self, send: Send) -> None:
            await super().shutdown(send)
            await asyncio.sleep(60)

    running = serve(Staying(), drain_timeout=30)
    assert running.ready.wait(5)
    running.stop.set()
    assert running.wait() is None


def test_hypercorns_own_failure_ends_the_application_first() -> None:
    """It takes the sockets after the startup; its error is raised when all is closed."""

    class Failing(Config):
        def create_sockets(self) -> Sockets:
            raise OSError("no socket")

    site = Site()
    with pytest.raises(OSError, match="no socket"):
        server.run(site, Failing(), Stop(5))
    assert site.events == ["startup", "shutdown"]


async def test_a_stop_is_seen_whenever_it_comes() -> None:
    """Before the wait, during it from another thread, and again without effect."""
    early, late = Stop(1), Stop(1)
    early.set()
    await asyncio.wait_for(early.wait(), 1)
    waiting = asyncio.create_task(late.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    thread = threading.Thread(target=late.set)
    thread.start()
    await asyncio.wait_for(waiting, 1)
    thread.join()
    late.set()


@pytest.mark.parametrize(
    ("cause", "given_back"), [(TOLD, ["given back"]), ("its event loop has been held.", [])]
)
def test_who_is_told_to_end_gives_back_and_who_is_forced_does_not(
    cause: str, given_back: list[str], unfinished: list[str]
) -> None:
    """What holds the event loop counts as interrupted, lest it holds the next one, too."""
    done: list[str] = []
    causes: SimpleQueue[str] = SimpleQueue()
    causes.put(cause)
    with health.on_hurry(lambda: done.append("given back")):
        Stop(1)._report_end(causes)
    assert (done, unfinished) == (given_back, ["logged"])


def test_a_stop_after_the_loop_has_ended_is_harmless() -> None:
    stop = Stop(1)

    async def begin_to_wait() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.001)

    asyncio.run(begin_to_wait())
    stop.set()
    assert stop.requested


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("0", "http://127.0.0.1:"),
        (":0", "http://127.0.0.1:"),
        ("localhost:0", "http://127.0.0.1:"),
        ("[::1]:0", "http://[::1]:"),
    ],
)
def test_addresses(address: str, url: str) -> None:
    with server.listen(address) as listener:
        assert server.url(listener, secure=False).startswith(url)
        assert listener.getsockname()[1] > 0


@pytest.mark.parametrize("address", ["", "here", "127.0.0.1", "here:port", "1:-1", "h:65536"])
def test_wrong_addresses(address: str) -> None:
    with pytest.raises(ServerError, match="is not an address to listen on; give a port"):
        server.listen(address)


def test_a_file_is_not_taken_for_a_forgotten_socket(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ServerError, match=r"Cannot listen on unix:.*: Address already in use"):
        server.listen(f"unix:{path}")
    assert path.read_text() == "data"


def test_an_application_that_is_not_there() -> None:
    with pytest.raises(ServerError, match=r"settings\.ASGI_APPLICATION: No module named 'nosuch'"):
        server.load("nosuch.asgi.application")
    with pytest.raises(ServerError, match='does not define a "nosuch" attribute'):
        server.load("asyncviews.asgi.nosuch")
    assert server.load("asyncviews.asgi.ASGIHandler").__name__ == "ASGIHandler"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("127.0.0.1:99999",), "'127.0.0.1:99999' is not an address to listen on; give a port"),
        (("192.0.2.1:0",), "Cannot listen on 192.0.2.1:0: Cannot assign requested address."),
        (("unix:/nowhere/socket",), "Cannot listen on unix:/nowhere/socket: No such file"),
        (("--workers", "0"), "--workers must be at least 1, not 0."),
        (("--workers", "many"), "argument --workers: invalid int value: 'many'"),
        (("--certfile", "no.pem"), "Cannot use the certificate no.pem: [Errno 2] No such file"),
        (("--certfile", __file__), f"Cannot use the certificate {__file__}: [SSL]"),
        (("--keyfile", "no.pem"), "--keyfile needs --certfile."),
        (("--trusted-proxy", "nginx"), "forwarded-headers: 'nginx' is no IP address or network"),
        (("--trusted-proxy", "10.0.0.1/8"), "its address has more bits than the network"),
        (("--forwarded-headers", "forwarded"), "--forwarded-headers needs --trusted-proxy."),
        (
            ("--trusted-proxy", "unix", "--forwarded-headers", "x-real-ip"),
            "'x-real-ip' is no header of proxies; there are x-forwarded-for,",
        ),
        (("--access-log-format", "clf"), "--access-log-format: 'clf' is none of combined, common"),
        (("--access-log-format", ""), "--access-log-format: '' is none of combined, common"),
        (("--keep-alive", "0"), "--keep-alive must be a number of seconds above 0, not 0."),
        (("--keep-alive", "nan"), "--keep-alive must be a number of seconds above 0, not nan."),
        (("--max-body", "-1"), "--max-body must be a number of bytes, not -1."),
        (("--max-requests", "0", "--workers", "2"), "--max-requests must be at least 1, not 0."),
        (("--max-requests", "9"), "--max-requests needs --workers 2 or more, of which one is"),
        (("0", "--pid-file", "/nowhere/pid"), "Cannot write the process id file /nowhere/pid: No"),
        (("0", "--pid-file", __file__), f"{__file__} is no process id file, and is left as it is"),
    ],
)
def test_bad_input_of_serve_is_a_command_error(
    settings: Any, options: tuple[str, ...], message: str
) -> None:
    settings.ASGI_APPLICATION = "project.asgi.application"
    with pytest.raises(CommandError) as caught:
        call_command("serve", *options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_header_that_is_believed_whoever_sends_it_is_warned_of(settings: Any) -> None:
    settings.ASGI_APPLICATION = "project.asgi.application"
    for header, trusted in ((None, True), (("HTTP_X_FORWARDED_PROTO", "https"), False)):
        settings.SECURE_PROXY_SSL_HEADER = header
        options = ["--trusted-proxy", "unix"] if trusted else []
        assert warnings_of_serve(*options) == ""
    found = warnings_of_serve("--trusted-proxy", "unix")
    assert "SECURE_PROXY_SSL_HEADER believes its header whoever sends it" in found


def warnings_of_serve(*options: str) -> str:
    """Return what the command warns of before it comes to listen."""
    errors = io.StringIO()
    with pytest.raises(CommandError, match="Cannot listen"):
        call_command("serve", "192.0.2.1:0", *options, stderr=errors)
    return errors.getvalue()


def test_serve_without_an_application_says_what_to_set() -> None:
    with pytest.raises(CommandError, match=r"ASGI_APPLICATION is not set.*asgi\.application"):
        call_command("serve", "0")


def test_hypercorn_is_loaded_only_to_serve() -> None:
    code = "import asyncviews, asyncviews.asgi, sys; sys.exit('hypercorn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("status", "level"), [(200, "INFO"), (304, "INFO"), (404, "WARNING"), (500, "ERROR")]
)
async def test_requests_are_logged_as_django_does(
    caplog: pytest.LogCaptureFixture, status: int, level: str
) -> None:
    scope = {"method": "GET", "raw_path": b"/a\x1b", "query_string": b"b=c", "http_version": "2"}
    headers = [(b"Content-Length", b"12")]  # as Django writes it
    log = RequestLogger(server.configure([], certfile=None, keyfile=None))
    with caplog.at_level(logging.INFO, "django.server"):
        await log.access(scope, {"status": status, "headers": headers}, 0.1)
        await log.access(scope, None, 0.1)
    first, second = caplog.records
    assert first.getMessage() == f'"GET /a\\x1b?b=c HTTP/2" {status} 12'
    assert (first.levelname, first.status_code) == (level, status)
    assert second.getMessage() == '"GET /a\\x1b?b=c HTTP/2" connection closed'
