"""A server does what its document says."""

from __future__ import annotations

import httpx
import pytest
from schemathesis.core.failures import FailureGroup
from schemathesis.openapi.checks import UndefinedStatusCode

from tests.openapi.conformance import answers
from tests.openapi.server import serving

pytestmark = [pytest.mark.live, pytest.mark.once_in_ci, pytest.mark.timeout(180)]

TOKEN = "x" * 32
CSRF = {"Cookie": f"csrftoken={TOKEN}", "X-CSRFToken": TOKEN}

# A field that belongs to one member of a union only; a file that is sent as a field, and ignored.
INEXACT = {"get_api_choice", "post_photos"}


def test_every_answer_is_in_the_document():
    with serving() as server:
        document = httpx.get(f"{server.url}/docs/openapi.json", timeout=20).json()
        found = answers(server.url, document, examples=10, headers=CSRF, inexact=INEXACT)
    operations = [
        operation["operationId"]
        for item in document["paths"].values()
        for method, operation in item.items()
        if method != "x-query"  # no tool knows how to send it
    ]
    assert list(found) == operations
    assert {200, 201, 204, 404, 409, 422, 429} <= set().union(*found.values())
    assert all(422 in found[name] for name in ("get_shop_orders", "post_shop_orders", "post_login"))


def test_a_wrong_document_is_found_out():
    """The test above can fail."""
    with serving() as server:
        document = httpx.get(f"{server.url}/docs/openapi.json", timeout=20).json()
        document["paths"] = {"/api/limited/": document["paths"]["/api/limited/"]}
        del document["paths"]["/api/limited/"]["get"]["responses"]["429"]
        with pytest.raises(FailureGroup) as raised:
            answers(server.url, document, examples=1, headers=CSRF)
    assert [type(failure) for failure in raised.value.exceptions] == [UndefinedStatusCode]
