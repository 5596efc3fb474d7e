"""What the guide and the reference say of OpenAPI."""

import re
from dataclasses import MISSING, fields
from typing import Any

from django.urls import path
from openapi_spec_validator import validate

from asyncviews.openapi import OpenAPI
from tests.test_docs import DOCS, blocks, section
from tests.test_urlconf import root_urlconf


async def test_the_guides_program_is_documented_as_it_answers(async_client):
    program = next(
        block for block in blocks(DOCS / "how-to/openapi.md") if "urlpatterns" in block.text
    )
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(compile(program.text, "openapi.md", "exec", dont_inherit=True), namespace)
    with root_urlconf(*namespace["urlpatterns"]):
        document = (await async_client.get("/docs/openapi.json")).json()
        answer = await async_client.get("/api/batches/1/")
        missing = await async_client.get("/api/batches/2/")
        hot = await async_client.put(
            "/api/batches/1/", '{"meat": "ribs"}', content_type="application/json"
        )
    validate(document)
    operation = document["paths"]["/api/batches/{pk}/"]["get"]
    assert operation["summary"] == "Look into the smoker."
    assert operation["description"] == "What comes back is *not* done yet."
    assert answer.json() == {"meat": "ribs", "hours": 4}
    assert (missing.status_code, hot.status_code) == (404, 409)
    assert {"404", "409"} <= operation["responses"].keys()


def test_the_document_can_be_extended():
    block = next(b for b in blocks(DOCS / "how-to/openapi.md") if "super()" in b.text)
    namespace: dict[str, Any] = {"OpenAPI": OpenAPI}
    exec(block.text, namespace)
    with root_urlconf(path("docs/", namespace["Smokehouse"]().urls)):
        document = namespace["Smokehouse"]().document()
    validate(document)
    assert document["info"]["license"] == {"name": "BSD-3-Clause"}


def test_the_reference_has_every_argument_and_its_default():
    table = section(DOCS / "reference/openapi.md", "## OpenAPI")
    documented = dict(re.findall(r"^\| `(\w+)` \| `(.+?)` \|", table, re.MULTILINE))
    assert documented == {
        field.name: repr({} if field.default is MISSING else field.default).replace("'", '"')
        for field in fields(OpenAPI)
    }
