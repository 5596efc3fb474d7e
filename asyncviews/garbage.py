"""The garbage collector of a process that serves."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

THRESHOLD = 20_000
"""Objects after which the youngest generation is collected; a small request makes a few hundred."""

DEFAULTS = {(700, 10, 10), (2000, 10, 10), (2000, 10, 0)}
"""What the interpreters of Python 3.11 to 3.14 begin with."""


@contextmanager
def collected_rarely() -> Iterator[None]:
    """Have the collector pass over what the start has made, and come less often, for a block.

    What a project imports lives as long as the process, and each full collection would look at all of
    it again. Thresholds that somebody has set are left, as are objects that were frozen before.
    """
    threshold, frozen = gc.get_threshold(), gc.get_freeze_count()
    gc.collect()
    gc.freeze()
    if threshold in DEFAULTS:
        gc.set_threshold(THRESHOLD, *threshold[1:])
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
        if not frozen:
            gc.unfreeze()
