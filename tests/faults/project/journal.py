"""One line for each step of a task, from whichever process it takes that."""

import os
import time

from django.conf import settings


def note(step: str, number: int, detail: object) -> None:
    """Append in one call, so that lines of several processes do not mix."""
    line = f"{step} {number} {detail} {os.getpid()} {time.monotonic()}\n"
    journal = os.open(settings.KITCHEN_LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(journal, line.encode())
    os.close(journal)
