"""The table of packages, as it is printed and as the documentation carries it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

COLUMNS = ("package", "version", "works", "hops, Django", "hops, ours", "time", "remarks")
HEAD = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"


class Row(NamedTuple):
    package: str
    version: str
    works: str
    django: str
    ours: str
    time: str
    """That under ours divided by that under Django's."""
    remarks: str

    def __str__(self) -> str:
        return f"| {' | '.join(self)} |"


def parse(text: str) -> Iterator[Row]:
    """Return the rows of the table that stands in a text.

    Raises:
        ValueError: there is none with these columns.
    """
    _, found, rest = text.partition(f"{HEAD}\n")
    if not found:
        raise ValueError(f"no table with the columns {', '.join(COLUMNS)}")
    for line in rest.partition("\n\n")[0].splitlines():
        yield Row(*re.split(r"\s*\|\s*", line)[1:-1])
