"""A cell of the table: what was counted when a fault struck a home, and what had been promised."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults.sites import FINISHED, HOMES, Site
from tests.faults.strikes import FAULTS

PATIENCE = 30.0  # seconds, after the fault, for all tasks to end
DURABLE = {"SQLite", "PostgreSQL"}
MAX_INTERRUPTIONS = 3  # as the project's settings say
CELLS = [
    (fault, home)
    for fault in FAULTS
    for home in HOMES
    if (fault, home) != ("outage", "memory")  # which is stored nowhere
]


@dataclass(frozen=True)
class Cell:
    """What was counted, of healthy tasks only."""

    fault: str
    home: str
    enqueued: int
    ended: int
    lost: int
    """Accepted, and never run to the end."""
    lost_wrongly: int
    """Those of them that were not in the memory of a killed process, and not named in its log."""
    repeated: int
    """Begun more than once."""
    failed: int
    running: int
    """RUNNING for ever."""
    seconds: float
    """Until the last of them had ended."""
    errors: int
    """Lines of the level ERROR, in the output of all processes."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What else was promised, and was not kept."""


def measure(fault: str, home: str, *, tasks: int, log: Path | None = None) -> Cell:
    """Strike a new site with that many tasks, and count. Into `log` goes what its processes print."""
    with TemporaryDirectory() as directory, HOMES[home](Path(directory), tasks) as site:
        try:
            site.start()
            since = FAULTS[fault](site)
            settle(site)
            return count(site, fault, home, since)
        finally:
            if log is not None:
                log.write_text(site.output)


def settle(site: Site) -> None:
    """Wait until nothing more is to be expected, as far as that comes."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and unsettled(site):
        time.sleep(0.2)
    time.sleep(0.5)  # what runs twice has a moment to say so


def unsettled(site: Site) -> set[int]:
    statuses = site.statuses()
    return {n for n in statuses if statuses[n] not in FINISHED} - site.may_be_lost()


def count(site: Site, fault: str, home: str, since: float) -> Cell:
    steps = site.steps()
    healthy = site.accepted.keys() - {site.poison}
    begun = Counter(step.number for step in steps if step.kind == "begin")
    ends = {step.number: step.at for step in steps if step.kind == "end"}
    statuses = {number: status for number, status in site.statuses().items() if number in healthy}
    lost = healthy - ends.keys()
    excused = site.may_be_lost()
    return Cell(
        fault,
        home,
        enqueued=len(healthy),
        ended=len(healthy & ends.keys()),
        lost=len(lost),
        lost_wrongly=len(lost - excused),
        repeated=sum(begun[number] > 1 for number in healthy),
        failed=len({n for n in healthy - excused if statuses[n] == "FAILED"}),
        running=len({n for n in healthy - excused if statuses[n] == "RUNNING"}),
        seconds=max(0.0, max(ends.values()) - since),
        errors=len(site.error_lines()),
        notes=tuple(notes(site, fault, home, begun)),
    )


def notes(site: Site, fault: str, home: str, begun: Counter[int]) -> Iterator[str]:
    """Say what was not kept of the promises that have no column."""
    if left := unsettled(site):
        yield f"{len(left)} tasks have not finished: {sorted(left)[:5]}"
    if fault == "restart" and site.refused:
        yield f"{site.refused} requests failed"
    if home in DURABLE:
        signalled = {step.number for step in site.steps() if step.kind == "finished"}
        if silent := site.accepted.keys() - signalled:
            yield f"{len(silent)} tasks ended without task_finished: {sorted(silent)[:5]}"
    if home in DURABLE and site.poison is not None:
        if begun[site.poison] > MAX_INTERRUPTIONS:
            yield f"the poison was begun {begun[site.poison]} times"
        if (status := site.statuses()[site.poison]) != "FAILED":
            yield f"the poison is {status}"
