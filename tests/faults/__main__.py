"""``python -m tests.faults``: strike each home of tasks with each fault; print what was counted.

Exit code 1 if a promise was not kept.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.faults import table
from tests.faults.cells import CELLS, Cell, measure
from tests.faults.promises import broken


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    complaints = []
    print(table.HEAD, flush=True)
    for fault, home in CELLS:
        if slug(fault) in options.fault and slug(home) in options.home:
            cell = table.total(
                [run(fault, home, options, number) for number in range(options.runs)]
            )
            print(table.row(cell), flush=True)
            complaints += [f"{fault}, {home}: {what}" for what in broken(cell, options.runs)]
    print(*complaints, sep="\n", file=sys.stderr)
    return int(bool(complaints))


def run(fault: str, home: str, options: argparse.Namespace, number: int) -> Cell:
    cell, output = measure(fault, home)
    if options.logs:
        path = options.logs / f"{slug(fault)}-{slug(home)}-{number}.log"
        path.write_text(output)
    return cell


def slug(name: str) -> str:
    return name.split(maxsplit=1)[0].lower()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    faults, homes = (list(dict.fromkeys(map(slug, names))) for names in zip(*CELLS, strict=True))
    parser.add_argument("--fault", nargs="+", choices=faults, default=faults)
    parser.add_argument("--home", nargs="+", choices=homes, default=homes)
    parser.add_argument("--runs", type=int, default=1, help="of each; their numbers are added up")
    parser.add_argument("--logs", type=Path, help="a directory for what the processes print")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # which ends what it has started, too
    sys.exit(main())
