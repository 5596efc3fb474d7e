"""``python -m tests.benchmarks [name ...] [--suite NAME] [--quick]``: measure, compare, print, plot."""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import django

from tests.benchmarks import (
    background,
    concurrency,
    contenders,
    database,
    homes,
    hops,
    inprocess,
    plot,
    rates,
    served,
    watchdog,
)
from tests.benchmarks.aims import AIMS, Found

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Benchmark:
    """What is measured, in which unit it is printed, and to what it is compared."""

    title: str
    measure: Callable[[bool], Found]
    unit: str = "µs"
    scale: float = 1e6
    compared_to: str | None = None
    table: Callable[[Found], str] | None = None
    """How it is printed, if not as a list."""


def in_process(middleware: str) -> Callable[[bool], Found]:
    return lambda quick: asyncio.run(inprocess.queries(middleware, rounds(quick)))


def rounds(quick: bool) -> int:
    return 7 if quick else 31


BENCHMARKS = {
    "in_process": Benchmark(
        "The smoke query in process, no middleware", in_process("none"), compared_to="fastapi"
    ),
    "in_process_startproject": Benchmark(
        "The smoke query in process, startproject's middleware",
        in_process("startproject"),
        compared_to="fastapi",
    ),
    "bodies": Benchmark(
        "10 kB of nested JSON in, 100 kB out, in process, no middleware",
        lambda quick: asyncio.run(inprocess.bodies_of_json(rounds(quick))),
        compared_to="fastapi",
    ),
    "sync_views": Benchmark(
        "A synchronous view in process, startproject's middleware",
        lambda quick: asyncio.run(inprocess.sync_views(rounds(quick))),
        compared_to="django, WSGI",
    ),
    "database": Benchmark(
        "One indexed read in process, no middleware",
        lambda quick: asyncio.run(database.reads(rounds(quick))),
    ),
    "url_patterns": Benchmark(
        "An AsyncView behind other URL patterns, in process",
        lambda quick: asyncio.run(inprocess.url_patterns(rounds(quick))),
    ),
    "rates": Benchmark(
        "One process on one processor, PostgreSQL, startproject's middleware, 16 connections",
        lambda quick: rates.rates(*((3, 0.5) if quick else (5, 1))),
        table=rates.table,
    ),
    "concurrency": Benchmark(
        "Requests at once in process, startproject's middleware, each of which waits one second",
        lambda quick: asyncio.run(concurrency.waits(1 if quick else 5)),
        table=concurrency.table,
    ),
    "hops": Benchmark(
        "sync_to_async in a request in process, no middleware, and bare",
        lambda quick: asyncio.run(hops.times(rounds(quick))),
    ),
    "smoke_served": Benchmark(
        "The smoke query served, startproject's middleware for Django, 32 clients",
        lambda quick: served.throughput("startproject", seconds=1 if quick else 5),
    ),
    "clients": Benchmark(
        "The smoke query, by Hypercorn, as clients grow",
        lambda quick: served.clients(1 if quick else 5),
    ),
    "waiting_in_process": Benchmark(
        "1,000 requests at once in process, each of which waits one second",
        lambda quick: asyncio.run(inprocess.waiting()),
        unit="s",
        scale=1,
    ),
    "waiting": Benchmark(
        "1,000 requests at once, each of which waits one second",
        lambda quick: served.waiting(),
        unit="s",
        scale=1,
    ),
    "watchdog": Benchmark(
        "The smoke query in process, startproject's middleware, watched",
        lambda quick: asyncio.run(watchdog.requests(rounds(quick))),
        compared_to="no watchdog",
    ),
    "watchdog_idle": Benchmark(
        "An idle event loop, watched",
        lambda quick: asyncio.run(watchdog.idle(2 if quick else 20)),
        unit="% of a processor",
        scale=1,
    ),
    "background": Benchmark(
        "One of 10,000 background tasks that do nothing",
        lambda quick: asyncio.run(background.times(3 if quick else 15)),
    ),
    "background_memory": Benchmark(
        "Memory of a background task that waits",
        lambda quick: asyncio.run(background.memory()),
        unit="kB",
        scale=1e-3,
    ),
    "enqueue": Benchmark(
        "django.tasks: one enqueue from synchronous code",
        lambda quick: homes.enqueues(200 if quick else 2000),
    ),
    "tasks": Benchmark(
        "django.tasks: one task that does nothing, of those that wait",
        lambda quick: homes.runs(200 if quick else 2000),
    ),
    "streams": Benchmark(
        "Memory of an idle event stream",
        lambda quick: served.streams(1000 if quick else 10000),
        unit="kB",
        scale=1e-3,
    ),
}

SUITES = {
    "served": ("rates", "in_process_startproject", "sync_views", "concurrency", "hops"),
}
"""Benchmarks that belong together: here, what ours takes beside WSGI and other frameworks."""


def table(benchmark: Benchmark, found: Found) -> str:
    if benchmark.table is not None:
        return f"\n{benchmark.title}\n{benchmark.table(found)}"
    width = max(map(len, found))
    base = found.get(benchmark.compared_to or "")
    lines = [f"\n{benchmark.title}"]
    for name, value in found.items():
        ratio = f"  {value / base:7.2f} times {benchmark.compared_to}" if base else ""
        lines.append(f"  {name:<{width}}  {value * benchmark.scale:9.2f} {benchmark.unit}{ratio}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which: {', '.join(BENCHMARKS)}")
    parser.add_argument("--suite", choices=SUITES, help="those that belong together")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, shorter loads")
    parser.add_argument("--profile", metavar="CONTENDER", help="profile one in process instead")
    parser.add_argument("--middleware", choices=contenders.MIDDLEWARE, default="startproject")
    options = parser.parse_args()
    if options.profile:
        inprocess.profile(options.profile, options.middleware)
        return
    if unknown := set(options.names) - BENCHMARKS.keys():
        parser.error(f"no benchmark of the name {', '.join(sorted(unknown))}")
    print(f"Python {platform.python_version()}, Django {django.get_version()}")
    results: dict[str, Found] = {}
    for name in options.names or SUITES.get(options.suite, BENCHMARKS):
        results[name] = BENCHMARKS[name].measure(options.quick)
        print(table(BENCHMARKS[name], results[name]), flush=True)
    if lines := [line for aim in AIMS if (line := aim.verdict(results))]:
        print("\nAims", *lines, sep="\n")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "results.json").write_text(json.dumps(results, indent=1))
    drawn = {
        b.title: results[name] for name, b in BENCHMARKS.items() if name in results and not b.table
    }
    print(f"\nWritten: {RESULTS / 'results.json'}")
    if drawn:
        print(f"Written: {plot.draw(drawn, RESULTS)}")


if __name__ == "__main__":
    main()
