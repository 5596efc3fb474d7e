"""The production server: ``manage.py serve``."""

from __future__ import annotations

import socket
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from asyncviews.access_log import COMBINED, FORMATS, parse_format
from asyncviews.conf import get_settings
from asyncviews.forwarded import DEFAULT_HEADERS, HEADERS, STANDARD, UNIX, TrustedProxies
from asyncviews.pid_file import PidFileError
from asyncviews.server import (
    KEEP_ALIVE_TIMEOUT,
    Options,
    ServerError,
    check_certificate,
    listen,
    url,
)
from asyncviews.serving import serve


class Command(BaseCommand):
    """Serves the project with Hypercorn until SIGTERM or Ctrl-C, then drains it."""

    help = (
        "Serves the project's ASGI application with Hypercorn, for production. SIGTERM or Ctrl-C "
        "drains requests and background tasks; a second one ends at once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "addresses",
            nargs="*",
            metavar="address",
            default=["127.0.0.1:8000"],
            help="A port, host:port, [ipv6]:port or unix:/path. Default: 127.0.0.1:8000",
        )
        parser.add_argument(
            "--workers",
            type=int,
            default=1,
            help="How many processes serve. One that dies is replaced. Default: 1",
        )
        parser.add_argument("--certfile", help="The TLS certificate (PEM). HTTP/2 comes with it.")
        parser.add_argument("--keyfile", help="The key of the certificate, if in another file.")
        parser.add_argument(
            "--h2c",
            action="store_true",
            help="Speak HTTP/2 without TLS, too: for a proxy, never for the internet.",
        )
        parser.add_argument(
            "--access-log", action="store_true", help="Write a line for each request to stdout."
        )
        parser.add_argument(
            "--access-log-format",
            metavar="FORMAT",
            help=f"{', '.join(FORMATS)}, or a format with atoms such as %%(h)s; implies --access-log. "
            "Default: combined",
        )
        parser.add_argument(
            "--trusted-proxy",
            action="append",
            default=[],
            metavar="ADDRESS",
            help="A proxy whose forwarded headers are believed: an IP address, a network such as "
            f"10.0.0.0/8, or {UNIX} for who connects to a Unix socket. May be repeated. Default: none",
        )
        parser.add_argument(
            "--forwarded-headers",
            metavar="NAMES",
            help=f"Which of their headers: a list, with commas, of {', '.join(HEADERS)}, or "
            f"{STANDARD}. Name only what the proxy sets. Default: {DEFAULT_HEADERS}",
        )
        parser.add_argument(
            "--keep-alive",
            type=float,
            default=KEEP_ALIVE_TIMEOUT,
            metavar="SECONDS",
            help="How long a connection stays open without a request: longer than the proxy keeps "
            f"it. Default: {KEEP_ALIVE_TIMEOUT:g}",
        )
        parser.add_argument(
            "--max-body",
            type=int,
            metavar="BYTES",
            help="Refuse requests with a longer body, with 413. Default: no limit",
        )
        parser.add_argument(
            "--max-requests",
            type=int,
            metavar="COUNT",
            help="Replace a worker after so many requests, or up to a tenth more. Needs --workers 2 "
            "or more. Default: never",
        )
        parser.add_argument(
            "--pid-file", metavar="PATH", help="Write the process id to this file while it runs."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._serve(options)
        except (ServerError, PidFileError, ImproperlyConfigured) as exc:
            raise CommandError(exc) from exc

    def _serve(self, options: dict[str, Any]) -> None:
        plan = self._plan(options)
        if plan.proxies and settings.SECURE_PROXY_SSL_HEADER:
            self.stderr.write(
                "settings.SECURE_PROXY_SSL_HEADER believes its header whoever sends it. With "
                "--trusted-proxy it is not needed: remove it."
            )
        with ExitStack() as stack:
            sockets = [stack.enter_context(listen(each)) for each in options["addresses"]]
            code = self._serve_on(plan, sockets)
        if code:
            sys.exit(code)

    def _serve_on(self, plan: Options, sockets: list[socket.socket]) -> int:
        urls = ", ".join(url(sock, secure=bool(plan.certfile)) for sock in sockets)
        processes = f"{plan.workers} workers" if plan.workers > 1 else "1 process"

        def ready() -> None:
            self.stdout.write(f"Serving {plan.application} on {urls} with {processes}.")
            self.stdout.flush()

        return serve(plan, sockets, ready=ready)

    def _plan(self, options: dict[str, Any]) -> Options:
        application = getattr(settings, "ASGI_APPLICATION", None)
        if not application:
            raise CommandError(
                "settings.ASGI_APPLICATION is not set. It is the dotted path of what to serve; "
                'for most projects "<project>.asgi.application".'
            )
        workers, certfile = options["workers"], options["certfile"]
        _check_processes(workers, options["max_requests"])
        _check_limits(options["keep_alive"], options["max_body"])
        keyfile = options["keyfile"] or certfile
        if certfile:
            check_certificate(certfile, keyfile)
        elif keyfile:
            raise CommandError("--keyfile needs --certfile.")
        return Options(
            application=application,
            drain_timeout=get_settings().drain_timeout,
            hang_timeout=get_settings().hang_timeout,
            slow_client_timeout=get_settings().slow_client_timeout,
            keep_alive_timeout=options["keep_alive"],
            workers=workers,
            max_requests=options["max_requests"] or 0,
            max_body=options["max_body"],
            certfile=certfile,
            keyfile=keyfile,
            access_log=_access_log(options["access_log"], options["access_log_format"]),
            h2c=options["h2c"],
            proxies=_proxies(options["trusted_proxy"], options["forwarded_headers"]),
            pid_file=options["pid_file"],
        )


def _check_processes(workers: int, max_requests: int | None) -> None:
    if workers < 1:
        raise CommandError(f"--workers must be at least 1, not {workers}.")
    if workers > 1 and sys.platform == "win32":
        raise CommandError("--workers needs a POSIX system; start several servers instead.")
    if max_requests is not None and max_requests < 1:
        raise CommandError(f"--max-requests must be at least 1, not {max_requests}.")
    if max_requests and workers < 2:
        raise CommandError("--max-requests needs --workers 2 or more, of which one is replaced.")


def _check_limits(keep_alive: float, max_body: int | None) -> None:
    if max_body is not None and max_body < 0:
        raise CommandError(f"--max-body must be a number of bytes, not {max_body}.")
    if not 0 < keep_alive < float("inf"):
        raise CommandError(f"--keep-alive must be a number of seconds above 0, not {keep_alive:g}.")


def _access_log(wanted: bool, text: str | None) -> str | None:
    try:
        if text is None:
            return COMBINED if wanted else None
        return parse_format(text)
    except ValueError as exc:
        raise CommandError(f"--access-log-format: {exc}") from exc


def _proxies(proxies: Sequence[str], headers: str | None) -> TrustedProxies | None:
    if not proxies:
        if headers is not None:
            raise CommandError("--forwarded-headers needs --trusted-proxy.")
        return None
    try:
        return TrustedProxies.parse(proxies, DEFAULT_HEADERS if headers is None else headers)
    except ValueError as exc:
        raise CommandError(f"--trusted-proxy and --forwarded-headers: {exc}") from exc
