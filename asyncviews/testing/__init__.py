"""What tests need: the lifespan, background tasks that a test controls, blocking calls that fail.

None of it needs pytest; for pytest, which finds `asyncviews.pytest_plugin` by itself, there are
fixtures.
"""

from asyncviews.testing.background import Background
from asyncviews.testing.blocking import BlockingCall, no_blocking_calls
from asyncviews.testing.client import AsyncClient, Client
from asyncviews.testing.testcase import AsyncViewTestMixin

__all__ = [
    "AsyncClient",
    "AsyncViewTestMixin",
    "Background",
    "BlockingCall",
    "Client",
    "no_blocking_calls",
]
