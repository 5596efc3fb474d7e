"""The types say what the documentation says: checkers read small programs with known findings."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_docs import PAGES, ROOT, blocks

PROGRAMS = sorted((Path(__file__).parent / "typing").glob("*.py"))
MYPY = ["mypy", "--config-file=", "--strict", "--no-error-summary"]
VIEW = re.compile(r"^class \w+\(.*AsyncView\):", re.MULTILINE)

pytestmark = pytest.mark.timeout(180)


def run(*command: str) -> str:
    """Return what a checker prints; it must not fail for another reason than what it finds."""
    found = subprocess.run(
        [sys.executable, "-m", *command], check=False, capture_output=True, text=True
    )
    assert found.returncode in {0, 1}, found.stdout + found.stderr
    return found.stdout


def pyright(*paths: Path) -> dict[Path, list[tuple[int, str, str]]]:
    """Return line, severity and message of what basedpyright finds in each file."""
    found: dict[Path, list[tuple[int, str, str]]] = {path: [] for path in paths}
    options = ["--pythonpath", sys.executable, "--outputjson"]
    for one in json.loads(run("basedpyright", *options, *map(str, paths)))["generalDiagnostics"]:
        line = one["range"]["start"]["line"] + 1
        found[Path(one["file"])].append((line, one["severity"], one["message"]))
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
    output = run(*MYPY, str(program))
    said: dict[int, tuple[str, str]] = {}
    for line in output.splitlines():
        match = re.search(r":(\d+): (error|note): (.*)", line)
        assert match, output
        said.setdefault(int(match[1]), (match[2], match[3]))
    wanted = expected(program)
    assert said.keys() == wanted.keys()
    for number, (kind, what) in wanted.items():
        assert said[number][0] == kind
        assert what in said[number][1], number


def test_what_pyright_says() -> None:
    """The same types, and errors in the same lines, whatever it calls them."""
    for program, findings in pyright(*PROGRAMS).items():
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


@pytest.fixture
def documented_programs(tmp_path: Path) -> list[Path]:
    """The examples of the documentation that are whole programs with views."""
    found = []
    for page in PAGES:
        for number, block in enumerate(blocks(page)):
            is_program = block.language == "python" and re.match(r"import |from ", block.text)
            if is_program and not block.caption and VIEW.search(block.text):
                found.append(tmp_path / f"{page.stem}_{number}.py")
                found[-1].write_text(block.text)
    return found


def test_checkers_find_nothing_in_the_documentation(documented_programs: list[Path]) -> None:
    assert len(documented_programs) >= 3
    left_out = "--disable-error-code=empty-body"  # handlers that are "..."
    assert run(*MYPY, left_out, *map(str, documented_programs)) == ""
    findings = pyright(*documented_programs)
    wrong = [one for found in findings.values() for one in found if one[1] == "error"]
    assert [one for one in wrong if "must return value" not in one[2]] == []


def test_pyright_finds_nothing_in_the_demo() -> None:
    """What mypy finds there, ``make check`` says."""
    (findings,) = pyright(ROOT / "demo_site" / "views.py").values()
    assert [one for one in findings if one[1] == "error"] == []
