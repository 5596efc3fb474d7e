"""Which tests run, and in which order.

Where it is decided whether work lands nothing may be missing, and what does not depend on the versions
of Python and Django is tested with one pair of them.
"""

from __future__ import annotations

import os
from itertools import pairwise

import pytest


def is_ci() -> bool:
    return os.environ.get("CI") == "true"


@pytest.hookimpl(trylast=True)  # after pytest-randomly
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not for this pair, and have every process of pytest-xdist begin with its
    share of those that wait for servers: the many quick ones fill up what is left of the time."""
    once, others = _split(items, "once_in_ci")
    if is_ci() and "SERVERS" not in os.environ:
        config.hook.pytest_deselected(items=once)
        items[:] = others
    live, others = _split(items, "live")
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    shares = zip(_shares(live, count), _shares(others, count), strict=True)
    items[:] = [item for share in shares for part in share for item in part]


def _split(items: list[pytest.Item], marker: str) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Return those with a marker, and those without."""
    marked = [item for item in items if item.get_closest_marker(marker)]
    return marked, [item for item in items if not item.get_closest_marker(marker)]


def _shares(items: list[pytest.Item], count: int) -> list[list[pytest.Item]]:
    """Return as many parts as there are processes; ``--dist worksteal`` begins with such."""
    bounds = [len(items) * number // count for number in range(count + 1)]
    return [items[start:end] for start, end in pairwise(bounds)]
