"""Hypercorn, configured and run: signals, workers, drain.

Hypercorn tells an application of the shutdown only after its last connection has ended, so one
long request takes all the time that background tasks have. Here the application is told at once
and drains by itself, and a process that was asked to stop is gone in time, whatever happens.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import secrets
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from django.core.exceptions import ImproperlyConfigured
from hypercorn.asyncio import serve as serve_with_hypercorn
from hypercorn.typing import Framework
from hypercorn.utils import LifespanTimeoutError

from asyncviews import health
from asyncviews.access_log import COMBINED, AccessLogger
from asyncviews.backlog import refuse
from asyncviews.body_limit import BodyLimit
from asyncviews.checks_settings import load_application
from asyncviews.forwarded import BehindProxies, TrustedProxies
from asyncviews.protocols import Config, Sweeper
from asyncviews.pulse import BEATS, Repeated, beat
from asyncviews.stop import Action, Stop

logger = logging.getLogger("asyncviews.server")

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Signals = Mapping[signal.Signals, Action]

STOP_SIGNALS = [signal.SIGTERM, signal.SIGINT]
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
    STOP_SIGNALS.append(signal.SIGHUP)  # the terminal is gone; nohup has it ignored
RESTART_SIGNAL = getattr(signal, "SIGUSR2", None)  # not on Windows
BACKLOG = 1024  # connections that wait until they are accepted
KEEP_ALIVE_TIMEOUT = 5.0  # seconds after which a connection without a request is closed
STARTUP_TIMEOUT = 60.0  # seconds
REMINDER = 100  # requests after which a worker says again that it has had `max_requests`
JITTER = 10  # one part in so many, by which workers may have more than `max_requests`
HANDSHAKE = 0.05  # seconds that connections have to be there when they were being made
NEWCOMER_GRACE = 0.5  # seconds that the last connections have to bring their first request
CONNECTION_GRACE = 0.5  # seconds that Hypercorn has to close connections once all is drained
CLEANUP_GRACE = 0.6  # seconds after the deadline of a drain for the application to close resources


class ServerError(RuntimeError):
    """The server did not start, or did not stop as it should; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to serve. `application` is a dotted path; timeouts are in seconds, and 0 is for ever.

    `access_log` is a format, `max_requests` 0 without a limit, `max_body` in bytes, and `pid_file` a
    path.
    """

    application: str
    drain_timeout: float
    hang_timeout: float = 0.0
    slow_client_timeout: float = 0.0
    keep_alive_timeout: float = KEEP_ALIVE_TIMEOUT
    workers: int = 1
    max_requests: int = 0
    max_body: int | None = None
    certfile: str | None = None
    keyfile: str | None = None
    access_log: str | None = None
    h2c: bool = False
    proxies: TrustedProxies | None = None
    pid_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What a process that serves does when something happens."""

    ready: Action
    """When the application has started, on the event loop."""
    signals: Signals
    worn: Action = lambda: None
    """When it has been asked `max_requests` times, on the event loop; perhaps repeatedly."""


def run(
    application: Application,
    config: Config,
    stop: Stop,
    *,
    ready: Action = lambda: None,
    signals: Signals | None = None,
) -> None:
    """Serve an application in this thread until `stop` is set, and drain it.

    `signals` says what the main thread does on which signal.

    Raises:
        ServerError: the application did not start, or did not drain in time, or a part of it has
            failed for good.
    """
    with health.lifetime():
        asyncio.run(_serve(Lifespan(application, stop, ready), config, stop, signals or {}))


async def _serve(lifespan: Lifespan, config: Config, stop: Stop, signals: Signals) -> None:
    _handle_signals(signals)
    loop = asyncio.get_running_loop()
    retiring = loop.create_task(_retire(config, stop))
    if timeout := config.slow_client_timeout:
        sweep = Repeated(Sweeper(config, timeout), "The search for slow clients", logger)
        beat(sweep, timeout / BEATS)
    server = loop.create_task(
        serve_with_hypercorn(
            cast("Framework", lifespan), config, shutdown_trigger=lifespan.closing.wait, mode="asgi"
        )
    )
    server.add_done_callback(lambda _: lifespan.server_ended())
    await stop.wait()
    health.retire()  # a probe that comes now is to hear it
    retiring.cancel()
    failed = server.done()
    if lifespan.starting:
        server.cancel()
    else:
        logger.info("Requests and background tasks have %g s to end.", stop.drain_timeout)
    deadline = loop.time() + stop.drain_timeout
    if not (failed or lifespan.starting):
        await _take_the_last(config, min(NEWCOMER_GRACE, stop.drain_timeout))
    lifespan.closing.set()
    with suppress(TimeoutError):
        async with asyncio.timeout_at(deadline + CLEANUP_GRACE):
            await lifespan.drained.wait()
        left = max(deadline - loop.time(), 0.05)
        await asyncio.wait({server}, timeout=min(left, CONNECTION_GRACE))
    drained = lifespan.drained.is_set()
    # Who is cut off now has been named; how the cutting went is of no interest.
    loop.set_exception_handler(lambda _loop, context: logger.debug("%s", context))
    server.cancel()
    await asyncio.gather(server, return_exceptions=True)
    config.close_sockets()
    if failed:
        _check_start(server)
    if not drained:
        stop.report()
        raise ServerError(f"The application did not drain within {stop.drain_timeout:g} s.")
    stop.reported = True
    if failure := lifespan.failure or stop.failure:
        raise ServerError(failure)


