"""Names of processes; tests/live/test_operations.py has them of real ones."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from asyncviews.process_title import set_title


def test_with_setproctitle(monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []
    fake = SimpleNamespace(setproctitle=titles.append)
    monkeypatch.setitem(sys.modules, "setproctitle", fake)
    set_title("asyncviews serve")
    assert titles == ["asyncviews serve"]


def test_without_it_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "setproctitle", None)
    set_title("asyncviews serve")
