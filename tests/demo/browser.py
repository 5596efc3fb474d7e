"""A headless Chromium, driven over the pipe that its DevTools protocol offers: no driver needed."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")

# Chromium reads commands from descriptor 3 and writes answers to 4.
_LAUNCH = """
import os, sys
commands, answers, *command = sys.argv[1:]
os.dup2(int(commands), 3)
os.dup2(int(answers), 4)
os.execv(command[0], command)
"""


class NavigationError(RuntimeError):
    """The page was left before it could answer."""


OPTIONS = [
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-component-update",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
]  # a page in the background is as quick as one in front


class Chromium:
    """A Chromium with pages that share nothing; a context manager that ends it."""

    def __init__(self, profile: Path, *, timeout: float = 40.0) -> None:
        self.timeout = timeout
        self._numbers = itertools.count(1)
        self._received = b""
        commands, self._commands = map(_above_4, os.pipe())
        self._answers, answers = map(_above_4, os.pipe())
        command = [sys.executable, "-c", _LAUNCH, str(commands), str(answers), str(CHROMIUM)]
        self._process = subprocess.Popen(
            [*command, *OPTIONS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(commands, answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._commands)
        os.close(self._answers)

    @contextmanager
    def page(self) -> Iterator[Browser]:
        """A new page, with cookies and a cache of its own."""
        context = self.send("Target.createBrowserContext")
        target = self.send("Target.createTarget", url="about:blank", **context)
        session = self.send("Target.attachToTarget", flatten=True, **target)["sessionId"]
        page = Browser(self, session)
        page("Emulation.setFocusEmulationEnabled", enabled=True)
        yield page
        self.send("Target.disposeBrowserContext", **context)

    def send(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol and return its result."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + self.timeout
        while (answer := self._receive(deadline)).get("id") != number:
            pass
        if "error" in answer:
            message = answer["error"]["message"]
            gone = any(word in message for word in ("navigated", "context"))
            raise (NavigationError if gone else RuntimeError)(f"{method}: {answer['error']}")
        return answer["result"]

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._received:
            remaining = deadline - time.monotonic()
            if not select.select([self._answers], [], [], max(0.0, remaining))[0]:
                raise TimeoutError("The browser does not answer.")
            received = os.read(self._answers, 1 << 20)
            if not received:
                raise RuntimeError("The browser has ended.")
            self._received += received
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)


class Browser:
    """A page of a Chromium, as if it were the only one."""

    def __init__(self, chromium: Chromium, session: str) -> None:
        self._chromium = chromium
        self._session = session

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol to the page and return its result."""
        return self._chromium.send(method, self._session, **params)

    def open(self, url: str) -> None:
        """Go to `url` and wait until its scripts have run."""
        self("Page.navigate", url=url)
        self.wait_for(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression; a promise is awaited."""
        result = self("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{script}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def act(self, script: str) -> None:
        """Run JavaScript that may leave the page, as a click does."""
        with suppress(NavigationError):
            self.run(script)

    def wait_for(self, condition: str) -> None:
        """Wait until a JavaScript expression is true."""
        deadline = time.monotonic() + self._chromium.timeout
        while not self._holds(condition):
            if time.monotonic() > deadline:
                raise TimeoutError(condition)
            time.sleep(0.02)

    def _holds(self, condition: str) -> bool:
        try:
            return self.run(f"Boolean({condition})")
        except NavigationError:  # the next page will tell
            return False


def _above_4(descriptor: int) -> int:
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved
