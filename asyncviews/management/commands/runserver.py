"""The development server: ``manage.py runserver``, on Hypercorn.

This is Django's command with its options, checks, messages and autoreloader; only what listens
and answers is another. Before a reload and after Ctrl-C the application's lifespan ends as it
does in production, so resources are closed and background tasks that are lost are named.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from argparse import ArgumentParser
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.utils import autoreload
from django.utils.module_loading import import_string
from hypercorn.logging import Logger

from asyncviews import server
from asyncviews.asgi import StartupFailed, get_asgi_application
from asyncviews.conf import SETTING, get_settings
from asyncviews.startup import RetriedStartup
from asyncviews.stop import Stop
from asyncviews.text import quotable

with_static = apps.is_installed("django.contrib.staticfiles")
DjangoCommand = import_string(
    f"django.{'contrib.staticfiles' if with_static else 'core'}.management.commands.runserver.Command"
)
django_server = logging.getLogger("django.server")
logger = logging.getLogger("asyncviews.server")

DRAIN_TIMEOUT = 2.0  # seconds; who saves a file does not want to wait for longer
RELOAD = 3  # the exit code with which Django's autoreloader asks for a new process
PARENT_ENV = "ASYNCVIEWS_RUNSERVER_PARENT"  # a file that ends when the autoreloader's parent does


class Command(DjangoCommand):  # type: ignore[misc, valid-type]
    help = "Starts a development server on Hypercorn, which reloads when the code changes."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--certfile", help="A TLS certificate (PEM). HTTP/2 comes with it.")
        parser.add_argument("--keyfile", help="The key of the certificate, if in another file.")

    def run(self, **options: Any) -> None:
        """Serve, and whatever ends that (a reload, a signal), stop what was started."""
        if options["use_reloader"] and os.environ.get(autoreload.DJANGO_AUTORELOAD_ENV) != "true":
            sys.exit(_run_reloading())
        if parent := os.environ.pop(PARENT_ENV, None):
            os.set_inheritable(int(parent), False)
            threading.Thread(target=_end_with, args=(int(parent),), daemon=True).start()
        self.stop = Stop(DRAIN_TIMEOUT, exit_code=0)
        self.ending = False
        if options["use_reloader"]:
            autoreload.autoreload_started.connect(self._handle_signals)
        else:
            self.stop.enforce()
        self.idle = threading.Event()
        self.idle.set()
        try:
            super().run(**options)
        except SystemExit as exc:
            self.stop.exit_code = exc.code if isinstance(exc.code, int) else bool(exc.code)
            raise
        finally:
            self.ending = True
            self.stop.set()
            if options["use_reloader"]:
                self.stop.enforce()  # not sooner: a server that fails waits for its correction
            self.idle.wait()
            server.hasten_exit()

    def _handle_signals(self, **_: object) -> None:
        """Have the first signal, and no other, interrupt the autoreloader in the main thread."""

        def handle(signum: int, _frame: object) -> None:
            if not self.ending:
                self.ending = True
                sys.exit(0)
            if signum == signal.SIGINT:
                self.stop.hurry()

        for signum in server.STOP_SIGNALS:
            signal.signal(signum, handle)

    def inner_run(self, *args: Any, **options: Any) -> None:
        self.certfile, self.keyfile = options["certfile"], options["keyfile"] or options["certfile"]
        self.protocol = "https" if self.certfile else "http"
        self.server_cls = partial(HypercornServer, self)
        options["use_threading"] = False  # for which Django would make a subclass of server_cls
        try:
            _shorten_drain()
            if self.certfile:
                server.check_certificate(self.certfile, self.keyfile)
            super().inner_run(*args, **options)
        except server.ServerError as exc:
            if not options["use_reloader"]:
                raise CommandError(exc) from exc
            self.stderr.write(f"Error: {exc}")  # and the autoreloader waits for the remedy

    def get_handler(self, *args: Any, **options: Any) -> Any:
        """Return the project's ASGI application, with static files in front if they are wanted."""
        path = getattr(settings, "ASGI_APPLICATION", None)
        application: Any = server.load(path) if path else get_asgi_application()
        if options.get("use_static_handler") and (settings.DEBUG or options["insecure_serving"]):
            from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

            application = ASGIStaticFilesHandler(application)
        if options["use_reloader"]:
            return RetriedStartup(application, self._report_failure)
        return application

    def _report_failure(self, exc: BaseException) -> None:
        if not isinstance(exc, StartupFailed):  # which has been logged
            self.stderr.write(f"Error: The application's startup failed: {exc!r}")
        self.stderr.write("The next request tries to start the application again.")

    def on_bind(self, server_port: int) -> None:
        """Print Django's message, with the name of the server that it is."""
        address = f"[{self.addr}]" if self._raw_ipv6 else self.addr
        if address == "0":
            address = "0.0.0.0"  # noqa: S104 - what Django makes of it
        self.stdout.write(
            f"{datetime.now():%B %d, %Y - %X}\n"
            f"Django version {self.get_version()}, using settings {settings.SETTINGS_MODULE!r}\n"
            f"Starting ASGI/Hypercorn development server at "
            f"{self.protocol}://{address}:{server_port}/\n"
            f"Quit the server with {'CTRL-BREAK' if sys.platform == 'win32' else 'CONTROL-C'}."
        )
        if os.environ.get("DJANGO_RUNSERVER_HIDE_WARNING") != "true":
            self.stdout.write(
                self.style.WARNING(
                    "WARNING: This is a development server. Do not use it in a production "
                    "setting; `manage.py serve` is the server for that."
                )
            )
        self.stdout.flush()


