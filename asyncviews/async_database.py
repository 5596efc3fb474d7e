"""Asynchronous database connections, where the project has django-async-backend 6.1 or newer.

Its connections belong to the asyncio task that first uses them. It closes those of a request itself,
when it receives ``request_finished``, which the handler awaits in the request's task.
"""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from django.apps import apps

APP = "django_async_backend"


def is_used() -> bool:
    """Whether the project has it among its ``INSTALLED_APPS``.

    Before 6.1 it had no `async_new_connection()`, and left the end of a connection to a middleware.
    """
    if APP not in sys.modules or not apps.is_installed(APP):
        return False
    from django_async_backend import db

    return hasattr(db, "async_new_connection")


def own_connections() -> AbstractAsyncContextManager[None]:
    """Have what runs in a block use connections of its own, which are closed at the block's end.

    A task that a request has started has inherited those of the request with its context, and could
    neither use nor close them.
    """
    if not is_used():
        return nullcontext()
    from django_async_backend.db import async_new_connection

    block: AbstractAsyncContextManager[None] = async_new_connection()
    return block


def async_atomic(**options: Any) -> AbstractAsyncContextManager[None]:
    """Return an asynchronous transaction with the options of Django's ``transaction.atomic()``."""
    from django_async_backend.db.transaction import async_atomic

    options.setdefault("using", None)
    block: AbstractAsyncContextManager[None] = async_atomic(**options)
    return block
