"""The process id file: whose it is, and when it is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from asyncviews.pid_file import PidFileError, held


def test_it_is_there_as_long_as_it_is_held(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with held(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


@pytest.mark.parametrize("content", ["", "1\n", "{own}\n", " 99999999 "])
def test_one_that_was_left_behind_is_replaced(tmp_path: Path, content: str) -> None:
    """Also when its number is that of a process that lives."""
    path = tmp_path / "pid"
    path.write_text(content.format(own=os.getpid()))
    with held(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


def test_one_that_is_held_is_left(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with held(str(path)):
        with (
            pytest.raises(PidFileError, match=rf"{path} is held by process {os.getpid()}, which"),
            held(str(path)),
        ):
            pass
        assert path.exists()


def test_a_file_of_another_kind_is_left(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(PidFileError, match="is no process id file"), held(str(path)):
        pass
    assert path.read_text() == "data"


def test_one_that_cannot_be_written(tmp_path: Path) -> None:
    with (
        pytest.raises(PidFileError, match=r"nowhere/pid: No such file"),
        held(str(tmp_path / "nowhere/pid")),
    ):
        pass
    with pytest.raises(PidFileError, match="Is a directory"), held(str(tmp_path)):
        pass
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PidFileError, match="symbolic link"), held(str(tmp_path / "link")):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_it_can_be_removed_sooner_and_a_later_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with held(str(path)) as remove:
        remove()
        assert not path.exists()
        with held(str(path)):
            remove()
            assert path.exists()


def test_what_a_process_starts_does_not_hold_it(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with held(str(path)):
        command = [sys.executable, "-c", "print(); input()"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        child = subprocess.Popen(command, **pipes, text=True)
        assert child.stdout is not None
        child.stdout.readline()
    try:
        with held(str(path)):
            pass
    finally:
        child.communicate("\n")


def test_one_that_its_owner_removes_meanwhile_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the opening and the lock."""
    path = tmp_path / "pid"
    path.write_text("1\n")
    pread = os.pread

    def read_once(*args: int) -> bytes:
        monkeypatch.setattr(os, "pread", pread)
        path.unlink()
        return pread(*args)

    monkeypatch.setattr(os, "pread", read_once)
    with held(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"
