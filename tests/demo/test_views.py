"""Every endpoint through Django's `AsyncClient`: what it answers, and what it then does."""

import asyncio
import logging
import threading

import pytest
from django.conf import settings
from django.test import RequestFactory
from django.urls import reverse

from asyncviews import AsyncView, BackgroundTaskMixin
from asyncviews.background import runner
from demo_site import tasks, views
from demo_site.endpoints import GROUPS
from tests.conftest import until
from tests.demo.test_tasks import FIVE_STEPS

pytestmark = pytest.mark.usefixtures("app_lifespan")

ENDPOINTS = {
    "async", "sync", "sync_to_async", "smoke_some_meats", "burn_some_meats", "send_an_email",
    "call_an_api", "write_a_file",
}  # fmt: skip

REFUSED = "http://127.0.0.1:1/"
"""Nothing listens there."""


def assert_text(response, text):
    assert (response.status_code, response.content.decode()) == (200, text)
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.usefixtures("site_database")
async def test_the_front_page_says_hello(async_client):
    response = await async_client.get("/")
    assert response.status_code == 200
    assert "<h1>Hello, async Django!</h1>" in response.content.decode()


@pytest.mark.usefixtures("site_database")
async def test_the_front_page_starts_every_endpoint_and_links_to_it(async_client):
    page = (await async_client.get("/")).content.decode()
    named = {endpoint.name for group in GROUPS for endpoint in group.endpoints}
    assert named == ENDPOINTS
    for name in named:
        assert f'<form action="{reverse(name)}"' in page
        assert f'<a href="{reverse(name)}">' in page
    assert f'<a href="{reverse("admin:index")}">' in page


async def test_async(async_client, settings, website, steps, background_work):
    settings.DEMO_HTTP_URL = website.url
    assert_text(await async_client.get("/async/"), "Non-blocking HTTP request")
    await background_work()
    assert steps() == [*FIVE_STEPS, f"GET {website.url}: 200"]


async def test_sync(async_client, settings, website, steps):
    settings.DEMO_HTTP_URL = website.url
    assert_text(await async_client.get("/sync/"), "Blocking HTTP request")
    assert steps() == [*FIVE_STEPS, f"GET {website.url}: 200"]


async def test_sync_to_async(async_client, settings, website, steps, background_work):
    settings.DEMO_HTTP_URL = website.url
    response = await async_client.get("/sync_to_async/")
    assert_text(response, "Non-blocking HTTP request (via sync_to_async)")
    await background_work()
    assert steps() == [*FIVE_STEPS, f"GET {website.url}: 200"]


@pytest.mark.parametrize("path", ["/async/", "/smoke_some_meats/"])
async def test_the_answer_does_not_wait_for_the_first_step(async_client, settings, path):
    """With steps of an hour it comes nevertheless."""
    settings.DEMO_STEP_SECONDS = 3600
    assert (await async_client.get(path)).status_code == 200
    [task] = runner.unfinished()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "meats"),
        ("?to_smoke=", "meats"),
        ("?to_smoke=Ribs", "Ribs"),
        ("?to_smoke=ribs, Brisket", "ribs and Brisket"),
        ("?to_smoke=ribs&to_smoke=brisket,salmon", "ribs, brisket, and salmon"),
    ],
)
async def test_smoke_some_meats(async_client, steps, background_work, query, text):
    response = await async_client.get(f"/smoke_some_meats/{query}")
    assert_text(response, f"Smoking some {text}....")
    await background_work()
    assert steps()[0] == "Smoking some ribs...."
    assert steps()[-1] == "Who doesn't love smoked meats?"


async def test_the_meats_reach_the_smoker_in_lower_case(async_client, steps, background_work):
    await async_client.get("/smoke_some_meats/", {"to_smoke": "Salmon,RIBS"})
    await background_work()
    assert [step for step in steps() if "Smoking" in step or "?" in step] == [
        "Smoking some salmon....",
        "Smoking some ribs....",
        "Who doesn't love smoked salmon?",
    ]


async def test_the_flavor_reaches_the_smoker(async_client, steps, background_work):
    await async_client.get("/smoke_some_meats/", {"to_smoke": "ribs", "flavor": "Honey & Mustard"})
    await background_work()
    assert steps()[1] == "Applying the Honey & Mustard...."


