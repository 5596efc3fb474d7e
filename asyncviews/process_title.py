"""What `ps` and `top` show of a process."""

from __future__ import annotations

from contextlib import suppress


def set_title(title: str) -> None:
    """Have the process shown as `title`, if setproctitle is installed: ``asyncviews[proctitle]``."""
    with suppress(ImportError):
        from setproctitle import setproctitle

        setproctitle(title)
