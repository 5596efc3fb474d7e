"""Subclasses of Django's middleware that say they only compute: what they override is called.

Each helper of each class of the table is overridden, in each way, and each scenario of that class is
played with Django's handler and with ours: answers, database, logs, and how often the helper was
called, have to be the same.
"""

from __future__ import annotations

import sys
from importlib import import_module
from itertools import cycle
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.csrf import CsrfViewMiddleware, RejectRequest
from django.middleware.gzip import GZipMiddleware

from asyncviews import inline_classes, inline_rules
from asyncviews.handler import HTTPHandler as Handler
from tests.test_inline import (
    SCENARIOS,
    SEVEN,
    Browser,
    Scenario,
    browser_answer,
    database,
    determined,
    get,
    importable,
    post,
    run,
    stage,
)

__all__ = ["determined", "stage"]  # fixtures

pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")

CALLS: list[str] = []


def helpers(cls: type) -> list[str]:
    return sorted(inline_classes._read(cls) & vars(cls).keys())


def notes(cls: type, name: str, *, refuses: bool) -> Any:
    """Return a member that notes each call, and then answers as Django's does, or refuses."""
    original = vars(cls)[name]
    function = getattr(original, "fget", None) or getattr(original, "func", None) or original

    def noted(self, *args, **kwargs):
        CALLS.append(name)
        if refuses:
            raise RejectRequest("refused") if cls is CsrfViewMiddleware else LookupError(name)
        return function(self, *args, **kwargs)

    return noted if callable(original) else property(noted)


def in_class(cls: type, name: str, member: Any) -> type:
    return type(cls.__name__, (cls,), {"inline_capable": True, name: member})


def in_mixin(cls: type, name: str, member: Any) -> type:
    mixin = type("Mixin", (), {"inline_capable": True, name: member})
    return type(cls.__name__, (mixin, cls), {"inline_capable": True})


def in_instance(cls: type, name: str, member: Any) -> type:
    def init(self, *args, **kwargs):
        cls.__init__(self, *args, **kwargs)
        if not isinstance(member, property):
            setattr(self, name, member.__get__(self))

    return type(cls.__name__, (cls,), {"inline_capable": True, "__init__": init})


WAYS = [in_class, in_mixin, in_instance]


def cases() -> list[Any]:
    """Return each helper with the scenarios that are about its class, and one way after the other."""
    found = []
    for dotted in inline_rules.RULES:
        module, _, name = dotted.rpartition(".")
        if not importable(module):
            continue
        cls = getattr(import_module(module), name)
        short = name.removesuffix("Middleware")
        for scenario in SCENARIOS:
            if short in scenario.middleware.split() and SEVEN not in scenario.middleware:
                found += [(cls, helper, scenario) for helper in helpers(cls)]
    return [
        pytest.param(way, *case, id=f"{way.__name__}-{case[0].__name__}.{case[1]}-{case[2].id}")
        for way, case in zip(cycle(WAYS), found, strict=False)
    ]


@pytest.mark.parametrize(("way", "cls", "helper", "scenario"), cases())
def test_what_a_subclass_overrides_is_called_as_by_django(
    stage, determined, caplog, monkeypatch, way, cls, helper, scenario
):
    for refuses in (False, True):
        own = way(cls, helper, notes(cls, helper, refuses=refuses))
        monkeypatch.setattr(sys.modules[__name__], "Own", own, raising=False)
        played = replaced(scenario, cls)
        outcomes = [
            outcome(handler, played, stage, determined, caplog)
            for handler in (ASGIHandler, Handler)
        ]
        assert outcomes[1] == outcomes[0], refuses


def replaced(scenario: Scenario, cls: type) -> Scenario:
    """Return a scenario in which the class `Own` of this module stands for `cls`."""
    short = cls.__name__.removesuffix("Middleware")
    names = scenario.middleware.split()
    names = [f"{__name__}.Own" if name == short else name for name in names]
    return Scenario(
        scenario.id, " ".join(names), scenario.requests, None, scenario.settings, scenario.apps
    )


