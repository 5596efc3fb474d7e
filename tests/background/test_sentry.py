"""Background tasks have a scope of Sentry of their own, as Celery's have."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

USERS = [f"u{number}" for number in range(10)]


@pytest.fixture(scope="module", params=["django", "ours"])
def told(request) -> dict[str, Any]:
    """What Sentry was told, under the handler of that name, while ten requests and 30 tasks ran."""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.background.sentry_tasks", request.param],
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    told: dict[str, Any] = json.loads(ended.stdout)
    return told


def messages(told: dict[str, Any], kind: str, moment: str = "") -> dict[str, dict[str, Any]]:
    """Return the events of one kind by user; what failed has its error instead of a message."""
    found = {}
    for event in told["events"]:
        words = event.get("message", "").split()
        if words[:1] == [kind] and (not moment or words[2] == moment):
            found[words[1]] = event
    return found


def trace_id(event: dict[str, Any]) -> str:
    return event["contexts"]["trace"]["trace_id"]


def test_a_request_has_nothing_of_tasks(told):
    requests = messages(told, "request")
    assert sorted(requests) == USERS
    for user, event in requests.items():
        assert event["user"]["id"] == user
        assert event["tags"]["request"] == user
        assert "task" not in event["tags"]
        assert event["request"]["url"] == "http://testserver/"


@pytest.mark.parametrize("kind", ["task", "sync", "enqueued"])
def test_a_task_begins_with_what_holds_for_the_process(told, kind):
    begun = messages(told, kind, "begins")
    assert sorted(begun) == USERS
    name = {"task": "asynchronous", "sync": "synchronous"}.get(kind, kind)
    for event in begun.values():
        assert "user" not in event
        assert "request" not in event
        assert event["tags"] == {"region": "eu"}
        assert event["transaction"].endswith(f".{name}")
        assert event["contexts"]["Background task"]["id"]


def test_what_a_task_sets_stays_with_it(told):
    ended = messages(told, "task", "ends")
    assert sorted(ended) == USERS
    for user, event in ended.items():
        assert event["user"]["id"] == f"task of {user}"
        assert event["tags"] == {"region": "eu", "task": user}


@pytest.mark.parametrize(
    ("loggers", "owner"),
    [
        ({"asyncviews.background"}, "task of {}"),
        ({"project"}, "sync of {}"),
        ({"django.tasks", "django_tasks"}, "enqueued of {}"),
    ],
)
def test_errors_are_those_of_the_task(told, loggers, owner):
    errors = [event for event in told["events"] if event.get("logger") in loggers]
    assert sorted(event["user"]["id"] for event in errors) == [owner.format(name) for name in USERS]
    for event in errors:
        assert "request" not in event["tags"]


def test_tasks_belong_to_the_trace_of_their_request(told):
    requests = messages(told, "request")
    for kind in ("task", "sync", "enqueued"):
        for user, event in messages(told, kind, "begins").items():
            assert trace_id(event) == trace_id(requests[user])


def test_tasks_of_no_request_have_traces_of_their_own(told):
    traces = {trace_id(event) for event in messages(told, "nobody").values()}
    assert len(traces) == 2


def test_a_running_task_keeps_no_request_in_memory(told):
    """Sentry's scope of a request refers to it."""
    assert told["kept"] == 0
