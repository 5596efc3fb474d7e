"""Results with two dimensions, as lines of text."""

from __future__ import annotations

Cells = dict[tuple[str, str], str]
"""What is in a line and a column."""


def text(title: str, cells: Cells) -> str:
    columns = list(dict.fromkeys(column for _, column in cells))
    lines = list(dict.fromkeys(line for line, _ in cells))
    first = max(map(len, [title, *lines]))
    widths = {column: max(len(column), 8) for column in columns}
    rows = [[title.ljust(first), *(column.rjust(widths[column]) for column in columns)]]
    rows.extend(
        [line.ljust(first), *(cells.get((line, c), "-").rjust(widths[c]) for c in columns)]
        for line in lines
    )
    return "\n".join("  " + "  ".join(row) for row in rows)
