"""The OpenAPI document, for clients, and for CI: ``manage.py openapi``."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from asyncviews.openapi import OpenAPI
from asyncviews.urlconf import walk


class Command(BaseCommand):
    """Prints the document that the project serves, or compares it with a file."""

    help = "Prints the OpenAPI document of the project, or checks that a file holds it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check",
            type=Path,
            metavar="FILE",
            help="Print nothing but what differs in FILE, and then exit with 1.",
        )
        parser.add_argument(
            "--document", metavar="NAME", help="Which one, if the URLconf has several."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        text = choose(options["document"]).text()
        if options["check"] is None:
            self.stdout.write(text)
        else:
            self._check(text, options["check"])

    def _check(self, text: str, file: Path) -> None:
        try:
            committed = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as exc:
            raise CommandError(f"{file} cannot be read as JSON: {exc}") from exc
        if committed == json.loads(text):
            return
        old = json.dumps(committed, ensure_ascii=False, indent=2)
        diff = difflib.unified_diff(
            old.splitlines(), text.splitlines(), str(file), "what the project says", lineterm=""
        )
        self.stdout.write("\n".join(diff))
        raise CommandError(
            f"{file} is not what the project says. To write it anew: python manage.py openapi > {file}"
        )


def choose(name: str | None) -> OpenAPI:
    """Return the document of that name, or the only one.

    Raises:
        CommandError: there are several, or none of that name.
    """
    documents = dict.fromkeys(_in_urlconf())
    found = [document for document in documents if name in {None, document.name}]
    if len(found) == 1:
        return found[0]
    if not documents and name is None:
        return OpenAPI()
    names = ", ".join(document.name for document in documents) or "none"
    wanted = f"no document {name!r}" if name else "more than one document; choose with --document"
    raise CommandError(f"The URLconf has {wanted}. There are: {names}.")


def _in_urlconf() -> Iterator[OpenAPI]:
    for route in walk():
        if isinstance(api := route.initkwargs.get("api"), OpenAPI):
            yield api
