"""What systemd is told of a service with ``Type=notify``: sd_notify(3), which is a datagram.

Without systemd nothing is sent.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

SOCKET = "NOTIFY_SOCKET"
WATCHDOG = ("WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """Tells systemd of this process, if systemd has started it and wants to know.

    The variables are taken out of the environment: what this process starts does not speak for it.
    """

    def __init__(self) -> None:
        self._address = os.environ.pop(SOCKET, "")
        interval, pid = (os.environ.pop(name, "") for name in WATCHDOG)
        ours = self._address and pid in {"", str(os.getpid())} and interval.isdecimal()
        self.watchdog = int(interval) / 1_000_000 if ours else 0.0
        """Seconds within which systemd wants a sign of life, or 0 if it wants none."""

    def ready(self, status: str = "") -> None:
        """Say that the service is up, or up again after `reloading()`."""
        self._send("READY=1", *([f"STATUS={status}"] if status else []))

    def reloading(self) -> None:
        # With the time Type=notify-reload tells which READY answers which reload.
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self) -> None:
        self._send("STOPPING=1", "STATUS=Draining.")

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):  # of the abstract namespace
            address = "\0" + address[1:]
        # Nobody listens, or does so slowly: the service goes on as it would without systemd.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto("\n".join(lines).encode(), address)