async def _retire(config: Config, stop: Stop) -> None:
    """Leave new connections to other processes, once that is asked."""
    await stop.wait_retired()
    # Hypercorn would end the idle connections, too, perhaps while a request is on its way.
    _stop_accepting(config)


def _stop_accepting(config: Config) -> None:
    for fileno in _listeners(config):
        with suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().remove_reader(fileno)


async def _take_the_last(config: Config, timeout: float) -> None:
    """Accept what the kernel has made, and have the new ones bring a request within `timeout` s.

    Hypercorn would reset the former, and close the latter while their requests are on the way.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    if not config.shares_sockets:  # else the parent says when
        for fileno in _listeners(config):
            refuse(fileno)
    await asyncio.sleep(min(HANDSHAKE, timeout))
    _stop_accepting(config)
    await asyncio.sleep(0.01)  # what was accepted last becomes a connection
    while loop.time() < deadline:
        if not any(connection.is_new for connection in config.open_connections):
            return
        await asyncio.sleep(0.01)


def _listeners(config: Config) -> list[int]:
    return [int(bind.removeprefix("fd://")) for bind in config.bind]


def _check_start(server: asyncio.Task[None]) -> None:
    try:
        server.result()
    except LifespanTimeoutError as exc:
        limit = f"{STARTUP_TIMEOUT:g} s"
        raise ServerError(f"The application did not start within {limit}.") from exc


def _handle_signals(signals: Signals) -> None:
    for signum, action in signals.items():
        with suppress(NotImplementedError):  # Windows
            # Wakes the loop; its own callbacks would come too late when it is blocked.
            asyncio.get_running_loop().add_signal_handler(signum, lambda: None)
        signal.signal(signum, partial(_act, action))
    if signals and hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)


def _act(action: Action, _signum: int, _frame: object) -> None:
    action()


def hasten_exit() -> None:
    """Have the interpreter end in 0.02 seconds instead of 0.2: it need not collect garbage."""
    gc.freeze()


class Lifespan:
    """An application that is told of the shutdown as soon as it has the last connections.

    From the stop on its responses tell clients of HTTP/1 not to reuse the connection.
    """

    def __init__(self, application: Application, stop: Stop, ready: Action) -> None:
        self._application = application
        self._stop = stop
        self._ready = ready
        self._received = False
        self._supported = False
        self.starting = True
        self.failure: str | None = None
        self.closing = asyncio.Event()
        """Set when no connection comes any more: the application, and Hypercorn, are to end."""
        self.drained = asyncio.Event()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            return self._live(scope, receive, send)
        if scope.get("http_version", "2") < "2":
            send = partial(self._answer, send)
        return self._application(scope, receive, send)

    async def _answer(self, send: Send, message: Message) -> None:
        """Send a message of HTTP/1; tell the client when its connection ends with the response."""
        leaving = self._stop.retired or self._stop.requested
        if leaving and message["type"] == "http.response.start":
            message = {
                **message,
                "headers": [*message.get("headers", ()), (b"connection", b"close")],
            }
        await send(message)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._application(
                scope, partial(self._receive, receive), partial(self._send, send)
            )
        finally:
            if self.starting and self.failure is None:
                self._started(supported=False)
            elif self._supported and self._stop.requested:
                self.drained.set()
            self._supported = False

    async def _receive(self, receive: Receive) -> Message:
        if not self._received:
            self._received = True
            return await receive()
        await self.closing.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, send: Send, message: Message) -> None:
        _, stage, outcome = message["type"].split(".")
        if outcome == "failed":
            # Not for Hypercorn, which may go on regardless.
            self.failure = f"The application's {stage} failed: {message.get('message', '')}"
            self._stop.set()
        else:
            await send(message)
        if stage == "shutdown":
            self.drained.set()
        elif outcome == "complete":
            self._started(supported=True)

    def _started(self, *, supported: bool) -> None:
        self.starting = False
        self._supported = supported
        self._ready()

    def server_ended(self) -> None:
        """Note that Hypercorn has no connection left, or has failed."""
        self._stop.set()
        if not self._supported:
            self.drained.set()


def listen(address: str) -> socket.socket:
    """Return a socket that listens on a port, host:port, [ipv6]:port or unix:/path.

    Raises:
        ServerError: the address is wrong or cannot be used.
    """
    try:
        if address.startswith("unix:"):
            return _listen_unix(address.removeprefix("unix:"))
        host, _, port = address.rpartition(":")
        if not port.isdecimal() or int(port) > 65535:
            raise ServerError(
                f"{address!r} is not an address to listen on; give a port, host:port, "
                "[ipv6]:port or unix:/path."
            )
        return listen_tcp(host.strip("[]") or "127.0.0.1", int(port), ipv6=":" in host)
    except OSError as exc:
        reason = str(exc.strerror).partition(" (while")[0]  # create_server() adds the address
        raise ServerError(f"Cannot listen on {address}: {reason}.") from exc


def listen_tcp(host: str, port: int, *, ipv6: bool) -> socket.socket:
    """Return a socket that listens there; port 0 is any free one. Raises OSError."""
    return socket.create_server(
        (host, port),
        family=socket.AF_INET6 if ipv6 else socket.AF_INET,
        backlog=BACKLOG,
        dualstack_ipv6=ipv6 and socket.has_dualstack_ipv6(),
    )


def _listen_unix(path: str) -> socket.socket:
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        if Path(path).is_socket() and client.connect_ex(path) == errno.ECONNREFUSED:
            Path(path).unlink()  # its server is gone
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(path)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def url(sock: socket.socket, *, secure: bool) -> str:
    """Return where a listening socket is reached."""
    name = sock.getsockname()
    if isinstance(name, str):
        return f"unix:{name}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"http{'s' if secure else ''}://{host}:{name[1]}"


def check_certificate(certfile: str, keyfile: str) -> None:
    """Raise `ServerError` unless these PEM files are a certificate and its key."""
    try:
        for path in (certfile, keyfile):
            Path(path).read_bytes()  # names the file that is missing; load_cert_chain() does not
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certfile, keyfile)
    except OSError as exc:
        raise ServerError(f"Cannot use the certificate {certfile}: {exc}") from exc


def configure(
    sockets: Sequence[socket.socket], *, certfile: str | None, keyfile: str | None
) -> Config:
    """Return a configuration of Hypercorn, which takes the sockets over."""
    config = Config()
    config.logger_class = AccessLogger
    config.access_log_format = COMBINED
    config.bind = [f"fd://{sock.detach()}" for sock in sockets]
    config.backlog = BACKLOG
    config.keep_alive_timeout = KEEP_ALIVE_TIMEOUT
    config.certfile, config.keyfile = certfile, keyfile
    config.errorlog = logging.getLogger("hypercorn.error")
    config.startup_timeout = STARTUP_TIMEOUT
    # Ours comes first. On Python 3.11 Hypercorn would cancel requests after 3 seconds.
    config.graceful_timeout = config.shutdown_timeout = 3600.0
    return config


def load(path: str) -> Application:
    """Return the ASGI application at a dotted path.

    Raises:
        ServerError: there is none.
        ImportError: its module cannot import something else.
    """
    try:
        return cast("Application", load_application(path))
    except ImproperlyConfigured as exc:
        raise ServerError(str(exc)) from exc


class Counted:
    """An application that says when it has had as many requests as it was to have, and again later."""

    def __init__(self, application: Application, limit: int, worn: Action) -> None:
        self._application = application
        self._left = limit
        self._worn = worn

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "lifespan":
            self._left -= 1
            if self._left <= 0 and self._left % REMINDER == 0:
                self._worn()
        return self._application(scope, receive, send)


def serve_process(
    options: Options, sockets: Sequence[socket.socket], stop: Stop, hooks: Hooks
) -> None:
    stop.enforce()
    config = configure(sockets, certfile=options.certfile, keyfile=options.keyfile)
    if options.access_log is not None:
        config.accesslog, config.access_log_format = "-", options.access_log
    config.cleartext_h2 = options.h2c
    config.keep_alive_timeout = options.keep_alive_timeout
    config.slow_client_timeout = options.slow_client_timeout
    config.shares_sockets = options.workers > 1
    application = load(options.application)
    if options.max_body is not None:
        application = BodyLimit(application, options.max_body)
    if options.proxies:
        application = BehindProxies(application, options.proxies)
    if most := options.max_requests:
        # Workers that have started together are not to end together.
        limit = most + secrets.randbelow(most // JITTER + 1)
        application = Counted(application, limit, hooks.worn)
    run(application, config, stop, ready=hooks.ready, signals=hooks.signals)


def log_to_stderr() -> None:
    """Show what the server has to say where the project's LOGGING leaves it out."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s [%(process)d] %(levelname)s %(message)s"))
    for name, level in {"asyncviews": logging.INFO, "hypercorn": logging.WARNING}.items():
        target = logging.getLogger(name)
        if not target.hasHandlers():
            target.addHandler(handler)
            target.setLevel(level)
