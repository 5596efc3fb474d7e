"""A headless Chromium, driven over the pipe that its DevTools protocol offers: no driver needed."""

import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from contextlib import suppress
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


class Browser:
    """One page of a Chromium of its own; a context manager that ends it."""

    def __init__(self, profile: Path, *, timeout: float = 20.0) -> None:
        self.timeout = timeout
        self._numbers = itertools.count(1)
        self._received = b""
        commands, self._commands = map(_above_4, os.pipe())
        self._answers, answers = map(_above_4, os.pipe())
        command = [sys.executable, "-c", _LAUNCH, str(commands), str(answers), str(CHROMIUM)]
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        options += ["--no-first-run", "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(
            [*command, *options, "about:blank"],
            pass_fds=(commands, answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._session: str | None = None
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._commands)
        os.close(self._answers)

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol and return its result."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + self.timeout
        while (answer := self._receive(deadline)).get("id") != number:
            pass
        if "error" in answer:
            message = answer["error"]["message"]
            gone = any(word in message for word in ("navigated", "context"))
            raise (NavigationError if gone else RuntimeError)(f"{method}: {answer['error']}")
        return answer["result"]

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
        deadline = time.monotonic() + self.timeout
        while not self._holds(condition):
            if time.monotonic() > deadline:
                raise TimeoutError(condition)
            time.sleep(0.02)

    def _holds(self, condition: str) -> bool:
        try:
            return self.run(f"Boolean({condition})")
        except NavigationError:  # the next page will tell
            return False

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


def _above_4(descriptor: int) -> int:
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved
