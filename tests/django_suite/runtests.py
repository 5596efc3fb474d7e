"""Run Django's ``runtests.py`` with every request of the test clients served by a given handler.

The test clients make their request objects and signals as ever; the response comes from the async
middleware chain of the handler, on whose class everything depends that is tested. The sync client
waits for it with `async_to_sync`, so sync code runs on the thread, and in the transaction, of the
test. Some tests look at what this changes: that sync code is called from an event loop, which
shows in the call stack, in which thread an exception is logged, or in a count of threads. They
fail on either handler.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import sys
import unittest
from pathlib import Path
from typing import Any

from asgiref.sync import async_to_sync

counts = {"requests": 0, "async requests": 0, "applications": 0}
results: dict[str, str] = {}


class Result(unittest.TextTestResult):
    """Notes what became of each test; of several outcomes (subtests) the worst."""

    def note(self, test: unittest.TestCase, outcome: str) -> None:
        if results.get(test.id()) != "failed":
            results[test.id()] = outcome

    def addSuccess(self, test: Any) -> None:
        super().addSuccess(test)
        self.note(test, "passed")

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, err)
        self.note(test, "failed")

    def addFailure(self, test: Any, err: Any) -> None:
        super().addFailure(test, err)
        self.note(test, "failed")

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.note(test, "failed")

    def addSkip(self, test: Any, reason: str) -> None:
        super().addSkip(test, reason)
        self.note(test, "skipped")

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        super().addExpectedFailure(test, err)
        self.note(test, "expected failure")

    def addUnexpectedSuccess(self, test: Any) -> None:
        super().addUnexpectedSuccess(test)
        self.note(test, "failed")


def serve_with(handler: type) -> None:
    """Have Django's test clients and applications use `handler`."""
    import django.contrib.staticfiles.handlers  # noqa: F401 - its subclass is not ours to change
    from django.core import asgi
    from django.core.handlers import asgi as handlers
    from django.test import client

    class Application(handler):  # type: ignore[misc,valid-type]
        async def __call__(self, *args: Any, **kwargs: Any) -> Any:
            counts["applications"] += 1
            return await super().__call__(*args, **kwargs)

    def load_middleware(self: Any, is_async: bool = False) -> None:
        self.served_by = handler()
        self._middleware_chain = self.served_by._middleware_chain

    def get_response(self: Any, request: Any) -> Any:
        counts["requests"] += 1
        return async_to_sync(self.served_by.get_response_async)(request)

    async def get_response_async(self: Any, request: Any) -> Any:
        counts["async requests"] += 1
        return await self.served_by.get_response_async(request)

    for test_client in (client.ClientHandler, client.AsyncClientHandler):
        test_client.load_middleware = load_middleware
    client.ClientHandler.get_response = get_response
    client.AsyncClientHandler.get_response_async = get_response_async
    Application.__name__ = Application.__qualname__ = "ASGIHandler"
    asgi.ASGIHandler = handlers.ASGIHandler = Application


def save(path: Path) -> None:
    if results:
        path.write_text(json.dumps({**counts, "results": results}, indent=1))


def main(handler: str, path: str, *arguments: str) -> None:
    from django.test.runner import DiscoverRunner
    from django.utils.module_loading import import_string

    serve_with(import_string(handler))
    DiscoverRunner.get_resultclass = lambda self: Result  # type: ignore[method-assign]
    parent = os.getpid()
    atexit.register(lambda: os.getpid() == parent and save(Path(path)))
    tests = Path.cwd()
    sys.argv = ["runtests.py", *arguments]
    sys.path[0] = str(tests)
    runpy.run_path(str(tests / "runtests.py"), run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
