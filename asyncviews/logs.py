"""For which request or background task code runs, as fields of log records."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextvars import Context, copy_context
from typing import Any

from asyncviews.background.task import task_in
from asyncviews.handler import request_in
from asyncviews.text import printable
from asyncviews.urlconf import view_path

FIELDS = (
    "task_id",
    "task_name",
    "task_origin",
    "task_attempt",
    "request_method",
    "request_path",
    "view",
)
"""The names of the fields of which a record has those that fit."""


def context_fields(context: Context) -> Mapping[str, Any]:
    """Return the fields of the background task, or else of the request, that `context` is of."""
    if (task := task_in(context)) is not None:
        return task.log_fields()
    if (request := request_in(context)) is None:
        return {}
    match = request.resolver_match
    return {
        "request_method": printable(request.method or ""),
        "request_path": printable(request.path),
        "view": view_path(match.func) if match else None,
    }


class ContextFilter(logging.Filter):
    """Gives every log record all `FIELDS`, None where one says nothing.

    It belongs to a handler of the project's ``LOGGING``, and lets every record pass.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        fields = context_fields(copy_context())
        for name in FIELDS:
            if not hasattr(record, name):  # what the record says itself is nearer
                setattr(record, name, fields.get(name))
        return True