def outcome(handler, scenario, stage, determined, caplog) -> Any:
    determined()
    caplog.clear()
    CALLS.clear()
    with stage(scenario):
        try:
            answers: Any = [browser_answer(scenario, a) for a in run(Browser(handler()), scenario)]
        except KeyError as exc:  # the browser got no token to send back
            answers = repr(exc)
        logged = [(r.name, r.levelname, r.getMessage()) for r in caplog.records]
        return answers, [*CALLS], database(), logged


def test_the_table_has_helpers_to_override():
    """Those of the CSRF check first of all."""
    assert {"_check_token", "_origin_verified", "_check_referer", "_reject", "_accept"} <= {
        *helpers(CsrfViewMiddleware)
    }
    assert len({case.values[:3] for case in cases()}) > 40


# The check of CSRF, as in the wild


class NoRobots(CsrfViewMiddleware):
    inline_capable = True

    def _check_token(self, request):
        if "robot" in request.headers.get("User-Agent", ""):
            raise RejectRequest("robot")
        super()._check_token(request)


class OneOrigin(CsrfViewMiddleware):
    inline_capable = True

    def _origin_verified(self, request):
        return request.headers["Origin"] == "http://only.example"


@pytest.mark.parametrize(
    ("cls", "headers", "status"),
    [
        (NoRobots, {"user-agent": "robot"}, 403),
        (NoRobots, {"user-agent": "browser"}, 200),
        (OneOrigin, {"origin": "http://testserver"}, 403),
        (OneOrigin, {"origin": "http://only.example"}, 200),
    ],
)
@pytest.mark.parametrize("handler", [ASGIHandler, Handler])
def test_a_stricter_check_refuses(stage, handler, cls, headers, status):
    requests = [get("/token/"), post("/form/", csrf=True, headers=headers)]
    scenario = Scenario("stricter", f"{__name__}.{cls.__name__}", requests, None)
    with stage(scenario):
        assert run(Browser(handler()), scenario)[-1].status == status


@pytest.mark.parametrize("handler", [ASGIHandler, Handler])
def test_a_check_that_is_patched_while_the_site_runs(stage, monkeypatch, handler):
    requests = [get("/token/"), post("/form/", csrf=True)]
    scenario = Scenario("patched", f"{__name__}.Plain", requests, None)
    monkeypatch.setattr(
        sys.modules[__name__], "Plain", type("Plain", (CsrfViewMiddleware,), {"inline_capable": True}),
        raising=False,
    )  # fmt: skip
    with stage(scenario):
        browser = Browser(handler())
        assert run(browser, scenario)[-1].status == 200
        own = sys.modules[__name__].Plain
        monkeypatch.setattr(own, "_origin_verified", lambda self, request: False, raising=False)
        refused = post("/form/", csrf=True, headers={"origin": "http://testserver"})
        assert browser.send(refused).status == 403


# Where


def rules_of(cls: type, **members: Any) -> dict[str, Any]:
    return inline_classes.rules(type("Sub", (cls,), {"inline_capable": True, **members}))


def test_an_overridden_helper_takes_conditional_hooks_to_a_thread():
    """The condition was read in Django's code; what never blocks still does not."""
    found = rules_of(CsrfViewMiddleware, _check_token=lambda self, request: None)
    assert found["process_view"] == inline_rules.THREAD
    assert found["process_request"] != inline_rules.THREAD
    found = rules_of(XFrameOptionsMiddleware, get_xframe_options_value=lambda *args: "DENY")
    assert found == {"process_response": inline_rules.INLINE}


def test_other_attributes_leave_conditions_as_they_are():
    plain = inline_classes.rules(GZipMiddleware)
    assert rules_of(GZipMiddleware, max_random_bytes=200, level=1) == plain
    assert plain["process_response"] != inline_rules.THREAD


def test_a_patched_helper_is_not_inline(monkeypatch):
    monkeypatch.setattr(CsrfViewMiddleware, "_check_token", lambda self, request: None)
    assert {*inline_classes.rules(CsrfViewMiddleware).values()} == {inline_rules.THREAD}


def test_no_class_of_django_seems_patched():
    for dotted in inline_rules.RULES:
        module, _, name = dotted.rpartition(".")
        if importable(module):
            cls = getattr(import_module(module), name)
            assert not [each for each in vars(cls) if inline_classes.patcher(cls, each)]
