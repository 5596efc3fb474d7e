"""The table of faults: how it is counted, what it promises, and that the documentation has it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults import table
from tests.faults.cells import CELLS, Cell, count
from tests.faults.promises import broken
from tests.faults.sites import Accepted, MemorySite
from tests.live.kitchen.processes import Kitchen

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "faults.md"
KEPT = Cell("kill -9", "SQLite", 400, 400, 0, 0, 21, 0, 0, 2.5, 1)


@pytest.mark.parametrize(
    ("changes", "complaints"),
    [
        ({}, []),
        ({"lost": 1, "lost_wrongly": 1}, ["1 lost_wrongly"]),
        ({"home": "memory", "lost": 1, "repeated": 0}, []),
        ({"home": "memory", "repeated": 1}, ["1 begun more than once, where 0 may be"]),
        ({"failed": 2, "running": 3}, ["2 failed", "3 running"]),
        ({"repeated": 22}, ["22 begun more than once, where 21 may be"]),
        ({"fault": "SIGTERM", "repeated": 0}, ["1 lines of ERROR"]),
        ({"notes": ("the poison is READY",)}, ["the poison is READY"]),
    ],
)
def test_what_breaks_a_promise(changes, complaints):
    assert list(broken(replace(KEPT, **changes))) == complaints


def test_runs_are_added_up_and_so_is_what_is_allowed():
    cell = table.total([KEPT, replace(KEPT, seconds=9.5, lost=1, notes=("slow",))])
    assert (cell.enqueued, cell.lost, cell.seconds, cell.notes) == (800, 1, 9.5, ("slow",))
    assert list(broken(cell, 2)) == ["slow"]


def test_what_is_printed_can_be_read_again():
    printed = f"Before.\n\n{table.HEAD}\n{table.row(KEPT)}\n\nAfter."
    assert list(table.parse(printed)) == [KEPT]
    with pytest.raises(ValueError, match="no table with the columns fault, home, enqueued"):
        list(table.parse(printed.replace("| lost |", "| gone |")))


def test_counting(tmp_path):
    """Of five tasks one ends, one begins twice, one fails, and two were never begun.

    One of those two was in a process that is gone, and that is all that memory may lose.
    """
    site = MemorySite(Kitchen(tmp_path, {}, "memory"), 5)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    site.victims.add(gone.pid)
    pid = os.getpid()
    site.accepted = {number: Accepted(str(number), pid) for number in range(4)}
    site.accepted[4] = Accepted("4", gone.pid)
    site.kitchen.ledger.write_text(
        f"begin 0 1 {pid} 10.5\nend 0 1 {pid} 11.0\nfinished 0 SUCCESSFUL {pid} 11.0\n"
        f"begin 1 1 {pid} 10.5\nbegin 1 2 {pid} 10.6\nend 1 2 {pid} 12.0\n"
        f"begin 2 1 {pid} 10.5\nfinished 2 FAILED {pid} 11.0\n"
    )
    cell = count(site, "kill -9", "memory", since=10.0)
    assert cell == Cell("kill -9", "memory", 5, 2, 3, 2, 1, 1, 0, 2.0, 0)
    assert cell.notes == ("2 tasks have not finished: [1, 3]",)


def test_the_documented_table_has_each_fault_and_home_and_keeps_what_is_promised():
    page = PAGE.read_text()
    cells = list(table.parse(page))
    assert [(cell.fault, cell.home) for cell in cells] == CELLS
    runs = re.search(r"--runs (\d+)", page)
    assert runs
    for cell in cells:
        assert list(broken(cell, int(runs[1]))) == []
