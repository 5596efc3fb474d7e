"""A file with the process id of a server, as long as that runs.

Its process holds a lock on it. So a file left behind by a crash is told from one that is in use even
when its number has become that of another process.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class PidFileError(RuntimeError):
    """The file cannot be written, or is that of another process; the message says which."""


@contextmanager
def held(path: str) -> Iterator[Callable[[], None]]:
    """Have the file there in this block, which is given what removes it sooner.

    Raises:
        PidFileError: another process holds it, it is something else, or it cannot be written.
    """
    if fcntl is None:
        raise PidFileError("A process id file needs a POSIX system.")
    try:
        descriptor = _take(path)
    except OSError as exc:
        raise PidFileError(f"Cannot write the process id file {path}: {exc.strerror}.") from exc

    def remove() -> None:
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), Path(path).stat()):
                Path(path).unlink()

    try:
        yield remove
    finally:
        remove()
        os.close(descriptor)  # and with it the lock


def _take(path: str) -> int:
    """Return a locked descriptor of the file, with this process' id in it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            if _lock(descriptor, path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, path: str) -> bool:
    """Lock a file; tell whether it is still the one at `path`, and not just removed by its owner."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(descriptor, 100, 0).decode("ascii", "replace").strip() or "unknown"
        raise PidFileError(f"{path} is held by process {pid}, which is running.") from None
    if not re.fullmatch(rb"\s*[0-9]*\s*", os.pread(descriptor, 100, 0)):
        raise PidFileError(f"{path} is no process id file, and is left as it is.")
    try:
        return os.path.samestat(os.fstat(descriptor), Path(path).stat())
    except FileNotFoundError:
        return False
