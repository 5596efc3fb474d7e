"""Background work: calls that outlive the response, bounded, held, drained at shutdown."""

from asyncviews.background.mixin import BackgroundTaskMixin, add_background_task
from asyncviews.background.policy import background_task
from asyncviews.background.runner import (
    BackgroundQueueClosed,
    BackgroundQueueFull,
    Runner,
    Stats,
    runner,
)
from asyncviews.background.task import (
    BackgroundTask,
    Progress,
    State,
    TaskInfo,
    current_task,
)

__all__ = [
    "BackgroundQueueClosed",
    "BackgroundQueueFull",
    "BackgroundTask",
    "BackgroundTaskMixin",
    "Progress",
    "Runner",
    "State",
    "Stats",
    "TaskInfo",
    "add_background_task",
    "background_task",
    "current_task",
    "log_unfinished",
    "runner",
]

log_unfinished = runner.log_unfinished
