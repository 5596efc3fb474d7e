"""The table, as it is printed and as the documentation carries it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from tests.faults.cells import Cell

COLUMNS = {
    "fault": "fault",
    "home": "home",
    "enqueued": "enqueued",
    "ended": "run to the end",
    "lost": "lost",
    "lost_wrongly": "lost wrongly",
    "repeated": "begun more than once",
    "failed": "FAILED wrongly",
    "running": "RUNNING for ever",
    "seconds": "seconds to recover",
    "errors": "ERROR lines",
}
"""The headings, by the attributes of a `Cell`."""


def line(values: Iterable[str]) -> str:
    return f"| {' | '.join(values)} |"


HEAD = f"{line(COLUMNS.values())}\n|{'---|' * len(COLUMNS)}"


def row(cell: Cell) -> str:
    values = (getattr(cell, name) for name in COLUMNS)
    return line(f"{value:.1f}" if isinstance(value, float) else str(value) for value in values)


def total(runs: Sequence[Cell]) -> Cell:
    """Add up what was counted in several runs; of the seconds, the most."""
    numbers = COLUMNS.keys() - {"fault", "home", "seconds"}
    sums = {name: sum(getattr(cell, name) for cell in runs) for name in numbers}
    notes = tuple(note for cell in runs for note in cell.notes)
    return replace(runs[0], **sums, seconds=max(cell.seconds for cell in runs), notes=notes)


def parse(text: str) -> Iterator[Cell]:
    """Return the cells of the table that stands in a text.

    Raises:
        ValueError: its columns are others.
    """
    _, found, rest = text.partition(f"{HEAD}\n")
    if not found:
        raise ValueError(f"no table with the columns {', '.join(COLUMNS.values())}")
    for text_of_row in rest.partition("\n\n")[0].splitlines():
        fault, home, *numbers = text_of_row.strip("| ").split(" | ")
        values = [float(number) if "." in number else int(number) for number in numbers]
        yield Cell(fault, home, *values)
