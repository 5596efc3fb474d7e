"""The command that measures faults runs, and prints what it has measured."""

from __future__ import annotations

import pytest

from tests.faults import table
from tests.faults.__main__ import main

pytestmark = [pytest.mark.live, pytest.mark.timeout(60)]


def test_a_cell_is_measured(capsys, tmp_path):
    options = ["--tasks", "80", "--logs", str(tmp_path)]
    assert main(["--fault", "kill", "--home", "memory", *options]) == 0
    (cell,) = table.parse(capsys.readouterr().out)
    assert (cell.fault, cell.home, cell.enqueued) == ("kill -9", "memory", 80)
    assert cell.ended >= 20  # when it was killed
    assert 0 < cell.lost == 80 - cell.ended
    assert "signal 9" in (tmp_path / "kill-memory.log").read_text()
