"""Database connections of threads that serve many requests or tasks, one after the other."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakSet, ref

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.functional import cached_property

from asyncviews.internals import CONNECTION_STATE, move_connection_here
from asyncviews.threads import NOTHING_OPEN, Resources, State

logger = logging.getLogger("asyncviews.threads")

_WATCH = "_asyncviews_watch"

_SETS_UP = re.compile(
    r"\s*(?:(?:set|reset|use|pragma|listen|declare|prepare)\s"
    r"|alter\s+session\s|create\s+(?:\w+\s+)?temp)",
    re.IGNORECASE,
)
_CALLS_THAT_SET_UP = ("set_config(", "advisory_lock(", "get_lock(")


class Connections(Resources):
    """All database connections of a thread."""

    def tidy(self, *, shared: bool) -> None:
        """Do for a thread what Django does at the beginning and at the end of a request.

        While they are `shared`, connections outlive their ``CONN_MAX_AGE``, whoever asks for them to
        be closed: another lease may be between two calls. Broken ones are closed in any case, and so
        are those in a transaction, which nobody is left to end.
        """
        # As reset_queries() and close_old_connections() do, but in one pass.
        for connection in connections.all():
            connection.queries_log.clear()
            if connection.in_atomic_block:
                connection = _rolled_back(connection)  # noqa: PLW2901
            max_age = connection.settings_dict["CONN_MAX_AGE"]
            if shared:
                connection.close_at = None
            elif connection.close_at is None and max_age is not None:
                connection.close_at = time.monotonic() + max_age
            connection.close_if_unusable_or_obsolete()
            _watch(connection)

    def state(self) -> State:
        held = set_up = half_read = closing = False
        for connection in connections.all():
            watch = vars(connection).get(_WATCH)
            if watch is not None:
                half_read = half_read or bool(watch.cursors)
                set_up, watch.set_up = set_up or watch.set_up, False
            if connection.in_atomic_block:
                held = True
            if connection.connection is not None:
                at_end = connection.settings_dict["CONN_MAX_AGE"] == 0
                closing = closing or at_end or connection.errors_occurred
        if held or set_up or half_read or closing:
            return State(held, set_up, half_read, closing)
        return NOTHING_OPEN

    def reconfigured(self) -> bool:
        return any(
            watch.made != _made(connection)
            for connection in connections.all()
            if (watch := vars(connection).get(_WATCH)) is not None
        )

    def take(self) -> dict[str, BaseDatabaseWrapper]:
        taken = {connection.alias: connection for connection in connections.all()}
        for alias in taken:
            del connections[alias]
        return taken

    def put(self, taken: dict[str, BaseDatabaseWrapper]) -> None:
        for alias, connection in taken.items():
            move_connection_here(connection)
            connections[alias] = connection

    def renew(self) -> None:
        for connection in connections.all():
            connection.close()
            del connections[connection.alias]

    def close(self) -> None:
        connections.close_all()


def _rolled_back(connection: BaseDatabaseWrapper) -> BaseDatabaseWrapper:
    """Close a connection in a transaction, and return a new one in its place.

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
    return connections[connection.alias]


class _Watch:
    """What calls do with a connection that later ones, or those of others, would notice."""

    __slots__ = ("cursors", "made", "set_up")

    def __init__(self) -> None:
        self.cursors: WeakSet[Any] = WeakSet()
        """Those of queries with ``iterator()`` or ``aiterator()`` that are half read."""
        self.set_up = False
        """Whether the session was changed, as by ``SET ROLE``."""
        self.made: dict[str, Any] = {}
        """How the connection was configured when it was made."""

    def execute(self, execute: Callable[..., Any], sql: Any, *args: Any) -> Any:
        """See a query; to be among a connection's ``execute_wrappers``."""
        text = sql if isinstance(sql, str) else str(sql)
        if _SETS_UP.match(text) or any(call in text for call in _CALLS_THAT_SET_UP):
            self.set_up = True
        return execute(sql, *args)


def _watch(connection: BaseDatabaseWrapper) -> None:
    """Watch a connection; before it connects: the query that connects it may be the half-read one."""
    if _WATCH not in vars(connection):
        watch = _Watch()
        setattr(connection, _WATCH, watch)
        vars(connection)["chunked_cursor"] = partial(_remembered, ref(connection), watch.cursors)
        connection.execute_wrappers.append(watch.execute)
        watch.made = _made(connection)


def _remembered(owner: ref[BaseDatabaseWrapper], cursors: WeakSet[Any]) -> Any:
    connection: Any = owner()
    cursor = type(connection).chunked_cursor(connection)
    cursors.add(cursor)
    return cursor


def _made(connection: BaseDatabaseWrapper) -> dict[str, Any]:
    """Return what is not as any connection has it, as it is now, to be compared by identity."""
    cls, values = type(connection), vars(connection)
    found = {
        name: id(values[name])
        for name in values.keys() - CONNECTION_STATE
        if not isinstance(getattr(cls, name, None), cached_property)
    }
    found["execute_wrappers"] = len(connection.execute_wrappers)
    return found
