"""What is different where it is decided whether work lands: nothing may be missing there, and what
does not depend on the versions of Python and Django is tested with one pair of them."""

from __future__ import annotations

import os

import pytest


def is_ci() -> bool:
    return os.environ.get("CI") == "true"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked ``once_in_ci``, but with the pair for which ``SERVERS`` is set."""
    if not is_ci() or "SERVERS" in os.environ:
        return
    once = [item for item in items if item.get_closest_marker("once_in_ci")]
    config.hook.pytest_deselected(items=once)
    items[:] = [item for item in items if not item.get_closest_marker("once_in_ci")]
