"""``python -m tests.benchmarks [name ...] [--quick]``: measure, compare, print, plot."""

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
    contenders,
    database,
    homes,
    inprocess,
    plot,
    served,
    watchdog,
)

RESULTS = Path(__file__).parent / "results"
Found = dict[str, float]


@dataclass(frozen=True)
class Benchmark:
    """What is measured, in which unit it is printed, and to what it is compared."""

    title: str
    measure: Callable[[bool], Found]
    unit: str = "µs"
    scale: float = 1e6
    compared_to: str | None = None


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
        compared_to="django",
    ),
    "database": Benchmark(
        "One indexed read in process, no middleware",
        lambda quick: asyncio.run(database.reads(rounds(quick))),
    ),
    "url_patterns": Benchmark(
        "An AsyncView behind other URL patterns, in process",
        lambda quick: asyncio.run(inprocess.url_patterns(rounds(quick))),
    ),
    "served": Benchmark(
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

# What the project has set itself: (benchmark, ours, theirs, at most this ratio).
OURS, THEIRS = "asyncview@asyncviews", "asyncview@django"
TARGETS = [
    ("in_process_startproject", OURS, THEIRS, 1 / 20),
    ("served", f"hypercorn, {OURS}", f"hypercorn, {THEIRS}", 1 / 6),
    ("in_process", OURS, "fastapi", 1.0),
    ("in_process_startproject", OURS, "fastapi", 1.5),
    ("bodies", OURS, "fastapi", 1.3),
    ("bodies", OURS, "ninja@asyncviews", 1.0),
    ("bodies", OURS, "modern_rest@asyncviews", 1.0),
    ("database", "asyncviews, PostgreSQL, CONN_MAX_AGE=60",
     "django, PostgreSQL, CONN_MAX_AGE=60", 1 / 8),
    ("waiting_in_process", "function@asyncviews", None, 1.3),
    ("background", "add_background_task, to add it", "create_task, to add it", 3.0),
    ("waiting", "hypercorn, function@asyncviews", None, 1.3),
]  # fmt: skip


def table(benchmark: Benchmark, found: Found) -> str:
    width = max(map(len, found))
    base = found.get(benchmark.compared_to or "")
    lines = [f"\n{benchmark.title}"]
    for name, value in found.items():
        ratio = f"  {value / base:7.2f} times {benchmark.compared_to}" if base else ""
        lines.append(f"  {name:<{width}}  {value * benchmark.scale:9.2f} {benchmark.unit}{ratio}")
    return "\n".join(lines)


def verdicts(results: dict[str, Found]) -> list[str]:
    lines = []
    for name, ours, theirs, limit in TARGETS:
        if name not in results:
            continue
        found = results[name]
        value = found[ours] / (found[theirs] if theirs else 1)
        verdict = "met" if value <= limit else "NOT met"
        against = f" : {theirs}" if theirs else " s"
        lines.append(f"  {verdict:8} {value:6.3f} (at most {limit:.3f})  {name}: {ours}{against}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which: {', '.join(BENCHMARKS)}")
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
    for name in options.names or BENCHMARKS:
        results[name] = BENCHMARKS[name].measure(options.quick)
        print(table(BENCHMARKS[name], results[name]), flush=True)
    if lines := verdicts(results):
        print("\nTargets, as ratios of time", *lines, sep="\n")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "results.json").write_text(json.dumps(results, indent=1))
    plots = plot.draw({BENCHMARKS[name].title: found for name, found in results.items()}, RESULTS)
    print(f"\nWritten: {RESULTS / 'results.json'}, {plots}")


if __name__ == "__main__":
    main()
