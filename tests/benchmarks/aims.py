"""What the project has set itself: ratios between two things that were measured in one run."""

from __future__ import annotations

from dataclasses import dataclass

from tests.benchmarks.concurrency import CASES, NOTHING
from tests.benchmarks.rates import PROCESSOR

Found = dict[str, float]


@dataclass(frozen=True)
class Aim:
    """A ratio of `ours` to `theirs` in a benchmark, or without `theirs` a value."""

    benchmark: str
    ours: str
    theirs: str | None
    at_most: float | None = None
    at_least: float | None = None

    def verdict(self, results: dict[str, Found]) -> str | None:
        """Return a line that says whether it is met, None if it has not been measured."""
        found = results.get(self.benchmark, {})
        if self.ours not in found or (self.theirs and self.theirs not in found):
            return None
        value = found[self.ours] / (found[self.theirs] if self.theirs else 1)
        if self.at_least is not None:
            met, limit = value >= self.at_least, f"at least {self.at_least:.3f}"
        else:
            assert self.at_most is not None
            met, limit = value <= self.at_most, f"at most {self.at_most:.3f}"
        against = f" : {self.theirs}" if self.theirs else ""
        verdict = "met" if met else "NOT met"
        return f"  {verdict:8} {value:6.3f} ({limit})  {self.benchmark}: {self.ours}{against}"


# Of requests per second. What WSGI is good at is the measure for views with and without await.
RATES = [
    ("ours, uvicorn: sync, no query", "gunicorn gthread: sync, no query", 1.2),
    ("ours, uvicorn: sync, 1 get()", "gunicorn gthread: sync, 1 get()", 1.2),
    ("ours, uvicorn: sync, 20 get()", "gunicorn gthread: sync, 20 get()", 1.0),
    ("ours, uvicorn: async, 1 aget()", "gunicorn gthread: sync, 1 get()", 1.1),
    ("ours, uvicorn: async, 20 aget()", "gunicorn gthread: sync, 20 get()", 0.95),
    ("ours, async backend: async, 1 aget()", "gunicorn gthread: sync, 1 get()", 1.2),
    ("ours, async backend: async, 20 aget()", "gunicorn gthread: sync, 20 get()", 1.2),
    ("ours, uvicorn: async, 1 aget()", "FastAPI, uvicorn: async, 1 aget()", 1.0),
    ("ours, uvicorn: async, 20 aget()", "FastAPI, uvicorn: async, 20 aget()", 0.9),
    ("ours, async backend: async, 1 aget()", "FastAPI, uvicorn: async, 1 aget()", 1.0),
    ("ours, async backend: async, 20 aget()", "FastAPI, uvicorn: async, 20 aget()", 1.0),
]
OURS, THEIRS = "asyncview@asyncviews", "asyncview@django"
AIMS = [
    # Ratios of time
    Aim("in_process_startproject", OURS, THEIRS, at_most=1 / 20),
    Aim("smoke_served", f"hypercorn, {OURS}", f"hypercorn, {THEIRS}", at_most=1 / 6),
    Aim("in_process", OURS, "fastapi", at_most=1.0),
    Aim("in_process_startproject", OURS, "fastapi", at_most=1.5),
    Aim("sync_views", "asyncviews", "django, WSGI", at_most=1.8),
    Aim("bodies", OURS, "fastapi", at_most=1.3),
    Aim("bodies", OURS, "ninja@asyncviews", at_most=1.0),
    Aim("bodies", OURS, "modern_rest@asyncviews", at_most=1.0),
    Aim(
        "database",
        "asyncviews, PostgreSQL, CONN_MAX_AGE=60",
        "django, PostgreSQL, CONN_MAX_AGE=60",
        at_most=1 / 8,
    ),
    Aim("waiting_in_process", "function@asyncviews", None, at_most=1.3),
    Aim("background", "add_background_task, to add it", "create_task, to add it", at_most=3.0),
    Aim("waiting", "hypercorn, function@asyncviews", None, at_most=1.3),
    Aim("hops", "asyncviews, the first", "bare, the first", at_most=1.5),
    Aim("hops", "asyncviews, each further", "bare, each further", at_most=1.1),
    *(
        Aim("concurrency", f"{case}: {count} asyncviews", f"{NOTHING}: {count} asyncviews", 1.3)
        for count in (100, 1000)
        for case in CASES
        if case != NOTHING
    ),
    *(Aim("rates", ours, theirs, at_least=ratio) for ours, theirs, ratio in RATES),
    # The same of the processor: what else a machine does takes less from who has more threads
    *(
        Aim("rates", f"{ours}, {PROCESSOR}", f"{theirs}, {PROCESSOR}", at_most=1 / ratio)
        for ours, theirs, ratio in RATES
    ),
]
