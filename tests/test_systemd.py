"""What systemd is told; tests/live/test_operations.py has it of real processes."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncviews.systemd import Notifier


@pytest.fixture(params=["path", "abstract"])
def systemd(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """The socket on which systemd listens, as the environment names it."""
    path = str(tmp_path / "notify")
    abstract = request.param == "abstract"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{path}" if abstract else path)
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{path}" if abstract else path)
        yield listener


def test_what_is_sent(systemd: socket.socket) -> None:
    notifier = Notifier()
    notifier.ready("Serving.")
    assert systemd.recv(1000) == b"READY=1\nSTATUS=Serving."
    notifier.reloading()
    kind, _, moment = systemd.recv(1000).partition(b"\nMONOTONIC_USEC=")
    assert kind == b"RELOADING=1"
    assert moment.isdigit()
    notifier.ready()
    assert systemd.recv(1000) == b"READY=1"
    notifier.alive()
    assert systemd.recv(1000) == b"WATCHDOG=1"
    notifier.stopping()
    assert systemd.recv(1000) == b"STOPPING=1\nSTATUS=Draining."


@pytest.mark.parametrize(
    ("interval", "pid", "seconds"),
    [
        ("30000000", "own", 30.0),
        ("500000", None, 0.5),
        ("30000000", "1", 0.0),  # of another process
        ("soon", None, 0.0),
        (None, None, 0.0),
    ],
)
def test_the_watchdog(
    systemd: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    interval: str | None,
    pid: str | None,
    seconds: float,
) -> None:
    for name, value in {"WATCHDOG_USEC": interval, "WATCHDOG_PID": pid}.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value.replace("own", str(os.getpid())))
    assert Notifier().watchdog == seconds


def test_what_is_started_does_not_speak_for_the_service(systemd: socket.socket) -> None:
    Notifier()
    assert "NOTIFY_SOCKET" not in os.environ


def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    notifier = Notifier()
    notifier.ready()
    assert notifier.watchdog == 0


def test_a_systemd_that_is_gone_does_no_harm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    Notifier().ready()


def test_one_that_does_not_listen_does_not_hold_the_event_loop(systemd: socket.socket) -> None:
    notifier = Notifier()
    for _ in range(10_000):
        notifier.alive()
