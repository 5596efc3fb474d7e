"""What the tasks of a site have noted of their lives, read from outside."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Step(NamedTuple):
    """A line that a task has left."""

    kind: str
    """begin or end, of its function; finished, when ``task_finished`` was sent."""
    number: int
    detail: str
    """Which attempt it was; of what has finished, the status."""
    pid: int
    at: float
    """By the monotonic clock, which all processes share."""


def read(path: Path) -> list[Step]:
    """Return the lines in the order in which they were written."""
    return [
        Step(kind, int(number), detail, int(pid), float(at))
        for kind, number, detail, pid, at in map(str.split, path.read_text().splitlines())
    ]
