"""The work behind the endpoints, step by step."""

import httpx
import pytest
from django.conf import settings
from pydantic import ValidationError

from demo_site import tasks
from demo_site.schemas import Weather

FIVE_STEPS = ["Step 1", "Step 2", "Step 3", "Step 4", "Step 5"]


async def test_each_item_is_smoked_sauced_and_announced(steps):
    await tasks.smoke.acall(["lemon chicken", "salmon"], "Honey")
    assert steps() == [
        "Smoking some lemon chicken....",
        "Applying the Honey....",
        "Lemon chicken smoked.",
        "Smoking some salmon....",
        "Applying the Honey....",
        "Salmon smoked.",
        "Who doesn't love smoked lemon chicken?",
    ]


async def test_the_smoker_has_defaults_and_calls_ribs_meats(steps):
    await tasks.smoke.acall()
    smoked = [step for step in steps() if step.endswith(" smoked.")]
    assert [step.removesuffix(" smoked.") for step in smoked] == [
        "Ribs",
        "Brisket",
        "Lemon chicken",
        "Salmon",
        "Bison sirloin",
        "Sausage",
    ]
    assert steps()[1] == "Applying the Sweet Baby Ray's...."
    assert steps()[-1] == "Who doesn't love smoked meats?"


@pytest.mark.usefixtures("app_lifespan")
async def test_the_async_call_takes_five_steps_first(steps, website):
    await tasks.http_call_async(website.url)
    assert steps() == [*FIVE_STEPS, f"GET {website.url}: 200"]
    assert [path for path, _ in website.requests] == ["/"]


def test_the_sync_call_takes_the_same_steps(steps, website):
    tasks.http_call_sync(website.url)
    assert steps() == [*FIVE_STEPS, f"GET {website.url}: 200"]
    assert [path for path, _ in website.requests] == ["/"]


@pytest.mark.usefixtures("app_lifespan")
async def test_the_weather_is_validated(steps, website):
    weather = await tasks.check_weather(f"{website.url}/weather")
    assert weather == Weather(place="Lockhart", sky="hazy", celsius=31)
    assert steps() == ["Lockhart: hazy, 31.0 °C"]


@pytest.mark.usefixtures("app_lifespan")
@pytest.mark.parametrize(
    ("path", "error"), [("/nonsense", ValidationError), ("/nowhere", httpx.HTTPStatusError)]
)
async def test_a_bad_answer_of_the_api_is_an_error(steps, website, path, error):
    with pytest.raises(error):
        await tasks.check_weather(f"{website.url}{path}")
    assert steps() == []


def test_the_guest_book_keeps_earlier_lines():
    tasks.sign_guest_book("Ada")
    tasks.sign_guest_book("")
    lines = (settings.DEMO_VAR / "guest_book.txt").read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["Ada", "a stranger"]


def test_an_email_becomes_a_file(django_mail_patch_dns):
    tasks.send_email()
    [mail] = (settings.DEMO_VAR / "mail").iterdir()
    assert "Subject: Dinner is ready" in mail.read_text()
    assert "To: guest@example.com" in mail.read_text()
