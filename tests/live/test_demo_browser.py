"""The front page in a real browser: buttons, answers, keyboard, no JavaScript, a narrow screen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo_site.endpoints import GROUPS
from tests.demo.browser import Browser, Chromium
from tests.demo.server import SERVE, DemoServer, serving

pytestmark = [pytest.mark.live, pytest.mark.once_in_ci, pytest.mark.timeout(90)]

ENDPOINTS = [endpoint.name for group in GROUPS for endpoint in group.endpoints]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    with serving(tmp_path_factory.mktemp("var"), DEMO_STEP_SECONDS="0.02") as server:
        yield server


CONTROLS = {"button", "checkbox", "form", "link", "progressbar", "textbox"}


def form(name: str) -> str:
    return f"document.querySelector('form[aria-labelledby={name}]')"


def start(browser: Browser, name: str) -> tuple[str, str]:
    """Press the button of an endpoint; return the outcome that the page shows, and its text."""
    browser.run(f"{form(name)}.querySelector('button').click()")
    output = f"{form(name)}.querySelector('output')"
    browser.wait_for(f"{output}.className !== 'waiting'")
    return browser.run(f"{output}.className"), browser.run(f"{output}.innerText")


def test_each_button_shows_the_answer_and_its_time(browser: Browser, demo: DemoServer) -> None:
    browser.open(f"{demo.url}/")
    shown = {name: start(browser, name) for name in ENDPOINTS}
    assert {outcome for outcome, _ in shown.values()} == {"ok"}
    answers = {}
    for name, (_, text) in shown.items():
        time, answers[name] = text.split("\n", 1)
        milliseconds, unit = time.split()
        assert (milliseconds.replace(",", "").isdecimal(), unit) == (True, "ms")
    assert answers == {
        "async": "Non-blocking HTTP request",
        "sync": "Blocking HTTP request",
        "sync_to_async": "Non-blocking HTTP request (via sync_to_async)",
        "smoke_some_meats": "Smoking some ribs and brisket....",
        "burn_some_meats": "Burned some meats.",
        "send_an_email": "Sending an e-mail....",
        "call_an_api": "Checking the weather....",
        "write_a_file": "Signing the guest book....",
    }


def test_a_query_that_does_not_fit_is_explained(browser: Browser, demo: DemoServer) -> None:
    browser.open(f"{demo.url}/")
    browser.run(f"{form('smoke_some_meats')}.elements.flavor.value = 'x'.repeat(61)")
    outcome, text = start(browser, "smoke_some_meats")
    assert outcome == "failed"
    assert "422 Unprocessable Content\nflavor: String should have at most 60" in text


def test_what_a_link_brings_along_is_no_markup(browser: Browser, demo: DemoServer) -> None:
    """Neither in the answer itself nor where the front page shows it."""
    script = "<img src=x onerror=document.title='caught'><script>document.title='caught'</script>"
    browser.open(f"{demo.url}/")
    browser.run(f"{form('smoke_some_meats')}.elements.to_smoke.value = {json.dumps(script[:60])}")
    _, text = start(browser, "smoke_some_meats")
    assert script[:60] in text
    assert browser.run("document.querySelectorAll('output img').length") == 0
    browser.open(f"{demo.url}/smoke_some_meats/?to_smoke=%3Cscript%3Edocument.title=1%3C/script%3E")
    assert browser.run("document.scripts.length") == 0
    assert "<script>" in browser.run("document.body.innerText")


# The smoker


BATCHES = "[...document.querySelectorAll('.batches > .batch')]"
STATUSES = f"{BATCHES}.map((batch) => batch.dataset.status).join()"
SMOKE = "document.querySelector('form.fill button').click()"


def choose(browser: Browser, *meats: str, flavor: str = "Honey") -> None:
    browser.run(
        "for (const box of document.querySelectorAll('[name=meats]'))"
        f" box.checked = {json.dumps(meats)}.includes(box.value);"
        f" document.querySelector('form.fill [name=flavor]').value = {json.dumps(flavor)}"
    )


@pytest.fixture
def smoker(tmp_path: Path) -> Iterator[DemoServer]:
    """The demo with an empty smoker, and time to look."""
    with serving(tmp_path, DEMO_STEP_SECONDS="0.4") as server:
        yield server


@pytest.fixture
def other_browser(chromium: Chromium) -> Iterator[Browser]:
    with chromium.page() as page:
        yield page


def test_two_browsers_watch_the_same_batches(
    browser: Browser, other_browser: Browser, smoker: DemoServer
) -> None:
    for one in (browser, other_browser):
        one.open(f"{smoker.url}/")
        assert one.run("document.querySelector('.empty').innerText") != ""
    choose(browser, "ribs", "lemon chicken", flavor="<b>Honey</b>")
    browser.run(SMOKE)
    for one in (browser, other_browser):
        one.wait_for(f"{STATUSES} === 'smoking,smoking'")
        assert one.run(f"{BATCHES}.map((batch) => batch.querySelector('.meat').innerText)") == [
            "Lemon chicken",
            "Ribs",
        ]
        assert one.run("document.querySelector('.flavor').innerText") == "<b>Honey</b>"
        one.wait_for("document.querySelector('.batch progress').value > 0")
    other_browser.act(f"{BATCHES}[0].querySelector('.cancel').click()")
    for one in (browser, other_browser):
        one.wait_for(f"{STATUSES} === 'cancelled,done'")
        assert one.run(f"{BATCHES}[1].querySelector('progress').value") == 100
        assert one.run(f"{BATCHES}[1].querySelector('.stage').innerText") == "Ready to eat"
    browser.act(f"{BATCHES}[0].querySelector('.remove').click()")
    for one in (browser, other_browser):
        one.wait_for(f"{STATUSES} === 'done'")


def test_a_reload_keeps_the_batches(browser: Browser, smoker: DemoServer) -> None:
    browser.open(f"{smoker.url}/")
    choose(browser, "salmon")
    browser.run(SMOKE)
    browser.wait_for(f"{STATUSES} === 'smoking'")
    browser.run("window.before = true")
    browser("Page.reload")
    browser.wait_for("!window.before && document.readyState === 'complete'")
    assert browser.run(STATUSES) in {"smoking", "done"}
    browser.wait_for(f"{STATUSES} === 'done'")


def test_the_page_says_why_nothing_is_smoked(browser: Browser, smoker: DemoServer) -> None:
    browser.open(f"{smoker.url}/")
    choose(browser)
    browser.run(SMOKE)
    complaint = "document.querySelector('.complaint').innerText"
    browser.wait_for(complaint)
    assert (
        browser.run(complaint) == "meats: List should have at least 1 item after validation, not 0"
    )
    assert browser.run(STATUSES) == ""


def test_the_page_goes_on_when_the_server_comes_back(
    browser: Browser, tmp_path: Path, smoker: DemoServer
) -> None:
    browser.open(f"{smoker.url}/")
    choose(browser, "salmon")
    browser.run(SMOKE)
    browser.wait_for(f"{STATUSES} === 'smoking'")
    port = smoker.url.rpartition(":")[2]
    smoker.stop()  # it drains: the batch is done, and the page has not heard of it
    connection = "document.querySelector('.connection').innerText"
    browser.wait_for(f"{connection}.startsWith('The connection is lost.')")
    with serving(tmp_path, [*SERVE[:-1], f"127.0.0.1:{port}"]):
        browser.wait_for(f"{STATUSES} === 'done'")
        assert not browser.run(connection).startswith("The connection is lost.")


def test_without_javascript_the_smoker_works_by_reloading(
    browser: Browser, smoker: DemoServer
) -> None:
    browser("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(f"{smoker.url}/")
    browser.run(f"{SMOKE}")
    browser.wait_for(f"{BATCHES}.length === 2")
    assert browser.run("location.pathname") == "/"
    browser.act(f"{BATCHES}[0].querySelector('.cancel').click()")
    browser.wait_for(f"{BATCHES}[0]?.dataset.status === 'cancelled'")
    browser.act(f"{BATCHES}[0].querySelector('.remove').click()")
    browser.wait_for(f"{BATCHES}.length === 1")


def test_without_javascript_the_buttons_open_the_answers(
    browser: Browser, demo: DemoServer
) -> None:
    browser("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(f"{demo.url}/")
    assert browser.run("getComputedStyle(document.querySelector('noscript')).display") != "none"
    browser.act(f"{form('smoke_some_meats')}.querySelector('button').click()")
    browser.wait_for("location.pathname === '/smoke_some_meats/' && document.body")
    assert browser.run("document.body.innerText") == "Smoking some ribs and brisket...."


@pytest.mark.parametrize("width", [320, 375, 768, 1280])
def test_nothing_is_wider_than_the_screen(browser: Browser, demo: DemoServer, width: int) -> None:
    browser(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=800,
        deviceScaleFactor=1,
        mobile=width < 700,
    )
    browser.open(f"{demo.url}/")
    assert browser.run("innerWidth") == width
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_every_control_has_a_name_of_its_own(browser: Browser, demo: DemoServer) -> None:
    """As a screen reader tells them."""
    browser.open(f"{demo.url}/")
    choose(browser, "ribs", "salmon")
    browser.run(SMOKE)
    browser.wait_for(f"{BATCHES}.length >= 2 && !/smoking|waiting/.test({STATUSES})")
    nodes = browser("Accessibility.getFullAXTree")["nodes"]
    named = [
        (node["role"]["value"], node["name"]["value"])
        for node in nodes
        if node.get("role", {}).get("value") in CONTROLS
    ]
    assert len(named) > 3 * len(ENDPOINTS)
    assert all(name for _, name in named)
    assert len(set(named)) == len(named)
