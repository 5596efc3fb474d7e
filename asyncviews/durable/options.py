"""``OPTIONS`` of a `DurableBackend` in ``TASKS``."""

from __future__ import annotations

from pydantic import Field

from asyncviews.background.policy import Seconds
from asyncviews.tasks.options import Options


class DurableOptions(Options):
    """What is particular to durable tasks."""

    lease: float = Field(default=30.0, ge=0.5)
    """Seconds within which another process takes over what a killed one held."""

    poll_interval: Seconds = 1.0
    """Seconds between two looks for tasks that other processes have enqueued."""

    history_age: Seconds = 7 * 24 * 3600.0
    """Seconds for which results are kept."""

    max_interruptions: int = Field(default=5, ge=1)
    """How many processes may end while they run a task before it has failed."""
