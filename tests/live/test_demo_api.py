"""The demo's API does what its document says, whatever is sent to it."""

from __future__ import annotations

import httpx
import pytest
from openapi_spec_validator import validate

from tests.demo.server import serving
from tests.openapi.conformance import answers

pytestmark = [pytest.mark.live, pytest.mark.once_in_ci, pytest.mark.timeout(180)]

TOKEN = "x" * 32
CSRF = {"Cookie": f"csrftoken={TOKEN}", "X-CSRFToken": TOKEN}
ENDLESS = {"get_api_batch_events"}
# JSON Schema has no word for what can be printed, for the type of a file, and for items of a list that
# are empty and dropped.
INEXACT = {"get_api_batches", "post_api_batches", "put_api_batch_photo"}


def test_the_api_keeps_its_document(tmp_path) -> None:
    production = {"DEMO_DEBUG": "0", "DEMO_SECRET_KEY": "x" * 50, "DEMO_STEP_SECONDS": "0.01"}
    with serving(tmp_path, **production) as server:
        document = httpx.get(f"{server.url}/api/docs/openapi.json", timeout=20).json()
        validate(document)
        for _ in range(2):  # some for the operations on one to find
            batches = {"meats": ["ribs", "salmon"]}
            httpx.post(f"{server.url}/api/batches/", json=batches, headers=CSRF, timeout=20)
        found = answers(
            server.url, document, examples=10, headers=CSRF, without=ENDLESS, inexact=INEXACT
        )
        assert "Traceback" not in server.output
    assert len(found) == 8
    assert {200, 201, 404, 422} <= set().union(*found.values())
    assert all(status < 500 for statuses in found.values() for status in statuses)
