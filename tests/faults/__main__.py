"""``python -m tests.faults``: strike each home of tasks with each fault; print what was counted.

Exit code 1 if a promise was not kept.
"""

from __future__ import annotations

import argparse
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.faults import table
from tests.faults.cells import CELLS, measure
from tests.faults.promises import broken


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    complaints = []
    print(table.HEAD, flush=True)
    for fault, home in CELLS:
        if slug(fault) in options.fault and slug(home) in options.home:
            complaints += [f"{fault}, {home}: {what}" for what in strike(fault, home, options)]
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return int(bool(complaints))


def strike(fault: str, home: str, options: argparse.Namespace) -> list[str]:
    """Measure a cell, and print it; return what was not kept."""
    log = options.logs and options.logs / f"{slug(fault)}-{slug(home)}.log"
    try:
        cell = table.total(
            [measure(fault, home, tasks=options.tasks, log=log) for _ in range(options.runs)]
        )
    except Exception:  # noqa: BLE001 - the other cells are measured all the same
        return [traceback.format_exc()]
    print(table.row(cell), flush=True)
    return list(broken(cell, options.runs))


def slug(name: str) -> str:
    return name.split(maxsplit=1)[0].lower()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    faults, homes = (list(dict.fromkeys(map(slug, names))) for names in zip(*CELLS, strict=True))
    parser.add_argument("--fault", nargs="+", choices=faults, default=faults)
    parser.add_argument("--home", nargs="+", choices=homes, default=homes)
    parser.add_argument("--runs", type=int, default=1, help="of each; their numbers are added up")
    parser.add_argument("--tasks", type=int, default=400, help="in each run; a multiple of 40")
    parser.add_argument("--logs", type=Path, help="a directory for what the processes print")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # which ends what it has started, too
    sys.exit(main())