async def test_a_link_cannot_run_a_script_in_its_readers_browser(async_client, background_work):
    script = "<script>alert(1)</script>"
    response = await async_client.get("/smoke_some_meats/", {"to_smoke": script})
    assert_text(response, f"Smoking some {script}....")
    await background_work()


async def test_a_query_that_does_not_fit_starts_nothing(async_client, steps, background_work):
    response = await async_client.get(
        "/smoke_some_meats/", {"to_smoke": "a," * 21, "flavor": "x" * 61}
    )
    assert response.status_code == 422
    assert [error["name"] for error in response.json()["errors"]] == ["to_smoke", "flavor"]
    await background_work()
    assert steps() == []


async def test_burn_some_meats_blocks_the_event_loop(async_client, settings, steps, monkeypatch):
    settings.DEMO_STEP_SECONDS = 1
    blocked = []
    monkeypatch.setattr(
        tasks.time, "sleep", lambda seconds: blocked.append((threading.get_ident(), seconds))
    )
    assert_text(await async_client.get("/burn_some_meats/"), "Burned some meats.")
    assert blocked == [(threading.get_ident(), 5)]
    assert steps() == ["Who doesn't love burned meats?"]


@pytest.mark.parametrize("path", ["/async/", "/sync_to_async/", "/call_an_api/"])
async def test_an_error_of_a_call_in_the_background_is_logged(async_client, settings, caplog, path):
    settings.DEMO_HTTP_URL = settings.DEMO_API_URL = REFUSED
    assert (await async_client.get(path)).status_code == 200
    await until(lambda: not runner.unfinished())
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert f"GET {path}" in record.getMessage()
    assert "ConnectError" in caplog.text


async def test_an_error_of_the_blocking_call_is_logged(async_client, settings, caplog):
    settings.DEMO_HTTP_URL = REFUSED
    assert_text(await async_client.get("/sync/"), "Blocking HTTP request")
    assert "The HTTP call failed." in caplog.text
    assert "ConnectError" in caplog.text


async def test_send_an_email(async_client, background_work, django_mail_patch_dns):
    assert_text(await async_client.get("/send_an_email/"), "Sending an e-mail....")
    await background_work()
    [mail] = (settings.DEMO_VAR / "mail").iterdir()
    assert "Subject: Dinner is ready" in mail.read_text()


async def test_call_an_api(async_client, settings, website, steps, background_work):
    settings.DEMO_API_URL = f"{website.url}/weather"
    assert_text(await async_client.get("/call_an_api/"), "Checking the weather....")
    await background_work()
    assert steps() == ["Lockhart: hazy, 31.0 °C"]


async def test_write_a_file(async_client, background_work):
    response = await async_client.get("/write_a_file/", {"name": "Ada"})
    assert_text(response, "Signing the guest book....")
    await background_work()
    assert (settings.DEMO_VAR / "guest_book.txt").read_text().endswith(" Ada\n")


async def test_the_guest_book_takes_one_line_at_a_time(async_client):
    response = await async_client.get("/write_a_file/", {"name": "Eve\n2020-01-01 00:00:00 Ada"})
    assert response.status_code == 422


async def test_the_demos_own_weather_is_what_its_client_expects(async_client):
    response = await async_client.get("/weather.json")
    assert views.Weather.model_validate_json(response.content).place == "Memphis"


def test_the_http_calls_fetch_the_demos_front_page_by_default():
    request = RequestFactory().get("/async/")
    assert views.page_to_call(request) == "http://testserver/"


async def test_the_admin_asks_who_you_are(async_client):
    response = await async_client.get("/admin/", follow=True)
    assert response.redirect_chain == [("/admin/login/?next=/admin/", 302)]
    assert "Django administration" in response.content.decode()


@pytest.mark.parametrize(
    "view",
    [
        views.Async,
        views.SyncToAsync,
        views.SendAnEmail,
        views.CallAnApi,
        views.WriteAFile,
    ],
)
def test_what_works_in_the_background_is_an_async_view(view):
    assert issubclass(view, AsyncView)
    assert issubclass(view, BackgroundTaskMixin)
