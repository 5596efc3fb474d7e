"""What CI needs once is run once there, and whenever somebody runs the tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.timeout(120)

CONFTEST = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from tests.ci import pytest_collection_modifyitems
"""
TESTS = """
import pytest

def test_it():
    pass

@pytest.mark.once_in_ci
def test_once():
    pass
"""


@pytest.mark.parametrize(
    ("environment", "passed"),
    [({}, 2), ({"CI": "true"}, 1), ({"CI": "true", "SERVERS": "1"}, 2)],
)
def test_ci_runs_some_tests_with_one_pair_only(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    passed: int,
) -> None:
    for name in ("CI", "SERVERS", "DJANGO_SETTINGS_MODULE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    pytester.makeini("[pytest]\nmarkers = once_in_ci")
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(TESTS)
    unused = ("asyncio", "asyncviews", "django", "hypothesispytest", "schemathesis", "xdist")
    without = [f"-pno:{plugin}" for plugin in unused]
    result = pytester.run(sys.executable, "-m", "pytest", *without, timeout=100)
    result.assert_outcomes(passed=passed, deselected=2 - passed)
