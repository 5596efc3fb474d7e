"""Database connections of a thread that serves many requests or tasks, one after the other."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import Any
from weakref import WeakSet, ref

from django.db import close_old_connections, connections, reset_queries
from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger("asyncviews.threads")

_CURSORS = "_asyncviews_cursors"


def tidy_connections(shared: bool) -> None:
    """Do for a thread what Django does at the beginning and at the end of a request.

    While the thread is `shared`, connections outlive their ``CONN_MAX_AGE``, whoever asks for them
    to be closed: another lease may be between two calls. Broken ones are closed in any case, and so
    are those in a transaction, which nobody is left to end.
    """
    reset_queries()
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            _roll_back(connection)
            continue
        max_age = connection.settings_dict["CONN_MAX_AGE"]
        if shared:
            connection.close_at = None
        elif connection.close_at is None and max_age is not None:
            connection.close_at = time.monotonic() + max_age
    close_old_connections()
    for connection in connections.all():
        _remember_cursors(connection)


def _roll_back(connection: BaseDatabaseWrapper) -> None:
    """Close a connection in a transaction, and have the thread make a new one.

    The object itself stays in its ``atomic`` block for ever, and refuses every query.
    """
    logger.error(
        "A transaction of the database %r was left open, and is rolled back. A request that is "
        "cancelled between the two ends of an `atomic` block leaves it so; in_transaction() does "
        "not.",
        connection.alias,
    )
    try:
        connection.close()
    finally:
        del connections[connection.alias]


def transaction_is_open() -> bool:
    """Whether a connection of this thread is in an ``atomic`` block."""
    return any(connection.in_atomic_block for connection in connections.all(initialized_only=True))


def query_is_open() -> bool:
    """Whether a query of this thread, with ``iterator()`` or ``aiterator()``, is half read."""
    return any(
        vars(connection).get(_CURSORS) for connection in connections.all(initialized_only=True)
    )


def _remember_cursors(connection: BaseDatabaseWrapper) -> None:
    """Have a connection remember the cursors of half-read queries, for as long as those live.

    Before it connects: the query that connects it may be the one that is half read.
    """
    if _CURSORS not in vars(connection):
        cursors: WeakSet[Any] = WeakSet()
        setattr(connection, _CURSORS, cursors)
        vars(connection)["chunked_cursor"] = partial(_remembered, ref(connection), cursors)


def _remembered(owner: ref[BaseDatabaseWrapper], cursors: WeakSet[Any]) -> Any:
    connection: Any = owner()
    cursor = type(connection).chunked_cursor(connection)
    cursors.add(cursor)
    return cursor


close_connections = connections.close_all
"""End what a thread leaves behind."""
