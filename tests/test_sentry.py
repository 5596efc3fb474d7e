"""Instrumentation that patches Django's handler has its effect on ours."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.sentry_site import MIDDLEWARE


def served_by(*arguments: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.sentry_site", *arguments]
    printed = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in printed.stdout.splitlines()]


@pytest.fixture(scope="module")
def said() -> list[dict[str, Any]]:
    return served_by()


@pytest.fixture(scope="module")
def events(said) -> list[dict[str, Any]]:
    return [event for event in said if event["type"] != "costs"]


@pytest.fixture(scope="module")
def costs(said) -> dict[str, Any]:
    return next(line for line in said if line["type"] == "costs")


def test_what_one_request_says_of_its_user_stays_in_it(events):
    users = {event["message"]: event["user"] for event in events if event["message"]}
    assert users == {"ann": {"id": "ann"}, "bob": {"id": "bob"}, "nobody": None}


def test_events_name_url_and_transaction_of_their_request(events):
    messages = [event for event in events if event["message"]]
    assert {event["url"] for event in messages} == {
        f"http://testserver/hello/{name}/" for name in ("ann", "bob", "nobody")
    }
    assert {event["transaction"] for event in messages} == {"/hello/{name}/"}


def test_each_request_is_one_transaction(events):
    assert len([event for event in events if event["type"] == "transaction"]) == 3


def test_a_middleware_of_sentry_around_the_application_adds_nothing(events):
    def told(events: list[dict[str, Any]]) -> list[str]:
        return sorted(json.dumps({**event, "spans": []}) for event in events)

    around = [event for event in served_by("around") if event["type"] != "costs"]
    assert told(around) == told(events)


def test_no_request_has_used_a_thread(costs):
    """sentry-sdk wraps each middleware, and what it wraps still runs on the event loop."""
    assert costs["threads"] == 0
    assert {path: hops for path, (hops, _) in costs["hops"].items()} == dict.fromkeys(MIDDLEWARE, 0)
    assert costs["hops"][MIDDLEWARE[0]][1] == "inline"


def test_spans_of_middleware_are_those_under_djangos_handler(events):
    """What Django calls synchronously, because of what is behind it, is async here."""

    def spans(events: list[dict[str, Any]]) -> list[list[str]]:
        first = next(event for event in events if event["type"] == "transaction")
        return [[text.replace("__acall__", "__call__") for text in span] for span in first["spans"]]

    assert len(spans(events)) == len(MIDDLEWARE) + 1  # one has process_view(), too
    assert spans(events) == spans(served_by("django"))
