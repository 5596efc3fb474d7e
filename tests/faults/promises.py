"""What each home promises for each fault, in numbers of the table."""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.cells import DURABLE, Cell
from tests.faults.sites import CELERY_PROCESSES
from tests.live.kitchen.processes import AT_ONCE

ONE_PROCESS = AT_ONCE + 1
"""What a process may have begun that is begun again elsewhere: MAX_RUNNING, and one."""

REPEATED = {
    **{
        (fault, home): ONE_PROCESS for fault in ("kill -9", "SIGSTOP", "poison") for home in DURABLE
    },
    ("kill -9", "Celery"): CELERY_PROCESSES,
    ("outage", "Celery"): 2 * CELERY_PROCESSES,
}
"""How many tasks are begun more than once at most; elsewhere, none."""

QUIET = {("SIGTERM", home) for home in DURABLE} | {
    ("restart", home) for home in ["memory", *DURABLE]
}
"""Where nothing is an ERROR."""


def broken(cell: Cell, runs: int = 1) -> Iterator[str]:
    """Say which promises were not kept in so many runs, whose numbers were added up."""
    for name in ("lost_wrongly", "failed", "running"):
        if number := getattr(cell, name):
            yield f"{number} {name}"
    if cell.repeated > (most := runs * REPEATED.get((cell.fault, cell.home), 0)):
        yield f"{cell.repeated} begun more than once, where {most} may be"
    if cell.errors and (cell.fault, cell.home) in QUIET:
        yield f"{cell.errors} lines of ERROR"
    yield from cell.notes
