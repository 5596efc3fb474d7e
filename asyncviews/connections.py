"""Database connections of a thread that serves many requests or tasks, one after the other."""

from __future__ import annotations

import time

from django.db import close_old_connections, connections, reset_queries


def tidy_connections(shared: bool) -> None:
    """Do for a thread what Django does at the beginning and at the end of a request.

    While the thread is `shared`, connections outlive their ``CONN_MAX_AGE``, whoever asks for them
    to be closed: someone may be between two chunks of a query. Broken ones are closed in any case.
    """
    reset_queries()
    for connection in connections.all(initialized_only=True):
        max_age = connection.settings_dict["CONN_MAX_AGE"]
        if shared:
            connection.close_at = None
        elif connection.close_at is None and max_age is not None:
            connection.close_at = time.monotonic() + max_age
    close_old_connections()


close_connections = connections.close_all
"""End what a thread leaves behind."""
