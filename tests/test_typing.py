"""The types say what the documentation says: checkers read small programs with known findings."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from tests.test_docs import PAGES, ROOT, blocks

PROGRAMS = sorted((Path(__file__).parent / "typing").glob("*.py"))
DEMO = ROOT / "demo_site" / "views.py"
MYPY = ["mypy", "--config-file=", "--strict", "--no-error-summary", "--cache-dir"]
MYPY += [f"{ROOT}/.mypy_cache/typing", "--disable-error-code=empty-body"]  # handlers that are "..."
VIEW = re.compile(r"^class \w+\(.*AsyncView\):", re.MULTILINE)

pytestmark = [pytest.mark.once_in_ci, pytest.mark.timeout(180)]

Finding = tuple[int, str, str]
"""A line, what it is ("error", "note", "information"), and what the checker says."""


def run(*command: str) -> str:
    """Return what a checker prints; it must not fail for another reason than what it finds."""
    found = subprocess.run(
        [sys.executable, "-m", *command], check=False, capture_output=True, text=True
    )
    assert found.returncode in {0, 1}, found.stdout + found.stderr
    return found.stdout


@cache
def documented() -> dict[str, str]:
    """The examples of the documentation that are whole programs with views, by a name."""
    return {
        f"{page.stem}_{number}.py": block.text
        for page in PAGES
        for number, block in enumerate(blocks(page))
        if block.language == "python" and not block.caption and is_program(block.text)
    }


def is_program(text: str) -> bool:
    return bool(re.match(r"import |from ", text) and VIEW.search(text))


@contextmanager
def checked() -> Iterator[list[Path]]:
    """All that the checkers read, each in one run."""
    with tempfile.TemporaryDirectory() as directory:
        for name, text in documented().items():
            (Path(directory) / name).write_text(text)
        yield [*PROGRAMS, *sorted(Path(directory).iterdir()), DEMO]


@cache
def mypy() -> dict[str, list[Finding]]:
    """What it finds, by the name of the file. What it finds in the demo, ``make check`` says."""
    with checked() as paths:
        found: dict[str, list[Finding]] = {path.name: [] for path in paths if path != DEMO}
        output = run(*MYPY, *(str(path) for path in paths if path != DEMO))
    for line in output.splitlines():
        match = re.fullmatch(r"(.+\.py):(\d+): (error|note): (.*)", line)
        assert match, output
        found[Path(match[1]).name].append((int(match[2]), match[3], match[4]))
    return found


@cache
def pyright() -> dict[str, list[Finding]]:
    """What basedpyright finds, by the name of the file."""
    with checked() as paths:
        found: dict[str, list[Finding]] = {path.name: [] for path in paths}
        options = ["--pythonpath", sys.executable, "--outputjson"]
        output = json.loads(run("basedpyright", *options, *map(str, paths)))
    for one in output["generalDiagnostics"]:
        line = one["range"]["start"]["line"] + 1
        found[Path(one["file"]).name].append((line, one["severity"], one["message"]))
    return found


def expected(program: Path) -> dict[int, tuple[str, str]]:
    """Return what the comments of a program expect: for each line whether an error, and what."""
    return {
        number: (kind, what)
        for number, line in enumerate(program.read_text().splitlines(), 1)
        for kind, what in re.findall(r"  # (error|note): ([^#]*\w\S*)", line)
    }


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_what_mypy_says(program: Path) -> None:
    said: dict[int, tuple[str, str]] = {}
    for line, kind, what in mypy()[program.name]:
        said.setdefault(line, (kind, what))
    wanted = expected(program)
    assert said.keys() == wanted.keys()
    for number, (kind, what) in wanted.items():
        assert said[number][0] == kind
        assert what in said[number][1], number


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_what_pyright_says(program: Path) -> None:
    """The same types, and errors in the same lines, whatever it calls them."""
    findings = pyright()[program.name]
    types = {line: text for line, severity, text in findings if severity == "information"}
    errors = {line for line, severity, _ in findings if severity == "error"}
    wanted = expected(program)
    assert errors == {line for line, (kind, _) in wanted.items() if kind == "error"}
    notes = {line: what for line, (kind, what) in wanted.items() if kind == "note"}
    assert types.keys() == notes.keys()
    for line, what in notes.items():
        # It leaves out the modules of names.
        plain = re.sub(r"[a-z_.]+[.](?=[A-Z])", "", what)
        assert f' is "{plain}' in types[line]


def test_checkers_find_nothing_in_the_documentation() -> None:
    assert len(documented()) >= 3
    for name in documented():
        assert mypy()[name] == []
        wrong = [one for one in pyright()[name] if one[1] == "error"]
        assert [one for one in wrong if "must return value" not in one[2]] == []


def test_pyright_finds_nothing_in_the_demo() -> None:
    """What mypy finds there, ``make check`` says."""
    assert [one for one in pyright()[DEMO.name] if one[1] == "error"] == []
