"""``python -m tests.django_suite [suite ...]``: download Django's tests, run them twice, compare.

The tests are those of the Django that is installed. Exit code 1 if a test that passes on Django's
handler does not pass on ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import django

PROJECT = Path(__file__).parents[2]
BUILD = PROJECT / "build" / "django_suite"
RUN = BUILD / f"run-{os.getpid()}"  # logs and results; several may run at once

# The first nine are the point; the others send requests through middleware, too.
SUITES = """
asgi handlers middleware middleware_exceptions csrf_tests sessions_tests messages_tests test_client
async
auth_tests cache conditional_processing context_processors decorators flatpages_tests i18n.patterns
logging_tests redirects_tests requests_tests responses shortcuts sites_tests staticfiles_tests
syndication_tests test_client_regress urlpatterns urlpatterns_reverse view_tests
""".split()

HANDLERS = {
    "django": "django.core.handlers.asgi.ASGIHandler",
    "asyncviews": "asyncviews.asgi.ASGIHandler",
}
PASSED = {"passed", "expected failure"}


def main(suites: list[str]) -> int:
    tests = download_tests()
    print(f"Django {django.get_version()}, Python {sys.version.split()[0]}")
    running = {name: start(tests, name, suites) for name in HANDLERS}
    codes = {name: process.wait() for name, process in running.items()}
    results = {name: read_results(name, codes[name]) for name in HANDLERS}
    return compare(results["django"], results["asyncviews"])


def download_tests() -> Path:
    """Return the folder of the installed Django's tests, from its source distribution."""
    version = django.get_version()
    tests = BUILD / f"django-{version}" / "tests"
    if not tests.is_dir():
        BUILD.mkdir(parents=True, exist_ok=True)
        download = ["download", "--quiet", "--no-deps", "--no-binary", "django"]
        command = [sys.executable, "-m", "pip", *download, f"django=={version}"]
        subprocess.run([*command, "--dest", str(BUILD)], check=True)
        with tarfile.open(BUILD / f"django-{version}.tar.gz") as archive:
            archive.extractall(BUILD, filter="data")
    return tests


def start(tests: Path, name: str, suites: list[str]) -> subprocess.Popen[bytes]:
    """Run the suites on a handler. The two runs need no more than a processor each."""
    RUN.mkdir(exist_ok=True)
    script = Path(__file__).with_name("runtests.py")
    command = [sys.executable, str(script), HANDLERS[name], str(RUN / f"{name}.json")]
    with (RUN / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [*command, "--parallel=1", "--settings=test_sqlite", *(suites or SUITES)],
            cwd=tests,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def read_results(name: str, code: int) -> dict[str, str]:
    """Return what became of each test: 'passed', 'failed', 'skipped' …, by the test's id."""
    path = RUN / f"{name}.json"
    if not path.exists():
        log = (RUN / f"{name}.log").read_text()
        raise SystemExit(f"The run on {HANDLERS[name]} ended with code {code}:\n{log[-4000:]}")
    found = json.loads(path.read_text())
    if not (found["requests"] or found["async requests"] or found["applications"]):
        raise SystemExit(f"{HANDLERS[name]} served nothing, so nothing was tested.")
    counts = Counter(found["results"].values())
    print(
        f"  {HANDLERS[name]}: {found['requests']} requests of the test client, "
        f"{found['async requests']} of the async one, {found['applications']} applications; "
        + ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
    )
    return found["results"]


def compare(expected: dict[str, str], found: dict[str, str]) -> int:
    both = [test for test, was in expected.items() if was == "failed" == found.get(test)]
    worse = [
        test
        for test, outcome in expected.items()
        if outcome in PASSED and found.get(test) not in PASSED
    ]
    if both:
        print(
            f"  {len(both)} fail on both; the bridge in runtests.py, or this machine, is the cause:"
        )
        print(*(f"    {test}" for test in both), sep="\n")
    for test in worse:
        print(f"  REGRESSION {test}: {found.get(test, 'not run')}; see {RUN / 'asyncviews.log'}")
    if not worse:
        print("  No test that passes on Django's handler fails on ours.")
    return len(worse) > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
