"""The types say what the documentation says: mypy reads small programs with the expected findings."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "typing"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("program", sorted(path.name for path in PROGRAMS.glob("*.py")))
def test_what_a_type_checker_says(program):
    path = PROGRAMS / program
    command = [sys.executable, "-m", "mypy", "--config-file=", "--strict", "--no-error-summary"]
    found = subprocess.run([*command, str(path)], check=False, capture_output=True, text=True)
    said: dict[int, str] = {}
    for line in found.stdout.splitlines():
        match = re.search(r":(\d+): (error|note): (.*)", line)
        assert match, found.stdout + found.stderr
        said.setdefault(int(match[1]), f"{match[2]}: {match[3]}")
    lines = path.read_text().splitlines()
    expected = {
        number: comment
        for number, line in enumerate(lines, 1)
        for comment in re.findall(r"  # ((?:error|note): .*)", line)
    }
    assert said.keys() == expected.keys()
    for number, comment in expected.items():
        kind, _, what = comment.partition(": ")
        assert said[number].startswith(kind)
        assert what in said[number], lines[number - 1]
