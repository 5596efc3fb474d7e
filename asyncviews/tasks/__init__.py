"""Homes for the tasks of ``django.tasks``: backends that run them in the processes of the site.

Nothing is imported before it is asked for: Celery imports every module of this name it can find,
and on Django 5.2 the package ``django-tasks`` is needed only by who uses a backend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncviews.durable.backend import DurableBackend
    from asyncviews.tasks.memory import AsyncioBackend

__all__ = ["AsyncioBackend", "DurableBackend"]


def __getattr__(name: str) -> Any:
    if name == "AsyncioBackend":
        from asyncviews.tasks.memory import AsyncioBackend

        return AsyncioBackend
    if name == "DurableBackend":
        from asyncviews.durable.backend import DurableBackend

        return DurableBackend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
