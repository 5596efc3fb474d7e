"""What there is in the project, seen as asyncviews does: ``manage.py asyncviews``."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from typing import Any

import django
from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from pydantic.errors import PydanticInvalidForJsonSchema

from asyncviews.conf import get_settings
from asyncviews.internals import CHECKED, IS_CHECKED
from asyncviews.middleware_costs import cost_of_a_hop, middleware_costs
from asyncviews.parameters import Group
from asyncviews.resources import load
from asyncviews.urlconf import Route, view_path, walk
from asyncviews.views import AsyncView


class Command(BaseCommand):
    """Lists views, middleware, background homes and resources."""

    help = (
        "Lists the project's views with their methods and parameters, its middleware with where it "
        "runs and what that costs, the homes of background tasks, and the resources."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "sections",
            nargs="*",
            metavar="section",
            help=f"Which of {', '.join(SECTIONS)}; all of them by default.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if unknown := [name for name in options["sections"] if name not in SECTIONS]:
            raise CommandError(
                f"There is no section {unknown[0]!r}; there are {', '.join(SECTIONS)}."
            )
        sections = options["sections"] or list(SECTIONS)
        for number, name in enumerate(sections):
            if len(sections) > 1:
                self.stdout.write(("\n" if number else "") + self.style.MIGRATE_HEADING(name))
            try:
                for line in SECTIONS[name](self, verbose=options["verbosity"] > 1):
                    self.stdout.write(line)
            except (ImportError, ImproperlyConfigured) as exc:
                raise CommandError(f"The {name} cannot be listed: {exc}") from exc

    def views(self, *, verbose: bool) -> Iterator[str]:
        routes = list(walk())
        own = [r for r in routes if verbose or not r.view.__module__.startswith("django.")]
        lines = columns((f"/{r.path}", methods(r), view_path(r.callback)) for r in own)
        for route, line in zip(own, lines, strict=True):
            yield line
            yield from parameters(route)
        if hidden := len(routes) - len(own):
            yield f"and {hidden} of Django's own, with --verbosity 2"

    def middleware(self, *, verbose: bool) -> Iterator[str]:
        if not IS_CHECKED:
            known = ", ".join(f"{major}.{minor}" for major, minor in sorted(CHECKED))
            yield self.style.WARNING(
                f"Django {django.get_version()} is none of those whose middleware is known "
                f"({known}): nothing runs inline."
            )
        costs = middleware_costs()
        for cost, line in zip(costs, columns((c.path, c.summary) for c in costs), strict=True):
            yield line
            if verbose:
                yield from (f"    {hook}: {place}" for hook, place in cost.places)
        hops, seconds = sum(cost.hops for cost in costs), asyncio.run(cost_of_a_hop())
        yield (
            f"\nA hop to a thread and back takes about {seconds * 1e6:.0f} µs here. "
            f"Middleware makes {hops} in each request: {hops * seconds * 1e6:.0f} µs."
        )

    def background(self, *, verbose: bool) -> Iterator[str]:
        limits = get_settings()
        rows = [
            (
                "add_background_task()",
                f"in memory; {limits.max_running} run, {limits.max_waiting} wait, "
                f"{limits.background_threads} threads",
            )
        ]
        for alias, options in (getattr(settings, "TASKS", None) or {}).items():
            queues = options.get("QUEUES", ["default"])
            names = ", ".join(queues) if queues else "any"
            rows.append((f'TASKS["{alias}"]', f"{options['BACKEND']}; queues: {names}"))
        yield from columns(rows)

    def resources(self, *, verbose: bool) -> Iterator[str]:
        rows = [(path, (load(path).__doc__ or "").partition("\n")[0]) for path in
                get_settings().resources]  # fmt: skip
        yield from columns(rows) if rows else ["none"]


SECTIONS = {
    "views": Command.views,
    "middleware": Command.middleware,
    "background": Command.background,
    "resources": Command.resources,
}


def methods(route: Route) -> str:
    """Return the methods of a view as far as it says them, and where it runs."""
    view = route.view
    if view_class := route.view_class:
        known = view_class.http_method_names  # type: ignore[attr-defined]
        handlers = getattr(view_class, "handlers", ())
        answered = [
            name.upper()
            for name in known
            if (name in handlers or hasattr(view_class, name)) and name != "options"
        ]
    else:
        answered = ["any"]
    is_async = getattr(view, "view_is_async", iscoroutinefunction(view))
    return f"{', '.join(answered)}{'' if is_async else ' (thread)'}"


def parameters(route: Route) -> Iterator[str]:
    """Yield a line for each method of an `AsyncView` that reads parameters."""
    view_class = route.view_class
    if view_class is None or not issubclass(view_class, AsyncView):
        return
    for method, handler in view_class.handlers.items():
        if handler.signature.groups and method != "head":
            by_location: dict[str, list[str]] = {}
            groups = handler.signature.groups
            for group in sorted(groups, key=lambda group: group.source.location != "path"):
                by_location.setdefault(group.source.location, []).extend(names(group))
            found = "; ".join(f"{place} {' '.join(names)}" for place, names in by_location.items())
            yield f"    {method.upper()}: {found}"


def names(group: Group) -> Iterator[str]:
    """Yield what is read by name; in brackets what a request may leave out."""
    for name, is_required in _names(group):
        yield name if is_required else f"[{name}]"


def _names(group: Group) -> Iterator[tuple[str, bool]]:
    if group.name is None:
        for name in group.schema.fields:
            yield group.source.public_name(name), name not in group.defaults
        return
    try:
        schema = group.schema.adapter.json_schema()
    except PydanticInvalidForJsonSchema:  # it has files, say
        schema = {}
    required = schema.get("required", ())
    for name in schema.get("properties", ()):
        yield group.source.public_name(name), name in required
    if not schema.get("properties"):
        yield group.name, group.required


def columns(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Return rows as lines whose columns begin below each other."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
