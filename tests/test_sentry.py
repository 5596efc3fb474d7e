"""Instrumentation that patches Django's handler has its effect on ours."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest


@pytest.fixture(scope="module")
def events() -> list[dict[str, Any]]:
    printed = subprocess.run(
        [sys.executable, "-m", "tests.sentry_site"], capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in printed.stdout.splitlines()]


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
