"""The dashboard in a real browser: for staff, for others, live, and without JavaScript."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.demo.browser import Browser
from tests.demo.server import DemoServer, add_user, migrated, serving

pytestmark = [pytest.mark.live, pytest.mark.once_in_ci, pytest.mark.timeout(90)]

RUNNING_TEXT = "(document.querySelector('#running')?.innerText ?? '')"
RUNNING = "document.querySelectorAll('#running .task').length"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    """The demo, whose tasks run until they are cancelled, and whose API cannot be reached."""
    var = tmp_path_factory.mktemp("var")
    (var / "db.sqlite3").write_bytes(migrated())
    add_user(var, "cook", staff=True)
    add_user(var, "guest", staff=False)
    variables = {"DEMO_STEP_SECONDS": "3600", "DEMO_API_URL": "http://127.0.0.1:1/"}
    with serving(var, **variables) as server:
        yield server


def log_in(browser: Browser, demo: DemoServer, name: str) -> None:
    """Ask for the dashboard, and fill in the form to which that leads."""
    browser("Page.navigate", url=f"{demo.url}/background/")
    browser.wait_for("document.readyState === 'complete' && document.querySelector('#id_username')")
    assert browser.run("location.search") == "?next=/background/"
    browser.run(f"document.querySelector('#id_username').value = '{name}'")
    browser.run("document.querySelector('#id_password').value = 'smoke'")
    browser.act("document.querySelector('#id_password').form.submit()")


def watch(browser: Browser, demo: DemoServer) -> None:
    log_in(browser, demo, "cook")
    browser.wait_for("document.querySelector('.live')?.innerText === 'Live'")


def test_a_stranger_gets_no_further_than_the_login(browser: Browser, demo: DemoServer) -> None:
    log_in(browser, demo, "guest")
    browser.wait_for("location.pathname === '/background/' && document.querySelector('h1')")
    assert browser.run("document.querySelector('h1').innerText") == "403 Permission denied"
    assert "Process" not in browser.run("document.body.innerText")


def test_staff_sees_work_come_fail_and_go(browser: Browser, demo: DemoServer) -> None:
    watch(browser, demo)
    httpx.get(f"{demo.url}/call_an_api/").raise_for_status()
    browser.wait_for(
        "document.querySelector('#failed .error')?.innerText.startsWith('ConnectError')"
    )
    browser.wait_for(f"!{RUNNING_TEXT}.includes('from GET /call_an_api/')")
    before = browser.run(RUNNING)
    httpx.get(f"{demo.url}/async/").raise_for_status()
    browser.wait_for(f"{RUNNING_TEXT}.includes('from GET /async/') && {RUNNING} > {before}")
    cancel = "[...document.querySelectorAll('#running .task')].find((task) => /http_call/.test(task.innerText))"
    browser.act(f"{cancel}.querySelector('button').click()")
    browser.wait_for("/cancelled/.test(document.querySelector('#finished')?.innerText)")
    assert browser.run("location.pathname") == "/background/"


def test_an_open_traceback_and_the_focus_stay_when_its_part_changes(
    browser: Browser, demo: DemoServer
) -> None:
    watch(browser, demo)
    tracebacks = "document.querySelectorAll('#failed details')"
    httpx.get(f"{demo.url}/call_an_api/").raise_for_status()
    browser.wait_for(f"{tracebacks}.length >= 1")
    # At once: what other tests let fail may still come, and be the first.
    opened, known = browser.run(
        f"(([first, ...others]) => {{ first.open = true; first.querySelector('summary').focus(); "
        f"return [first.id, others.length + 1] }})({tracebacks})"
    )
    httpx.get(f"{demo.url}/call_an_api/").raise_for_status()
    browser.wait_for(f"{tracebacks}.length > {known}")
    assert browser.run(f"document.getElementById('{opened}').open") is True
    assert browser.run("document.activeElement.parentElement.id") == opened
    assert "Traceback (most" in browser.run(f"document.getElementById('{opened}').innerText")


def test_without_javascript_it_still_reads(browser: Browser, demo: DemoServer) -> None:
    httpx.get(f"{demo.url}/async/").raise_for_status()
    browser("Emulation.setScriptExecutionDisabled", value=True)
    log_in(browser, demo, "cook")
    browser.wait_for("location.pathname === '/background/' && document.querySelector('#running')")
    assert "from GET /async/" in browser.run("document.querySelector('#running')?.innerText")
    assert browser.run("document.querySelector('noscript a').href") == f"{demo.url}/background/"
    running = browser.run(RUNNING)
    browser.act("document.querySelector('#running button').click()")
    browser.wait_for(f"document.querySelector('#running') && {RUNNING} < {running}")


@pytest.mark.parametrize("width", [320, 375, 1280])
def test_nothing_is_wider_than_the_screen(browser: Browser, demo: DemoServer, width: int) -> None:
    httpx.get(f"{demo.url}/call_an_api/").raise_for_status()
    watch(browser, demo)
    browser.wait_for("document.querySelector('#failed details')")
    browser.run("document.querySelector('#failed details').open = true")
    browser(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=800,
        deviceScaleFactor=1,
        mobile=width < 700,
    )
    assert browser.run("innerWidth") == width
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_every_control_has_a_name_of_its_own(browser: Browser, demo: DemoServer) -> None:
    for path in ("async", "async", "call_an_api"):
        httpx.get(f"{demo.url}/{path}/").raise_for_status()
    watch(browser, demo)
    browser.wait_for(f"{RUNNING} >= 2")
    nodes = browser("Accessibility.getFullAXTree")["nodes"]
    named = [
        node["name"]["value"]
        for node in nodes
        if node.get("role", {}).get("value") in {"button", "progressbar", "link"}
    ]
    assert len(named) >= 2
    assert all(named)
    assert len(set(named)) == len(named)
