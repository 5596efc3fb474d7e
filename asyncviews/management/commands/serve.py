"""The production server: ``manage.py serve``."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from asyncviews.conf import get_settings
from asyncviews.server import Options, ServerError, check_certificate, listen, url
from asyncviews.workers import serve


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

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._serve(options)
        except (ServerError, ImproperlyConfigured) as exc:
            raise CommandError(exc) from exc

    def _serve(self, options: dict[str, Any]) -> None:
        plan = self._plan(options)
        sockets = [listen(address) for address in options["addresses"]]
        urls = ", ".join(url(sock, secure=bool(plan.certfile)) for sock in sockets)
        processes = f"{plan.workers} workers" if plan.workers > 1 else "1 process"

        def ready() -> None:
            self.stdout.write(f"Serving {plan.application} on {urls} with {processes}.")
            self.stdout.flush()

        if code := serve(plan, sockets, ready=ready):
            sys.exit(code)

    def _plan(self, options: dict[str, Any]) -> Options:
        application = getattr(settings, "ASGI_APPLICATION", None)
        if not application:
            raise CommandError(
                "settings.ASGI_APPLICATION is not set. It is the dotted path of what to serve; "
                'for most projects "<project>.asgi.application".'
            )
        workers, certfile = options["workers"], options["certfile"]
        if workers < 1:
            raise CommandError(f"--workers must be at least 1, not {workers}.")
        if workers > 1 and sys.platform == "win32":
            raise CommandError("--workers needs a POSIX system; start several servers instead.")
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
            workers=workers,
            certfile=certfile,
            keyfile=keyfile,
            access_log=options["access_log"],
            h2c=options["h2c"],
        )