class HypercornServer:
    """What Django starts in place of its `WSGIServer`."""

    def __init__(
        self, command: Command, address: tuple[str, int], _handler_class: type, *, ipv6: bool
    ) -> None:
        self._stop, self._idle = command.stop, command.idle
        listener = server.listen_tcp(*address, ipv6=ipv6)
        self.server_port = listener.getsockname()[1]
        self._config = server.configure(
            [listener], certfile=command.certfile, keyfile=command.keyfile
        )
        self._config.logger_class = RequestLogger

    def set_app(self, application: server.Application) -> None:
        self._application = application

    def serve_forever(self) -> None:
        """Serve until the stop; in the main thread, until a signal asks for it.

        Raises:
            KeyboardInterrupt: a signal asked.
        """
        alone = threading.current_thread() is threading.main_thread()
        signals = dict.fromkeys(server.STOP_SIGNALS, self._stop.set_or_hurry) if alone else {}
        self._idle.clear()
        try:
            server.run(self._application, self._config, self._stop, signals=signals)
        finally:
            self._idle.set()
        if alone:
            raise KeyboardInterrupt


class RequestLogger(Logger):
    """Logs requests as Django's own development server does."""

    async def access(
        self, request: Any, response: Mapping[str, Any] | None, request_time: float
    ) -> None:
        query = b"?" + request["query_string"] if request["query_string"] else b""
        target = (request["raw_path"] + query).decode("latin-1")
        method = request.get("method", "WEBSOCKET")
        line = quotable(f"{method} {target} HTTP/{request['http_version']}")
        extra: dict[str, Any] = {"server_time": f"{datetime.now():%d/%b/%Y %H:%M:%S}"}
        if response is None:
            django_server.info('"%s" connection closed', line, extra=extra)
            return
        status = int(response["status"])
        headers = {name.lower(): value for name, value in response["headers"]}
        length = headers.get(b"content-length", b"-").decode()
        level = (
            logging.ERROR if status >= 500 else logging.WARNING if status >= 400 else logging.INFO
        )
        django_server.log(
            level, '"%s" %s %s', line, status, length, extra={**extra, "status_code": status}
        )


def _shorten_drain() -> None:
    """Drain for two seconds at most, whatever the settings say for production."""
    given = getattr(settings, SETTING, {})
    with suppress(ImproperlyConfigured):  # the system checks, which come next, say it
        if get_settings().drain_timeout <= DRAIN_TIMEOUT:
            return
        setattr(settings, SETTING, {**given, "DRAIN_TIMEOUT": DRAIN_TIMEOUT})
        get_settings.cache_clear()


def _run_reloading() -> int:
    """Do what Django's `restart_with_reloader()` does, but leave its child time to stop."""
    environment = {**os.environ, autoreload.DJANGO_AUTORELOAD_ENV: "true"}
    if sys.platform != "win32":  # whose processes do not inherit descriptors
        parent, _ = os.pipe()
        os.set_inheritable(parent, True)
        environment[PARENT_ENV] = str(parent)
    stopping = False

    def end_child(*_: object) -> None:
        nonlocal stopping
        (child.kill if stopping else child.terminate)()
        stopping = True

    code = RELOAD
    while code == RELOAD and not stopping:
        child = subprocess.Popen(  # noqa: S603 - this very command
            autoreload.get_child_arguments(), env=environment, close_fds=False
        )
        for signum in server.STOP_SIGNALS:
            signal.signal(signum, end_child)
        code = child.wait()
    server.hasten_exit()
    return 0 if stopping else code


def _end_with(parent: int) -> None:
    """Wait for the end of the parent process, which may be killed, and stop this one."""
    os.read(parent, 1)
    logger.error("The parent of process %d is gone: it ends, too.", os.getpid())
    os.kill(os.getpid(), signal.SIGTERM)
