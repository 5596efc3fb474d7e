"""Django's async views, finished."""

from asyncviews.background import (
    BackgroundQueueClosed,
    BackgroundQueueFull,
    BackgroundTask,
    BackgroundTaskMixin,
    add_background_task,
    background_task,
    current_task,
)
from asyncviews.parameters import CommaSeparated, InvalidParameters, Path, Query
from asyncviews.resources import Resource, ResourceNotOpen, http_client, resource
from asyncviews.responses import Problem
from asyncviews.views import AsyncView

__all__ = [
    "AsyncView",
    "BackgroundQueueClosed",
    "BackgroundQueueFull",
    "BackgroundTask",
    "BackgroundTaskMixin",
    "CommaSeparated",
    "InvalidParameters",
    "Path",
    "Problem",
    "Query",
    "Resource",
    "ResourceNotOpen",
    "add_background_task",
    "background_task",
    "current_task",
    "http_client",
    "resource",
]
