"""The orders in a real browser: sign up, take, find, change and delete one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.demo.browser import Browser
from tests.demo.server import PROJECT, DemoServer, serving

pytestmark = [pytest.mark.live, pytest.mark.once_in_ci, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    var = tmp_path_factory.mktemp("var")
    environment = {**os.environ, "DEMO_VAR": str(var)}
    del environment["DJANGO_SETTINGS_MODULE"]
    command = [sys.executable, "-m", "demo_site", "migrate", "--verbosity", "0"]
    subprocess.run(command, cwd=PROJECT, env=environment, check=True, capture_output=True)
    with serving(var) as server:
        yield server
        assert [line for line in server.lines if "ERROR" in line or "Traceback" in line] == []


class Page:
    """What a user does with one."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.browser = browser
        self.url = url

    def open(self, path: str) -> None:
        self.browser.open(f"{self.url}{path}")

    def follow(self, link: str) -> None:
        links = f"[...document.links].find(link => link.innerText === {json.dumps(link)})"
        self._leave(f"{links}.click()")

    def send(self, button: str, **fields: str) -> None:
        """Fill in the form that has the button, and press it."""
        found = f"[...document.querySelectorAll('button')].find(b => b.innerText === '{button}')"
        filled = "".join(
            f"form.elements[{json.dumps(name)}].value = {json.dumps(value)};"
            for name, value in fields.items()
        )
        self._leave(f"(() => {{const form = {found}.form; {filled} {found}.click()}})()")

    def _leave(self, script: str) -> None:
        self.browser.act(f"window.left = false; {script}")
        self.browser.wait_for("window.left === undefined && document.readyState === 'complete'")

    @property
    def path(self) -> str:
        return self.browser.run("location.pathname")

    @property
    def text(self) -> str:
        return self.browser.run("document.body.innerText")


def test_the_life_of_an_order(browser: Browser, demo: DemoServer) -> None:
    page = Page(browser, demo.url)
    page.open("/")
    page.follow("The smokehouse's orders")
    page.send("Show", customer="ada")
    assert "No orders." in page.text
    page.follow("Take an order")
    assert page.path == "/orders/login/"
    page.follow("Sign up")
    page.send("Sign up", username="cook", password1="smoke-all-day", password2="smoke-all-day")
    assert page.path == "/orders/"

    page.follow("Take an order")
    order = {"customer": "Ada", "meat": "ribs", "kilograms": "2.5", "pickup_on": "2026-12-24"}
    page.send("Save", **order)
    assert "Took the order of Ada." in page.text
    page.follow("Change")
    page.send("Save", status="ready", note="bones, too")
    assert "Changed the order of Ada." in page.text
    assert "bones, too" in page.text

    page.follow("Orders")
    page.send("Show", customer="ada", status="ready")
    page.follow("2.5 kg of ribs for Ada")
    page.follow("Delete")
    page.send("Delete")
    assert "Deleted the order." in page.text
    page.send("Show", customer="ada")
    assert "No orders." in page.text

    page.send("Log out")
    assert "Log in" in page.text
    page.follow("Log in")
    page.send("Log in", username="cook", password="smoke-all-day")
    assert "cook" in page.text


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_is_wider_than_the_screen(browser: Browser, demo: DemoServer, width: int) -> None:
    browser(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=800,
        deviceScaleFactor=1,
        mobile=width < 700,
    )
    page = Page(browser, demo.url)
    page.open("/orders/sign-up/")
    name = f"{width}-{'x' * 60}"
    page.send("Sign up", username=name, password1="smoke-all-day", password2="smoke-all-day")
    page.follow("Take an order")
    order = {"customer": name[:60], "meat": "ribs", "kilograms": "2.5", "pickup_on": "2026-12-24"}
    page.send("Save", **order)
    for path in ("/orders/", page.path, f"{page.path}change/", f"{page.path}delete/"):
        page.open(path)
        assert browser.run("document.documentElement.scrollWidth") <= width, path
