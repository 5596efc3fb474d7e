"""The page in a real browser, with a strict Content-Security-Policy and without the internet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.demo.browser import Browser
from tests.live.server_process import ServerProcess
from tests.openapi.server import serving

pytestmark = [pytest.mark.live, pytest.mark.once_in_ci, pytest.mark.timeout(120)]

COLLECT = """
window.violations = [];
document.addEventListener("securitypolicyviolation", ({ blockedURI, effectiveDirective }) =>
  window.violations.push(`${effectiveDirective} ${blockedURI}`));
"""


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with serving() as server:
        yield server


@pytest.fixture
def browser(browser: Browser) -> Browser:
    browser("Page.enable")
    browser("Page.addScriptToEvaluateOnNewDocument", source=COLLECT)
    return browser


def operation(name: str, *below: str) -> str:
    return f"document.querySelector({' '.join(['[id$=' + name + ']', *below])!r})"


def click(browser: Browser, element: str) -> None:
    browser.wait_for(element)
    browser.run(f"{element}.click()")


def test_the_page_shows_every_operation(server: ServerProcess, browser: Browser) -> None:
    browser.open(f"{server.url}/docs/")
    browser.wait_for(operation("get_text"))
    assert browser.run("document.title") == "Smokehouse"
    assert browser.run("document.querySelectorAll('.opblock').length") == 19
    click(browser, operation("get_shop_orders", "button"))
    browser.wait_for(operation("get_shop_orders", ".parameters"))
    shown = browser.run(f"{operation('get_shop_orders')}.innerText")
    assert "List the orders that fit." in shown
    assert "What to look for." in shown
    assert "InvalidParameters" in browser.run("document.body.innerText")
    assert browser.run("violations") == []


def test_what_it_loads_is_this_servers(server: ServerProcess, browser: Browser) -> None:
    browser.open(f"{server.url}/docs/")
    browser.wait_for(operation("get_text"))
    loaded = browser.run("performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert len(loaded) >= 4
    assert [url for url in loaded if not url.startswith((f"{server.url}/", "data:"))] == []


def test_an_operation_can_be_tried_out_despite_csrf(
    server: ServerProcess, browser: Browser
) -> None:
    browser.open(f"{server.url}/docs/")
    click(browser, operation("post_shop_orders", "button"))
    click(browser, operation("post_shop_orders", ".try-out__btn"))
    click(browser, operation("post_shop_orders", ".execute"))
    status = operation("post_shop_orders", ".live-responses-table .response-col_status")
    browser.wait_for(f"{status}?.innerText")
    answer = browser.run(f"{operation('post_shop_orders', '.live-responses-table')}.innerText")
    assert "201" in answer
    assert '"customer": "string"' in answer
    assert "location: /api/orders/7/" in answer
