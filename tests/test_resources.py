"""Resources open with the lifespan, close in reverse, and say where they are missing."""

from __future__ import annotations

import httpx
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from asyncviews import ResourceNotOpen, http_client, resource
from asyncviews.asgi import StartupFailed, lifespan

events: list[str] = []


@resource
async def smoker():
    """The smoker."""
    events.append("smoker lit")
    try:
        yield "smoker"
    finally:
        events.append("smoker out")


@resource
async def thermometer():
    events.append(f"thermometer in {smoker()}")
    yield 95
    events.append(f"thermometer out of {smoker()}")


@resource
async def broken():
    raise OSError("no wood")
    yield


not_a_resource = object()


def declared(*names: str):
    return override_settings(ASYNCVIEWS={"RESOURCES": [f"{__name__}.{name}" for name in names]})


@pytest.fixture(autouse=True)
def _no_events():
    events.clear()


@declared("smoker", "thermometer")
async def test_they_open_in_order_and_close_in_reverse():
    async with lifespan():
        assert smoker() == "smoker"
        assert thermometer() == 95
    assert events == [
        "smoker lit",
        "thermometer in smoker",
        "thermometer out of smoker",
        "smoker out",
    ]


@declared("smoker", "broken", "thermometer")
async def test_a_failing_one_is_named_and_those_before_it_are_closed():
    with pytest.raises(StartupFailed, match=rf"{__name__}\.broken .*OSError\('no wood'\)"):
        async with lifespan():
            pytest.fail("it must not start")
    assert events == ["smoker lit", "smoker out"]


def test_outside_a_lifespan_the_error_says_what_to_do():
    with pytest.raises(ResourceNotOpen) as caught:
        smoker()
    assert f"{__name__}.smoker is not open" in str(caught.value)
    assert 'ASYNCVIEWS["RESOURCES"]' in str(caught.value)


async def test_a_test_or_a_command_may_open_one_itself():
    async with smoker.open() as opened:
        assert smoker() == opened == "smoker"
    with pytest.raises(ResourceNotOpen):
        smoker()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", 'does not define a "missing"'),
        ("not_a_resource", "is not a resource but <object"),
    ],
)
async def test_a_wrong_path_is_named(name, message):
    with declared(name), pytest.raises(StartupFailed, match=message) as caught:
        async with lifespan():
            pytest.fail("it must not start")
    assert isinstance(caught.value.__cause__, ImproperlyConfigured)


async def test_a_shared_http_client_is_open_by_default(app_lifespan):
    assert isinstance(http_client(), httpx.AsyncClient)
    assert http_client() is http_client()


def test_a_resource_keeps_its_name_and_doc():
    assert smoker.__doc__ == "The smoker."
    assert repr(smoker) == f"<Resource {__name__}.smoker>"
