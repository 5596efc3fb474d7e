"""Bounded pools of threads that outlive those who use them.

A `Lease` is an executor whose calls run in order on threads of a pool. To run, a call needs a thread
and a *place*: the right to work, and the database connections that go with it. There are few places;
threads that only wait have none. Between two calls a lease keeps neither, unless something is open:
in a transaction it keeps both, and while a query is half read it comes back to the same place. A
request's lease, too, keeps its thread from its first call before the view to the response: middleware
may have left something in thread-locals.

A place stays with the thread that used it last. Only where a thread is kept without working do the
connections move to another.
"""

from asyncviews.threads.leases import Lease
from asyncviews.threads.places import NOTHING_OPEN, NoThreadAvailable, Resources, State
from asyncviews.threads.pool import ThreadPool

__all__ = ["NOTHING_OPEN", "Lease", "NoThreadAvailable", "Resources", "State", "ThreadPool"]
